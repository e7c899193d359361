"""Checks: what is measured, when it is breached, and what is said."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import duckdb
import pytest
from reports.tables import base_tables, insert

from pipelines import settings as configuration
from pipelines.checks import CHECKS, Finding, notify, run_checks
from pipelines.errors import ApiframeWarehouseError
from pipelines.reports import create_views
from pipelines.settings import Settings

NOW = datetime(2024, 4, 16, tzinfo=UTC)  # half of April is over


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    with base_tables() as connection:
        create_views(connection, "UTC")
        yield connection


def make(**overrides: object) -> Settings:
    return configuration.load({}, **overrides)


def check(connection: duckdb.DuckDBPyConnection, now: datetime = NOW, **overrides: object) -> dict[str, Finding]:
    findings = run_checks(connection, make(**overrides), now)
    assert {finding.check for finding in findings} == set(CHECKS)
    return {finding.check: finding for finding in findings}


def add(connection: duckdb.DuckDBPyConnection, count: int, status: str, **cells: Any) -> None:
    cells = {"created_at": (NOW - timedelta(hours=1)).isoformat(), "model": "m", **cells}
    [(start,)] = connection.execute("select count(*) from apiframe.jobs").fetchall()
    insert(connection, "jobs", [{"id": str(start + i), "status": status, **cells} for i in range(count)])


def synced(connection: duckdb.DuckDBPyConnection, at: datetime = NOW) -> None:
    insert(connection, "sync_runs", [{"finished_at": at.isoformat()}])
    insert(connection, "balances", [{"read_at": at.isoformat(), "credits": "12.5"}])


def test_what_cannot_be_measured_is_said_for_every_check(warehouse: duckdb.DuckDBPyConnection) -> None:
    with duckdb.connect() as bare:
        for connection, reason in ((None, "no warehouse"), (bare, "no views"), (warehouse, "no sync")):
            findings = run_checks(connection, make(), NOW)
            assert [finding.check for finding in findings] == list(CHECKS)
            assert {finding.state for finding in findings} == {"unmeasured"}
            assert all(reason in finding.message for finding in findings)


def test_a_quiet_account_is_in_order(warehouse: duckdb.DuckDBPyConnection) -> None:
    synced(warehouse)
    assert {finding.state for finding in check(warehouse).values()} == {"ok"}


@pytest.mark.parametrize(
    ("age", "state"), [(25.9, "ok"), (26, "ok"), (26.1, "breached"), (-1, "ok"), (-27, "breached")]
)
def test_age_of_the_last_good_sync(warehouse: duckdb.DuckDBPyConnection, age: float, state: str) -> None:
    synced(warehouse, NOW - timedelta(hours=age))
    synced(warehouse, NOW - timedelta(hours=100))
    finding = check(warehouse)["last_sync"]
    assert (finding.state, finding.threshold) == (state, 26 * 3600)
    assert finding.measured == pytest.approx(age * 3600)
    assert ("ahead of this clock" in finding.message) == (age < 0)


@pytest.mark.parametrize(
    ("failed", "finished", "state"),
    [(10, 9, "ok"), (8, 12, "breached"), (7, 13, "ok"), (0, 20, "ok"), (20, 0, "breached"), (230, 770, "breached")],
    ids=["too few jobs", "surely above", "perhaps chance", "none", "all", "many jobs tell small excesses"],
)
def test_failure_rate_is_breached_only_beyond_chance(
    warehouse: duckdb.DuckDBPyConnection, failed: int, finished: int, state: str
) -> None:
    synced(warehouse)
    add(warehouse, failed, "FAILED")
    add(warehouse, finished, "COMPLETED")
    add(warehouse, 30, "CANCELLED")
    add(warehouse, 50, "FAILED", created_at=(NOW - timedelta(hours=25)).isoformat())
    assert check(warehouse)["failure_rate"].state == state


def test_every_model_that_fails_too_often_is_named(warehouse: duckdb.DuckDBPyConnection) -> None:
    synced(warehouse)
    for model in ("bad", None, "worse\x1b[31m"):
        add(warehouse, 30, "FAILED", model=model)
    add(warehouse, 30, "COMPLETED", model="good")
    findings = [finding for finding in run_checks(warehouse, make(), NOW) if finding.check == "failure_rate"]
    assert [finding.state for finding in findings] == ["breached"] * 3
    assert sorted(finding.message.split(" failed")[0] for finding in findings) == ["(none)", "bad", "worse [31m"]


@pytest.mark.parametrize(
    ("spent", "state"), [("79.9999", "ok"), ("80", "warning"), ("99.9999", "warning"), ("100", "breached")]
)
def test_credits_of_the_month_against_the_budget(warehouse: duckdb.DuckDBPyConnection, spent: str, state: str) -> None:
    synced(warehouse)
    add(warehouse, 1, "COMPLETED", credit_cost=Decimal(spent))
    add(warehouse, 1, "FAILED", credit_cost=0)
    add(warehouse, 1, "QUEUED", credit_cost=1000)
    add(warehouse, 1, "COMPLETED", credit_cost=1000, created_at="2024-03-31T23:59:59Z")
    finding = check(warehouse, monthly_credits=100)["monthly_credits"]
    assert (finding.state, finding.measured, finding.threshold) == (state, Decimal(spent), 100)
    assert finding.message.startswith(f"{spent} credits spent")


def test_the_month_is_that_of_the_time_zone_and_its_end_is_foreseen(warehouse: duckdb.DuckDBPyConnection) -> None:
    synced(warehouse)
    add(warehouse, 1, "COMPLETED", credit_cost=50, created_at="2024-03-31T22:00:00Z")
    add(warehouse, 1, "COMPLETED", created_at="2024-04-02T22:00:00Z")
    half_of_april_in_berlin = datetime(2024, 4, 15, 22, tzinfo=UTC)
    finding = check(warehouse, half_of_april_in_berlin, timezone="Europe/Berlin")["monthly_credits"]
    assert (finding.state, finding.measured, finding.threshold) == ("ok", 50, None)
    assert "100 by its end at this pace" in finding.message
    assert "1 jobs of unknown cost" in finding.message
    assert check(warehouse)["monthly_credits"].measured == 0


@pytest.mark.parametrize(("allowed", "state"), [(0, "breached"), (1, "breached"), (2, "ok")])
def test_stuck_jobs(warehouse: duckdb.DuckDBPyConnection, allowed: int, state: str) -> None:
    synced(warehouse)
    add(warehouse, 2, "PROCESSING")
    add(warehouse, 3, "QUEUED", created_at=(NOW - timedelta(minutes=14)).isoformat())
    finding = check(warehouse, stuck_jobs=allowed)["stuck_jobs"]
    assert (finding.state, finding.measured) == (state, 2)


@pytest.mark.parametrize(("failed", "state"), [(5, "ok"), (6, "breached")])
def test_webhooks(warehouse: duckdb.DuckDBPyConnection, failed: int, state: str) -> None:
    synced(warehouse)
    add(warehouse, failed, "COMPLETED", webhook_status="failed")
    add(warehouse, 100 - failed, "COMPLETED", webhook_status="delivered")
    add(warehouse, 50, "COMPLETED", webhook_status="pending")
    add(warehouse, 50, "COMPLETED")
    finding = check(warehouse)["webhook_failures"]
    assert (finding.state, finding.measured) == (state, failed / 100)


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


@pytest.mark.parametrize(
    ("readings", "state", "said"),
    [
        ([(25, "0.1", None)], "ok", "0.1 credits were left 25.0 h ago"),
        ([(25, "7", None), (1, None, "the API answered 500")], "ok", "7 credits were left 25.0 h ago"),
        ([(27, "7", None)], "unmeasured", "the balance was last read 27.0 h ago"),
        ([(27, "7", None), (1, None, "answered 500")], "unmeasured", "last read 27.0 h ago: answered 500"),
        ([(1, None, "the key belongs to no team")], "ok", "could not be read: the key belongs to no team"),
        ([(27, None, "answered 500")], "unmeasured", "could not be read: answered 500"),
        ([], "ok", "no balance was read yet"),
    ],
    ids=["fresh", "a failure since", "old", "old, and failing since", "never", "never for long", "not asked"],
)
def test_a_balance_that_is_not_read_does_not_pass_for_one(
    warehouse: duckdb.DuckDBPyConnection, readings: Any, state: str, said: str
) -> None:
    insert(warehouse, "sync_runs", [{"finished_at": NOW.isoformat()}])
    for age, left, problem in readings:
        read_at = (NOW - timedelta(hours=age)).isoformat()
        insert(warehouse, "balances", [{"read_at": read_at, "credits": left, "problem": problem}])
    finding = check(warehouse)["balance"]
    assert finding.state == state
    assert said in finding.message
    assert check(warehouse, balance_every="0")["balance"].state == "ok"
