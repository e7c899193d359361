"""The transport: every request ends in time whatever comes, and what cannot work is refused before it is tried."""

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest

from pipelines.apiframe.answers import ApiError
from pipelines.apiframe.client import Client
from pipelines.apiframe.transport import environment
from pipelines.errors import ConfigurationError

KEY = "afk_0123456789abcdef0123456789abcdef01234567"
PAGE = b'{"jobs": [], "nextCursor": null, "hasMore": false}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(PAGE) + PAGE
Say = Callable[[bytes], None]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxies, and the certificates that come with the library."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.delenv(name)


class Talker:
    """A server that says to each connection what `talk` does, byte for byte, until it is left."""

    def __init__(self, talk: Callable[[Say], None], tls: ssl.SSLContext | None = None) -> None:
        self.talk, self.tls = talk, tls
        self.stopped = threading.Event()
        self.requests: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connections: list[socket.socket] = []
        self.threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> "Talker":
        self.threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for each in (self.listener, *self.connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self.threads:
            thread.join(5)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self.stopped.is_set():
                connection, _ = self.listener.accept()
                self.connections.append(connection)
                self.threads.append(threading.Thread(target=self._serve, args=(connection,)))
                self.threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
                self.connections.append(connection)
            while request := connection.recv(65_536):
                self.requests.append(request)
                self.talk(connection.sendall)

    def for_ever(self, begin: bytes, again: bytes, pause: float = 0.01) -> Callable[[Say], None]:
        """Something to say that has no end."""

        def talk(say: Say) -> None:
            say(begin)
            while not self.stopped.wait(pause):
                say(again)

        return talk


def client_of(base_url: str, **other: float) -> Client:
    return Client(base_url, KEY, **({"backoff_factor": 0.001, "timeout": 0.15, "max_attempts": 2} | other))  # type: ignore[arg-type]


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WITHOUT_END = {
    "a status line that drips": (b"HTTP/1.1 200 ", b"O"),
    "headers that drip": (b"HTTP/1.1 200 OK\r\nX-Drip: ", b"a"),
    "a row of 100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a chunk extension": (CHUNKED + b"1;", b"a"),
    "chunks of a byte": (CHUNKED, b"1\r\n \r\n"),
    "trailers": (CHUNKED + b"1\r\n \r\n0\r\n", b"X-More: a\r\n"),
    "a body that drips": (b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n", b" "),
    "a body without length": (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
    "an error that drips": (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 9000\r\n\r\n", b" "),
}


def ends_in_time(client: Client) -> None:
    began = time.monotonic()
    with contextlib.closing(client), pytest.raises(ApiError, match=r"no answer within 0.15 s \(2 attempts\)"):
        client.page()
    assert 0.3 <= time.monotonic() - began < 3
    assert (client.requests, client.retries) == (2, 1)


@pytest.mark.parametrize(
    ("without_end", "pause"), [*((kind, 0.01) for kind in WITHOUT_END), ("a row of 100 Continue", 0), ("trailers", 0)]
)
def test_a_request_ends_as_a_time_out_does_whatever_goes_on_coming(without_end: str, pause: float) -> None:
    with Talker(lambda _: None) as server:
        server.talk = server.for_ever(*WITHOUT_END[without_end], pause)
        ends_in_time(client_of(f"http://127.0.0.1:{server.port}"))


def test_silence_after_a_part_that_came_late_has_no_time_out_of_its_own() -> None:
    with Talker(lambda _: None) as server:

        def talk(say: Say) -> None:
            server.stopped.wait(0.9)
            say(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n{")

        server.talk = talk
        client = client_of(f"http://127.0.0.1:{server.port}", timeout=1, max_attempts=1)
        began = time.monotonic()
        with contextlib.closing(client), pytest.raises(ApiError, match="no answer within 1 s"):
            client.page()
        assert 1 <= time.monotonic() - began < 1.8


def test_a_slow_answer_that_comes_in_time_is_taken() -> None:
    with Talker(lambda _: None) as server:

        def talk(say: Say) -> None:
            for at in range(0, len(ANSWER), 30):
                say(ANSWER[at : at + 30])
                server.stopped.wait(0.01)

        server.talk = talk
        client = client_of(f"http://127.0.0.1:{server.port}", timeout=5)
        for _ in range(3):
            assert client.page().jobs == []
        assert len(server.connections) == 1, "a connection is kept, and each answer has a time-out of its own"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of this machine that signs itself, and its key."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "certificate.pem"
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file.write_bytes(made.public_bytes(pem) + key.private_bytes(pem, *plain))
    return file


def of(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_certificates_of_the_environment_are_trusted(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(certificate))
    with Talker(lambda say: say(ANSWER), of(certificate)) as server:
        assert client_of(f"https://127.0.0.1:{server.port}", timeout=5).page().jobs == []


def test_a_certificate_that_nobody_vouches_for_is_told_with_its_reason(certificate: Path) -> None:
    with Talker(lambda say: say(ANSWER), of(certificate)) as server:
        with pytest.raises(ApiError, match=r"TLS: certificate verify failed: self.signed certificate") as problem:
            client_of(f"https://127.0.0.1:{server.port}", timeout=5).page()
        assert server.requests == []
    assert str(problem.value).isprintable()


def test_a_server_without_tls_is_no_matter_of_trust() -> None:
    with Talker(lambda say: say(ANSWER)) as server, pytest.raises(ApiError, match=r"TLS: \[SSL: .*\] [a-z ]+ \(2 att"):
        client_of(f"https://127.0.0.1:{server.port}", timeout=5).page()


@pytest.mark.parametrize("without_end", ["headers that drip", "a chunk extension", "a body that drips"])
def test_a_request_over_tls_ends_in_time_too(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, without_end: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with Talker(lambda _: None, of(certificate)) as server:
        server.talk = server.for_ever(*WITHOUT_END[without_end])
        ends_in_time(client_of(f"https://127.0.0.1:{server.port}"))


def test_a_proxy_that_drips_its_consent_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with Talker(lambda _: None) as proxy:
        proxy.talk = proxy.for_ever(*WITHOUT_END["headers that drip"])
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        ends_in_time(client_of("https://apiframe.invalid/v2"))


def test_a_proxy_that_refuses_is_told_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with Talker(lambda say: say(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")) as proxy:
        for name, base_url in (("HTTPS_PROXY", "https://apiframe.invalid"), ("HTTP_PROXY", "http://apiframe.invalid")):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            with pytest.raises(ApiError, match=r"the proxy (refused:|answered) 407 Proxy Authentication Required"):
                client_of(base_url, timeout=5).page()


# What the environment says


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_of_certificates_that_is_none_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, content: str | None
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv(variable, str(file))
    with pytest.raises(ConfigurationError, match=f"^{variable} = .*ca.pem': (No such file|there is no certificate)"):
        Client("https://apiframe.invalid/v2", KEY)
    assert environment("http://apiframe.invalid/v2")["verify"], "nobody asks for certificates here"


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize(
    ("proxy", "told"),
    [
        ("socks5h://me:secret@127.0.0.1:1080", "SOCKS needs a library: pip install pysocks"),
        ("http://me:secret@", "must be an address like http://proxy"),
        ("me:secret@pro xy:3128", "must be an address like http://proxy"),
        ("http://proxy:99999", "must be an address like http://proxy"),
        ("ftp://proxy:21", "must be an address like http://proxy"),
        ("localhost:3128", "must be an address like http://proxy"),
    ],
)
def test_a_proxy_that_cannot_be_one_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, proxy: str, told: str
) -> None:
    monkeypatch.setenv(variable, proxy)
    with pytest.raises(ConfigurationError, match=told) as problem:
        Client("https://apiframe.invalid/v2", KEY)
    assert str(problem.value).startswith(f"{variable} = ")
    assert "secret" not in str(problem.value)


def test_a_base_url_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"base_url = 'http://a..b/v2': is no address"):
        Client("http://a..b/v2", KEY)


# Answers out of the ordinary


@pytest.mark.parametrize("status", [b"102 Processing", b"103 Early Hints"])
def test_what_is_said_before_the_answer_is_not_taken_for_it_nor_the_answer_for_another(status: bytes) -> None:
    said = iter([b"HTTP/1.1 " + status + b"\r\nLink: x\r\n\r\n" + ANSWER, ANSWER])
    with Talker(lambda say: say(next(said))) as server:
        assert client_of(f"http://127.0.0.1:{server.port}", timeout=5).page().jobs == []
        assert len(server.connections) == 2


@pytest.mark.parametrize("encoding", [b"br", b"zstd", b"gzip, br", b"x-\xff"])
def test_an_encoding_that_was_not_asked_for_is_named(encoding: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: " + encoding + b"\r\nContent-Length: 3\r\n\r\nabc"
    with (
        Talker(lambda say: say(head)) as server,
        pytest.raises(ApiError, match=f"encoded as {encoding.decode('latin-1')}, which was not"),
    ):
        client_of(f"http://127.0.0.1:{server.port}", timeout=5).page()


def test_an_encoding_that_is_a_lie_is_told_as_such() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"
    with Talker(lambda say: say(head)) as server, pytest.raises(ApiError, match="Content-Encoding is not what it says"):
        client_of(f"http://127.0.0.1:{server.port}", timeout=5).page()


@pytest.mark.parametrize("encoding", [b"gzip", b"br"], ids=["a lie", "not asked for"])
def test_the_status_of_an_error_counts_whatever_its_encoding(encoding: bytes) -> None:
    head = b"HTTP/1.1 401 Unauthorized\r\nContent-Encoding: " + encoding + b"\r\nContent-Length: 3\r\n\r\nabc"
    with Talker(lambda say: say(head)) as server, pytest.raises(ApiError) as problem:
        client_of(f"http://127.0.0.1:{server.port}", timeout=5).page()
    assert problem.value.status == 401
    assert len(server.requests) == 1
