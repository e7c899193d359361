"""`digest`: whole days in at most fifteen lines that are true whatever is missing, and where they go."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email import message_from_string, policy
from pathlib import Path
from typing import Any

import duckdb
import pytest
import support
from reports.tables import HOSTILE, base_tables, hostile, insert
from test_alarms import Mailbox, Server, serving

from pipelines import alarms, digest, settings
from pipelines.errors import ApiframeWarehouseError
from pipelines.reports import create_views
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.stores import connect
from pipelines.sync import sync

NOW = datetime(2024, 4, 16, 12, tzinfo=UTC)
Make = Callable[..., Any]


@pytest.fixture
def warehouse(isolated: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with base_tables(str(isolated / "warehouse.duckdb")) as connection:
        create_views(connection, "UTC")
        insert(connection, "sync_runs", [run(NOW - timedelta(minutes=5))])
        yield connection


def run(started_at: datetime, number: int = 1) -> dict[str, Any]:
    at = started_at.isoformat()
    return {"started_at": at, "finished_at": at, "scope": "user", "number": number}


@pytest.fixture
def add(warehouse: duckdb.DuckDBPyConnection) -> Make:
    """Add so many jobs at noon of a day so many days ago."""
    born = iter(range(10**6))

    def jobs(count: int, status: str, days: int = 1, **cells: Any) -> None:
        created_at = (NOW - timedelta(days=days)).isoformat()
        row = {"status": status, "model": "m", "scope": "user", "created_at": created_at, **cells}
        insert(warehouse, "jobs", [{"id": f"job-{next(born)}", **row} for _ in range(count)])

    return jobs


@pytest.fixture
def told(warehouse: duckdb.DuckDBPyConnection) -> Callable[..., list[str]]:
    """The lines of a digest, but for the first."""

    def lines(days: int = 7, report: Path | None = None, **chosen: object) -> list[str]:
        found = digest.lines(digest.gather(warehouse, settings.load({}, **chosen), NOW, days, report))
        assert len(found) <= 15
        assert all(line.isprintable() and line.strip() for line in found)
        assert found[0].startswith("Apiframe, 2024-04-")
        return found[1:]

    return lines


def test_a_week_is_held_against_the_one_before(
    warehouse: duckdb.DuckDBPyConnection, add: Make, told: Make, tmp_path: Path
) -> None:
    for day in range(1, 15):
        add(10, "COMPLETED", day, model="even", credit_cost=2, asset_count=1)
    add(5, "COMPLETED", 2, model="grown", credit_cost=Decimal("1.5"), asset_count=2)
    add(1, "COMPLETED", 9, model="grown", credit_cost=Decimal("1.5"))
    add(2, "COMPLETED", 10, model="gone", credit_cost=20)
    add(20, "FAILED", 3, model="bad", credit_cost=1)
    add(100, "COMPLETED", 0, credit_cost=1)  # today is no whole day
    insert(warehouse, "balances", [{"read_at": (NOW - timedelta(hours=1)).isoformat(), "credits": 5000}])
    lines = told(report=tmp_path / "week.html")
    assert lines[:6] == [
        "Spent: 167.5 credits; -7.7 % on the 7 days before. "
        "April 2024: 449 credits so far, 816 credits expected by its end (80 % range: 727 to 905 credits).",
        "Jobs: 95 created; +30.1 % on the 7 days before; 80 files delivered, 0 still open.",
        "Changed most (credits): gone -40 to 0, bad +20 to 20, grown +6 to 7.5.",
        "21.1 % of the 95 jobs that ended failed. One model stands out beyond chance: bad (100.0 % of 20).",
        "The day of 2024-04-13 stands out: 66.7 % of 30 ended jobs, against 21.1 % over the whole period.",
        "Refunds due: 20 credits of 20 failed jobs, the oldest 3 days old.",
    ]
    assert lines[6].startswith("Credits left: 4,900, until 2024-")
    assert lines[7].startswith("refunds_due (breached): 20 failed jobs older than 2.0 d still cost 20 credits")
    assert lines[8:] == ["Last good sync: 5 minutes ago.", f"Report: {tmp_path / 'week.html'}"]
    assert "2024-04-09 to 2024-04-15" in (tmp_path / "week.html").read_text()


def test_an_empty_warehouse_is_told_as_such(told: Make, tmp_path: Path) -> None:
    assert told(report=tmp_path / "week.html") == [
        "The warehouse holds no jobs yet.",
        "Refunds due: none.",
        "Credits left: no balance was read yet.",
        "Checks: all in order.",
        "Last good sync: 5 minutes ago.",
    ]
    assert told(balance_every="0")[2] == "Checks: all in order."


def test_days_without_jobs_are_held_against_those_before(add: Make, told: Make, tmp_path: Path) -> None:
    add(4, "COMPLETED", 20, credit_cost=1)
    assert told(report=tmp_path / "week.html")[0] == "No job was created; 0 in the 7 days before."
    add(3, "COMPLETED", 8, credit_cost=1)
    assert told()[0] == (
        "No job was created; 3 in the 7 days before. "
        "April 2024: 3 credits so far, 6 credits expected by its end (80 % range: 3 to 19 credits)."
    )
    assert told(days=15)[0].startswith("Spent: 3 credits; history does not cover the 15 days before")
    assert not (tmp_path / "week.html").exists()


def test_jobs_that_have_not_ended_have_no_failures(add: Make, told: Make) -> None:
    add(2, "QUEUED", credit_cost=3)
    assert told()[:3] == [
        "Spent: 0 credits; history does not cover the 7 days before.",
        "Jobs: 2 created; history does not cover the 7 days before; 0 files delivered, 2 still open.",
        "No job has finished or failed.",
    ]


def test_without_a_failure_none_is_named(add: Make, told: Make) -> None:
    add(20, "COMPLETED", credit_cost=1)
    assert told()[3:5] == [
        "0.0 % of the 20 jobs that ended failed. No model stands out: the differences may be chance.",
        "No day stands out against the 0.0 % of the whole period.",
    ]


def test_unknown_costs_are_not_passed_over(add: Make, told: Make) -> None:
    add(2, "COMPLETED", 10, credit_cost=1)
    add(3, "COMPLETED", 1)
    assert told()[0] == "Spent: unknown, the API gives no job a cost."
    add(4, "COMPLETED", 1, model="n", credit_cost=1)
    add(1, "COMPLETED", 1, model="n")
    add(1, "COMPLETED", 30)
    assert told()[0] == (
        "Spent: 4 credits; +100.0 % on the 7 days before; without 4 of its jobs, whose cost is unknown. "
        "April 2024: 6 credits so far, 9 credits expected by its end (80 % range: 6 to 15 credits)."
    )
    assert told()[2] == "Changed most (credits, of known costs): n +4 to 4."  # of m nothing is known


def test_money_is_told_where_it_is_whole(warehouse: duckdb.DuckDBPyConnection, add: Make, told: Make) -> None:
    add(3, "COMPLETED", 2, credit_cost=10)
    add(1, "COMPLETED", 1, credit_cost=10)

    def price(valid_from: str, currency: str) -> None:
        insert(warehouse, "prices", [{"valid_from": valid_from, "price_per_credit": "0.015", "currency": currency}])

    before = "; history does not cover the 7 days before."
    assert told()[0] == f"Spent: 40 credits{before}"
    price("2024-04-15", "USD")
    assert told()[0] == f"Spent: 40 credits; not in money: 3 jobs without a price{before}"
    price("2024-01-01", "USD")
    assert told()[0] == f"Spent: 40 credits; 0.60 USD{before}"
    warehouse.execute("update apiframe.prices set currency = 'EUR' where valid_from < date '2024-02-01'")
    assert told()[0] == f"Spent: 40 credits; not in money: the prices are in more than one currency{before}"


def test_a_balance_that_could_not_be_read_says_why(warehouse: duckdb.DuckDBPyConnection, told: Make) -> None:
    insert(warehouse, "balances", [{"read_at": NOW.isoformat(), "problem": "answered\n500"}])
    assert "Credits left: unknown, answered 500." in told()


def test_days_that_no_sync_knows_are_not_told_of(warehouse: duckdb.DuckDBPyConnection, add: Make, told: Make) -> None:
    add(1, "COMPLETED", 20)
    for day in range(4, 15):
        add(1, "COMPLETED", day, credit_cost=1)
    warehouse.execute("delete from apiframe.sync_runs")
    insert(warehouse, "sync_runs", [run(NOW - timedelta(days=4))])
    assert told()[:2] == [
        "These days are known up to 2024-04-12 12:00.",
        "Spent: 4 credits; +0.0 % on the 7 days before, up to 2024-04-05 12:00. "
        "April 2024: 11 credits so far, 24 credits expected by its end (80 % range: 11 to 45 credits).",
    ]
    assert told(days=3)[0] == "Nothing is known of these days: the last good sync knows jobs up to 2024-04-12 12:00."
    assert "last_sync (breached)" in " ".join(told())


def test_what_others_wrote_stays_on_its_line(isolated: Path) -> None:
    with base_tables() as connection:
        hostile(connection)
        create_views(connection, "UTC")
        for model in HOSTILE:
            job = {"id": f"failed {model!r}"[:90], "status": "FAILED", "model": model, "created_at": "@200000"}
            insert(connection, "jobs", [{**job, "id": f"{job['id']}{n}", "credit_cost": 1} for n in range(40)])
        insert(connection, "balances", [{"read_at": "@60", "problem": HOSTILE[-1]}])
        found = digest.gather(connection, settings.load({}, stuck_jobs=0), datetime.now(UTC), 7, isolated / "r.html")
    lines = digest.lines(found)
    assert 12 <= len(lines) <= 15
    assert all(line.isprintable() and len(line) <= digest.LONGEST for line in lines)
    assert json.loads(json.dumps(digest.facts_of(found), default=str))["lines"] == lines


# Where


@pytest.fixture
def message(isolated: Path, warehouse: duckdb.DuckDBPyConnection, add: Make) -> alarms.Message:
    add(2, "COMPLETED", model="<!channel> & co", credit_cost=1)
    return digest.message(digest.gather(warehouse, settings.load({}), NOW, 7, isolated / "week.html"))


def test_slack_gets_it_escaped_and_a_program_its_figures(message: alarms.Message) -> None:
    server = Server()
    with serving(server):
        assert alarms.send(settings.load({}, slack_hook=server.address, webhook_url=server.address), message) == [
            "slack",
            "webhook",
        ]
    slack, webhook = server.received
    assert "&lt;!channel&gt; &amp; co 2" in slack["text"]
    assert webhook["text"].split("\n") == webhook["digest"]["lines"]
    assert webhook["digest"]["total"]["credits"] == 2
    assert webhook["digest"]["models"] == [{"model": "<!channel> & co", "credits": 2, "before": None}]
    assert webhook["digest"]["report"].endswith("week.html")


def test_mail_takes_the_report_along(message: alarms.Message, isolated: Path) -> None:
    server = Mailbox()
    with serving(server):
        address = f"smtp://127.0.0.1:{server.server_address[1]}"
        assert alarms.send(settings.load({}, mail_to="boss@example.com", mail_server=address), message) == ["mail"]
    mail = message_from_string(server.mails[0], policy=policy.default)
    text, page = mail.iter_parts()
    assert "<!channel> & co 2" in text.get_content()
    assert (page.get_content_type(), page.get_filename()) == ("text/html", "week.html")
    assert page.get_content().replace("\r\n", "\n") == (isolated / "week.html").read_text()


def test_a_channel_that_does_not_answer_is_said_and_the_others_have_it(message: alarms.Message) -> None:
    server = Server()
    with serving(server), pytest.raises(ApiframeWarehouseError, match="Slack did not take the message") as caught:
        alarms.send(settings.load({}, slack_hook="http://127.0.0.1:1/secret-part", webhook_url=server.address), message)
    assert "secret-part" not in str(caught.value)
    assert len(server.received) == 1


# The command


@pytest.fixture
def command(isolated: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run it on a warehouse of two jobs of yesterday."""
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    (isolated / "data").mkdir()
    with base_tables(str(isolated / "data" / "warehouse.duckdb")) as connection:
        job = {"status": "COMPLETED", "model": "m", "scope": "user", "created_at": yesterday, "credit_cost": 1}
        insert(connection, "jobs", [{**job, "id": "1"}, {**job, "id": "2"}])
        insert(connection, "sync_runs", [run(datetime.now(UTC))])
        create_views(connection, "UTC")

    def run_it(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        chosen = {"PATH": "/usr/bin:/bin", "HOME": str(isolated), "PYTHONPATH": str(Path(__file__).parent.parent)}
        line = [sys.executable, "-m", "pipelines", "digest", *arguments]
        return subprocess.run(line, env=chosen | environment, capture_output=True, text=True, timeout=90, check=False)

    return run_it


def test_where_nobody_is_to_be_told_it_is_printed(command: Make, isolated: Path) -> None:
    done = command("--output", "week.html")
    assert done.returncode == 0
    assert "Spent: 2 credits" in done.stdout
    assert done.stdout.endswith(f"Report: {isolated / 'week.html'}\n")
    assert "nobody was told: set runtime.slack_incoming_hook, checks.webhook_url or checks.mail_to" in done.stderr
    facts = json.loads(command("--json", "--days", "1").stdout)
    assert (facts["total"]["credits"], facts["sent"], facts["report"]) == (2, [], None)


def test_it_is_sent_and_printed_only_on_request(command: Make) -> None:
    server = Server()
    with serving(server):
        done = command(CHECKS__WEBHOOK_URL=server.address)
        assert (done.returncode, done.stdout, done.stderr) == (0, "sent: webhook\n", "")
        assert "Spent: 2 credits" in command("--print", CHECKS__WEBHOOK_URL=server.address).stdout
        assert len(server.received) == 1
        server.status = 500
        done = command(CHECKS__WEBHOOK_URL=server.address)
    assert (done.returncode, done.stdout) == (1, "")
    assert "the webhook did not take the message (it answered 500)" in done.stderr


# Of which jobs


def test_of_two_scopes_the_configured_one_counts_and_of_labels_those_asked_for(settings_for: Make) -> None:
    now = datetime.now(UTC) - timedelta(days=1)
    with Sandbox(jobs=0, now=now) as api:
        for cost, colleague in ((2, False), (3, False), (64, True)):
            api.add(1, status="COMPLETED", model="m", creditCost=cost, colleague=colleague)
        api.add(1, status="FAILED", model="m", creditCost=7, colleague=True)
        sync(settings_for(api, scope="team"))
        own = settings_for(api)
        (own.project / ".dlt").mkdir()
        (own.project / ".dlt" / "label_rules.csv").write_text("label,value,field,contains\nwho,we,scope,user\n")
        sync(own)
    with connect(own) as connection:
        mine, all_of_them, ours = (
            digest.lines(digest.gather(connection, own, now + timedelta(days=1), 1, **chosen))
            for chosen in ({}, {"scope": "team"}, {"scope": "team", "labels": ["who=we"]})
        )
    spent = [next(line for line in lines if line.startswith("Spent")) for lines in (mine, all_of_them, ours)]
    assert [line.split(";")[0] for line in spent] == ["Spent: 5 credits", "Spent: 76 credits", "Spent: 5 credits"]
    assert "Your own jobs (scope user)" in mine[1]
    assert "The team's jobs" in all_of_them[1]
    assert "Only jobs with who = we." in ours[1]
    of_the_account = ("Credits left", "Checks", "last_sync", "refunds_due")
    assert any(line.startswith(of_the_account) for line in all_of_them)
    assert not any(line.startswith(of_the_account) for line in ours), "what is of the whole account is nobody's part"
    due = [next(line for line in lines if line.startswith("Refunds due")) for lines in (mine, all_of_them)]
    assert due[0] == "Refunds due: none."
    assert due[1].startswith("Refunds due: 7 credits of 1 failed job")


# Everywhere


@pytest.mark.everywhere
def test_its_figures_are_those_of_the_views(settings_for: Callable[..., Settings]) -> None:
    with Sandbox(jobs=600, days=21) as api:
        chosen = settings_for(api, balance_every="1h")
        sync(chosen)
        now = api.now
    with contextlib.closing(support.connect(chosen.path)) as connection:
        found = digest.gather(connection, chosen, now, 7)
    [(spent, jobs)] = support.query(
        chosen.path,
        "select sum(credits), sum(jobs) from reports.daily_spend "
        f"where day between date '{found.period.first}' and date '{found.period.last}'",
    )
    assert found.jobs
    assert (found.jobs.totals.total["credits"], found.jobs.totals.total["jobs"]) == (spent, jobs)
    assert found.jobs.totals.before is not None
    assert found.runway
    assert len(digest.lines(found)) <= 15
