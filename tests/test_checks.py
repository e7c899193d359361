"""The house of the checks: found by listing a folder, each with its test; what cannot be measured, and what is sent."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import duckdb
import pytest
from reports.tables import base_tables, insert

from pipelines import settings
from pipelines.checks import CHECKS, Finding, notify, run_checks
from pipelines.errors import ApiframeWarehouseError
from pipelines.reports import create_views

NOW = datetime(2024, 4, 16, tzinfo=UTC)


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    with base_tables() as connection:
        create_views(connection, "UTC")
        yield connection


def test_every_check_has_its_test() -> None:
    files = {file.stem for file in (Path(__file__).parent / "checks").glob("test_*.py")}
    assert files == {f"test_check_{name}" for name in CHECKS}


def test_what_cannot_be_measured_is_said_for_every_check(warehouse: duckdb.DuckDBPyConnection) -> None:
    with duckdb.connect() as bare:
        for connection, reason in ((None, "no warehouse"), (bare, "no views"), (warehouse, "no sync")):
            findings = run_checks(connection, settings.load({}), NOW)
            assert [finding.check for finding in findings] == list(CHECKS)
            assert {finding.state for finding in findings} == {"unmeasured"}
            assert all(reason in finding.message for finding in findings)


def test_a_quiet_account_is_in_order(warehouse: duckdb.DuckDBPyConnection) -> None:
    insert(warehouse, "sync_runs", [{"finished_at": NOW.isoformat()}])
    insert(warehouse, "balances", [{"read_at": NOW.isoformat(), "credits": "12.5"}])
    found = run_checks(warehouse, settings.load({}), NOW)
    assert [(finding.check, finding.state) for finding in found] == [(name, "ok") for name in CHECKS]


class Slack(HTTPServer):
    """Takes messages, or refuses them with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hook)
        self.received: list[dict[str, Any]] = []
        self.status = 200
        self.address = f"http://127.0.0.1:{self.server_port}/services/secret-part"


class Hook(BaseHTTPRequestHandler):
    server: Slack

    def do_POST(self) -> None:
        self.server.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def slack() -> Iterator[Slack]:
    with Slack() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_slack_hears_of_what_is_not_in_order(slack: Slack) -> None:
    fine = Finding("last_sync", "ok", 1, 2, "fine")
    notify([fine], slack.address)
    assert slack.received == []
    notify([fine, Finding("failure_rate", "breached", 0.5, 0.2, "<!channel> & co")], slack.address)
    [message] = slack.received
    assert "breached: &lt;!channel&gt; &amp; co" in message["text"]
    assert "fine" not in message["text"]


@pytest.mark.parametrize("address", [None, "no address, secret-part", "http://127.0.0.1:1/secret-part"])
def test_a_hook_that_fails_is_not_shown(slack: Slack, address: str | None, capfd: pytest.CaptureFixture[str]) -> None:
    slack.status = 404
    with pytest.raises(ApiframeWarehouseError, match="Slack did not take the message") as caught:
        notify([Finding("last_sync", "breached", 2, 1, "old")], address or slack.address)
    assert "secret-part" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "secret-part" not in "".join(capfd.readouterr())
