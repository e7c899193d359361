"""How bytes come from the API: through proxies and certificates of the environment, in bounded time and size.

Promises that an answer has come whole within the read time-out of its request, or not at all, and that what cannot
work (a proxy or a file of certificates that is none) is refused before anything is sent.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from urllib3.exceptions import DecodeError, HTTPError, ProtocolError, ReadTimeoutError

from pipelines.errors import ConfigurationError
from pipelines.exact import one_line

CHUNK_BYTES = 2**18
WORDS_BYTES = 2**20  # of an error: its text has some hundred
CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


class TooLargeError(HTTPError):
    """An answer has more bytes than are taken in."""

    def __init__(self, most: int) -> None:
        super().__init__(f"the answer has more than {most >> 20} MB")


class _Bounded(io.RawIOBase):
    """What a socket receives until its time-out is over, counted from now: each part may come late, the whole not."""

    def __init__(self, received: io.RawIOBase, connection: socket.socket) -> None:
        self._received = received
        self._connection = connection
        self._until = time.monotonic() + (connection.gettimeout() or threading.TIMEOUT_MAX)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._connection.settimeout(left)
        return self._received.readinto(buffer)

    def close(self) -> None:
        self._received.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """An answer (also a proxy's, to CONNECT) of which everything is read in bounded time, headers included."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Bounded(self.fp.detach(), sock))


@functools.cache
def _bounded(connection: type) -> type:
    return type(connection.__name__, (connection,), {"response_class": _Answer})


class Adapter(HTTPAdapter):
    """The adapter of a session whose answers are bounded in time. urllib3 sets the read time-out before it reads."""

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Return the pool of connections for a request."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        if getattr(pool.ConnectionCls, "response_class", None) is not _Answer:
            pool.ConnectionCls = _bounded(pool.ConnectionCls)
        return pool


def environment(base_url: str) -> dict[str, Any]:
    """Return what the environment says of proxies and certificates, as arguments of an adapter's `send`.

    Raises ConfigurationError, which names the variable, where it cannot be used.
    """
    try:
        request = requests.Request("GET", base_url).prepare()
        (urlsplit(str(request.url)).hostname or "").encode("idna")
    except (requests.RequestException, ValueError):
        raise ConfigurationError(f"sources.apiframe.base_url = {base_url!r}: is no address") from None
    with requests.Session() as session:
        found: dict[str, Any] = dict(session.merge_environment_settings(base_url, {}, True, None, None))
        if base_url.lower().startswith("https:"):
            found["verify"] = _certificates() or True
        if proxy := select_proxy(base_url, found["proxies"]):
            _check_proxy(request, proxy, found)
    return found


def _certificates() -> str | None:
    for name in CERTIFICATES:
        if path := os.environ.get(name):
            try:
                where = {"capath" if os.path.isdir(path) else "cafile": path}  # noqa: PTH112 - as it is given
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(**where)
            except ssl.SSLError:
                raise ConfigurationError(f"{name} = {path!r}: there is no certificate in this file") from None
            except OSError as problem:
                raise ConfigurationError(
                    f"{name} = {path!r}: {problem.strerror}; name a file of certificates, or unset it"
                ) from None
            return path
    return None


def _check_proxy(request: requests.PreparedRequest, proxy: str, found: dict[str, Any]) -> None:
    scheme = str(request.url).split(":", 1)[0]
    names = (name for name in os.environ if name.lower() in (f"{scheme}_proxy", "all_proxy"))
    name = next((name for name in names if os.environ[name] == proxy), "the proxy of this system")
    without_password = re.sub(r"^([^/]*//)?.*@", r"\1***@", proxy)
    shown = f"{name} = {without_password!r}"
    try:
        with contextlib.closing(Adapter()) as adapter:
            pool = adapter.get_connection_with_tls_context(request, found["verify"], found["proxies"])
            usable = pool.proxy is None or bool(re.fullmatch(r"[\w.:%\[\]-]+", pool.proxy.host))
    except requests.exceptions.InvalidSchema:
        raise ConfigurationError(f"{shown}: SOCKS needs a library: pip install pysocks, or unset it") from None
    except (requests.RequestException, HTTPError, ValueError, TypeError):  # TypeError: a password without a host
        usable = False
    if not usable:
        raise ConfigurationError(f"{shown}: must be an address like http://proxy.example:3128")


def parts(response: requests.Response, most: int | None = None) -> Iterator[bytes]:
    """Yield the body as it comes; raises TooLargeError above `most` bytes, as early as that can be known.

    Read through urllib3, since requests' own way takes 10 kB at a time, at twice the cost of a page.
    """
    came = 0
    headers = response.headers
    try:
        if response.status_code < 200:
            raise HTTPError(f"it answered {response.status_code} alone")
        encoding = headers.get("Content-Encoding", "identity").lower()
        if response.status_code == 200 and not set(re.split(r"[\s,]+", encoding)) <= _decoders(response):
            raise HTTPError(f"the answer is encoded as {one_line(encoding, 40)}, which was not asked for")
        if most is not None and headers.get("Content-Length", "").isdecimal() and int(headers["Content-Length"]) > most:
            raise TooLargeError(most)
        while part := response.raw.read1(CHUNK_BYTES, decode_content=True):
            came += len(part)
            if most is not None and came > most:
                raise TooLargeError(most)
            yield part
    except BaseException:
        response.close()  # what follows on this connection would be the rest of this body
        raise


def _decoders(response: requests.Response) -> set[str]:
    return {"", "identity", *response.raw.CONTENT_DECODERS}


def words(response: requests.Response) -> bytes:
    """Return the body of an error, nothing where it cannot be read as text: its status is what counts."""
    try:
        return b"".join(parts(response, WORDS_BYTES))
    except (TooLargeError, DecodeError):
        return b""


def reason(fault: Exception, timeout: float) -> str:
    """Return why there is no answer, in words."""
    text = str(fault)
    if isinstance(fault, requests.Timeout | ReadTimeoutError | TimeoutError):
        return f"no answer within {timeout:g} s"
    if isinstance(fault, requests.exceptions.SSLError):
        told = re.search(r"certificate verify failed[^(\"']*", text) or re.search(r"\[SSL[^\]]*\] [^(\"']*", text)
        return f"TLS: {one_line(told[0].strip(), 120)}" if told else "TLS failed"
    if isinstance(fault, requests.exceptions.ProxyError):
        told = re.search(r"Tunnel connection failed: ([^'\")]*)", text)
        return f"the proxy refused: {one_line(told[1].strip(), 120)}" if told else "the proxy does not answer"
    if isinstance(fault, DecodeError):
        return "its Content-Encoding is not what it says"
    if isinstance(fault, ProtocolError):
        return "the answer was cut off"
    if isinstance(fault, HTTPError):
        return text
    if "resolve" in text or "Name or service" in text:
        return "unknown host"
    return "connection refused" if "refused" in text else "the connection broke"


class Sessions:
    """The sessions of one client, one a thread."""

    def __init__(self, base_url: str, key: str, timeout: tuple[float, float]) -> None:
        self._base_url = base_url
        self._key = key
        self._timeout = timeout
        self._environment = environment(base_url)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._sessions: list[requests.Session] = []

    def close(self) -> None:
        """Close them all."""
        for session in self._sessions:
            session.close()

    def send(self, path: str, parameters: Mapping[str, str]) -> requests.Response:
        """Ask on this thread's session; only the address of its request changes. The body is not read yet.

        It goes through the session's adapter: what a session does beyond that (cookies, redirects, a look for proxies
        before every request) is not wanted, and costs as much as the rest.
        """
        mine: tuple[requests.PreparedRequest, str, Callable[..., requests.Response]] | None
        if (mine := getattr(self._local, "mine", None)) is None:
            session = requests.Session()
            session.headers.update(
                {"X-API-Key": self._key, "Accept": "application/json", "User-Agent": "apiframe-warehouse"}
            )
            session.trust_env = False  # no passwords of ~/.netrc
            request = session.prepare_request(requests.Request("GET", self._base_url))
            adapter = Adapter()
            session.mount(self._base_url, adapter)  # closed with it
            base = (request.url or self._base_url).rstrip("/")  # as requests writes it: other alphabets, spaces
            mine = request, base, functools.partial(adapter.send, timeout=self._timeout, **self._environment)
            self._local.mine = mine
            with self._lock:
                self._sessions.append(session)
        request, base, send = mine
        request.url = f"{base}{path}?{urlencode(parameters)}"
        return send(request=request)
