"""`check --notify`: told once, when it changes, when it is over, once a day while it lasts; and where it goes."""

import json
import socket
import socketserver
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from pipelines import settings
from pipelines.alarms import due, require_channels, tell
from pipelines.checks import Finding
from pipelines.errors import ApiframeWarehouseError, ConfigurationError
from pipelines.heartbeat import beat
from pipelines.settings import Settings

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
FINE = Finding("last_sync", "ok", 1, 2, "fine")
OLD = Finding("last_sync", "breached", 3, 2, "old")
KLING = Finding("failure_rate", "breached", 0.5, 0.2, "kling fails", "kling")
SUNO = Finding("failure_rate", "breached", 0.5, 0.2, "suno fails", "suno")
FEW = Finding("failure_rate", "ok", None, 0.2, "few jobs")


# When


def told(*rounds: tuple[timedelta, list[Finding]]) -> list[list[tuple[str, str]]]:
    """What is told at each of these times after another: change and message."""
    kept: dict[str, dict[str, Any]] = {}
    found = []
    for after, findings in rounds:
        alarms, kept = due(kept, findings, NOW + after)
        found.append([(alarm.change, alarm.finding.message) for alarm in alarms])
    return found


def test_what_lasts_is_told_when_it_begins_once_a_day_and_when_it_is_over() -> None:
    assert told(
        (0 * HOUR, [FINE]),
        (1 * HOUR, [OLD]),
        (2 * HOUR, [OLD]),
        (24 * HOUR, [replace(OLD, message="older")]),
        (25 * HOUR, [replace(OLD, message="older")]),
        (26 * HOUR, [OLD]),
        (27 * HOUR, [FINE]),
        (28 * HOUR, [FINE]),
    ) == [[], [("new", "old")], [], [], [("still", "older")], [], [("over", "fine")], []]


def test_a_warning_that_becomes_a_breach_is_told_again() -> None:
    near = Finding("budget", "warning", 90, 100, "near")
    assert told((0 * HOUR, [near]), (HOUR, [replace(near, state="breached", message="over it")])) == [
        [("new", "near")],
        [("changed", "over it")],
    ]


def test_each_model_is_a_matter_of_its_own() -> None:
    assert told((0 * HOUR, [KLING]), (HOUR, [KLING, SUNO]), (2 * HOUR, [SUNO]), (3 * HOUR, [FEW])) == [
        [("new", "kling fails")],
        [("new", "suno fails")],
        [("over", "was: kling fails")],
        [("over", "few jobs")],
    ]


# Where


class Server(HTTPServer):
    """Takes what is posted, or refuses it with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hook)
        self.received: list[dict[str, Any]] = []
        self.status = 200
        self.address = f"http://127.0.0.1:{self.server_port}/services/secret-part"


class Hook(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.server.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.do_GET()

    def do_GET(self) -> None:
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    with server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def hook() -> Iterator[Server]:
    server = Server()
    with serving(server):
        yield server


@pytest.fixture
def sent(isolated: Path) -> Callable[..., None]:
    """Have findings told by a project with these settings."""

    def send(findings: list[Finding], after: timedelta = 0 * HOUR, every_time: bool = False, **chosen: object) -> None:
        found = settings.load({}, **chosen)
        tell(found, findings, NOW + after, folder=isolated / "data" / ".load", every_time=every_time)

    return send


@pytest.mark.parametrize("channel", ["slack_hook", "webhook_url"])
def test_a_hook_hears_what_begins_and_what_is_over(hook: Server, sent: Callable[..., None], channel: str) -> None:
    chosen = {channel: hook.address}
    sent([FINE], **chosen)
    assert hook.received == []
    for hour in range(3):
        sent([FINE, replace(KLING, message="<!channel> & co")], hour * HOUR, **chosen)
    sent([FINE, FEW], 4 * HOUR, **chosen)
    begins, over = [message["text"].split("\n") for message in hook.received]
    assert begins[0].startswith("Apiframe warehouse ")
    assert begins[0].endswith(f"warehouse.duckdb on {socket.gethostname()}")
    text = "&lt;!channel&gt; &amp; co" if channel == "slack_hook" else "<!channel> & co"
    assert begins[1:-1] == [f"failure_rate (new, breached): {text}"]
    assert over[1:-1] == ["failure_rate (over): few jobs"]
    assert "apiframe-warehouse check" in begins[-1]


def test_a_program_gets_the_facts(hook: Server, sent: Callable[..., None]) -> None:
    sent([KLING], webhook_url=hook.address)
    [message] = hook.received
    assert message["changes"] == [
        {
            "change": "new",
            "check": "failure_rate",
            "state": "breached",
            "measured": 0.5,
            "threshold": 0.2,
            "message": "kling fails",
            "subject": "kling",
        }
    ]


def test_every_time_is_every_time(hook: Server, sent: Callable[..., None]) -> None:
    for _ in range(2):
        sent([OLD], every_time=True, webhook_url=hook.address)
    assert len(hook.received) == 2


@pytest.mark.parametrize("channel", ["slack_hook", "webhook_url"])
@pytest.mark.parametrize("address", [None, "http://127.0.0.1:1/secret-part"])
def test_what_was_not_taken_is_said_without_the_address_and_told_again(
    hook: Server, sent: Callable[..., None], channel: str, address: str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    hook.status = 404
    with pytest.raises(ApiframeWarehouseError, match="did not take the message") as caught:
        sent([OLD], **{channel: address or hook.address})
    assert "secret-part" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "secret-part" not in "".join(capfd.readouterr())
    hook.status, hook.received[:] = 200, []
    sent([OLD], HOUR, **{channel: hook.address})
    assert len(hook.received) == 1


class Mailbox(socketserver.ThreadingTCPServer):
    """Speaks as much SMTP as a mail needs."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Talk)
        self.mails: list[str] = []


class Talk(socketserver.StreamRequestHandler):
    server: Mailbox

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            if line.upper().startswith(b"DATA"):
                self.wfile.write(b"354 go on\r\n")
                lines = iter(self.rfile.readline, b".\r\n")
                self.server.mails.append(b"".join(lines).decode())
            self.wfile.write(b"221 bye\r\n" if line.upper().startswith(b"QUIT") else b"250 fine\r\n")


def test_mail_goes_to_a_server(sent: Callable[..., None]) -> None:
    server = Mailbox()
    with serving(server):
        address = f"smtp://127.0.0.1:{server.server_address[1]}"
        sent([OLD], mail_to="ops@example.com, boss@example.com", mail_from="me@example.com", mail_server=address)
        [mail] = server.mails
        assert "To: ops@example.com, boss@example.com" in mail
        assert "From: me@example.com" in mail
        assert "last_sync (new, breached): old" in mail
        with pytest.raises(ApiframeWarehouseError, match="the mail was not taken") as caught:
            sent([KLING], mail_to="ops@example.com", mail_server=address.replace("//", "//user:hush@"))
        assert "hush" not in str(caught.value), "nor was it sent in the clear"


def test_mail_goes_by_sendmail(sent: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "sendmail"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nopen({str(tmp_path / 'mail')!r}, 'w').write(sys.stdin.read())\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    sent([OLD], mail_to="ops@example.com")
    assert "Subject: Apiframe warehouse" in (tmp_path / "mail").read_text()
    program.write_text("#!/bin/sh\nexit 75\n")
    with pytest.raises(ApiframeWarehouseError, match="the mail was not taken"):
        sent([KLING], mail_to="ops@example.com")


def test_a_channel_that_fails_keeps_no_other_from_hearing(hook: Server, sent: Callable[..., None]) -> None:
    with pytest.raises(ApiframeWarehouseError, match="Slack did not take"):
        sent([OLD], slack_hook="http://127.0.0.1:1/x", webhook_url=hook.address)
    assert len(hook.received) == 1


@pytest.mark.parametrize("lost", ["", "{", "[]", '{"last_sync": {"state": "breached"}}', '{"last_sync": 7}'])
def test_where_it_is_forgotten_what_was_told_everything_is_new(
    hook: Server, sent: Callable[..., None], isolated: Path, lost: str
) -> None:
    sent([OLD], webhook_url=hook.address)
    [memory] = (isolated / "data" / ".load").glob("*.told.json")
    assert memory.stat().st_mode & 0o777 == 0o600
    memory.write_text(lost)
    sent([OLD], webhook_url=hook.address)
    assert len(hook.received) == 2


def test_a_channel_that_fails_is_told_again_and_no_other(hook: Server, sent: Callable[..., None]) -> None:
    for _ in range(2):
        with pytest.raises(ApiframeWarehouseError, match="Slack did not take"):
            sent([OLD], slack_hook="http://127.0.0.1:1/x", webhook_url=hook.address)
    assert len(hook.received) == 1
    sent([OLD], HOUR, slack_hook=hook.address, webhook_url=hook.address)
    assert len(hook.received) == 2


@pytest.mark.parametrize("address", ["http://a..b/secret-part", f"http://{'a' * 64}.b/secret-part"])
def test_an_address_that_cannot_be_one_keeps_no_other_channel_from_hearing(
    hook: Server, sent: Callable[..., None], address: str
) -> None:
    with pytest.raises(ApiframeWarehouseError, match="the webhook did not take") as caught:
        sent([OLD], slack_hook=hook.address, webhook_url=address)
    assert "secret-part" not in str(caught.value)
    assert len(hook.received) == 1
    assert "checks.heartbeat_url" in (beat(address) or "")


def test_where_nothing_can_be_measured_nothing_is_over() -> None:
    blind = replace(FEW, state="unmeasured", message="not measured")
    assert told((0 * HOUR, [KLING]), (HOUR, [blind]), (2 * HOUR, [KLING]), (3 * HOUR, [FEW])) == [
        [("new", "kling fails")],
        [("new", "not measured")],
        [("over", "was: not measured")],
        [("over", "few jobs")],
    ]


def test_without_a_channel_it_is_said_what_to_set() -> None:
    chosen: Settings = settings.load({})
    with pytest.raises(ConfigurationError, match=r"slack_incoming_hook, checks\.webhook_url or checks\.mail_to"):
        require_channels(chosen)


def test_a_heartbeat_that_fails_is_a_note_without_the_address(hook: Server) -> None:
    assert beat(hook.address) is None
    hook.status = 500
    for address in (hook.address, "http://127.0.0.1:1/secret-part"):
        assert "checks.heartbeat_url" in (told := beat(address) or "")
        assert "secret-part" not in told
