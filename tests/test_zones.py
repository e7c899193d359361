"""Days of Python and of the database go by one table of zones, the database's, whatever Python's own says."""

import contextlib
import json
import os
import subprocess
import sys
import zoneinfo
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import pytest
import support
from reports.tables import base_tables, insert

from pipelines import checks, digest, settings, status
from pipelines.checks._month import month
from pipelines.reports import create_views
from pipelines.reports.queries import Period, summary
from pipelines.reports.spending import runway
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.sync import sync
from pipelines.wording import clock
from pipelines.zones import begins, local

#: It is a day later there than here, at every hour: the hours of which zone Python is given for those of which.
WRONG, TRUE = "Pacific/Kiritimati", "Pacific/Pago_Pago"  # 14 hours ahead, 11 behind


@pytest.fixture
def misled(tmp_path: Path) -> Iterator[Path]:
    """Python's table of zones has the wrong hours for one of them; the folder that it lies in."""
    folder = tmp_path / "zoneinfo"
    (folder / "Pacific").mkdir(parents=True)
    places = [*zoneinfo.TZPATH, *([str(files("tzdata") / "zoneinfo")] if find_spec("tzdata") else [])]
    table = next(file for file in (Path(place, WRONG) for place in places) if file.exists())
    (folder / TRUE).write_bytes(table.read_bytes())
    known = zoneinfo.TZPATH
    zoneinfo.reset_tzpath([str(folder), *known])
    zoneinfo.ZoneInfo.clear_cache()
    yield folder
    zoneinfo.reset_tzpath(known)
    zoneinfo.ZoneInfo.clear_cache()


@cache
def differing() -> dict[str, datetime]:
    """Zones to which Python and DuckDB give different hours at some noon of 2024 to 2027, and the first one."""
    noons = [datetime(2024, 1, 1, 12, tzinfo=UTC) + timedelta(weeks=week) for week in range(4 * 52 + 1)]
    found = {}
    with duckdb.connect() as connection:
        names = {name for (name,) in connection.execute("select name from pg_timezone_names()").fetchall()}
        for name in sorted(names & zoneinfo.available_timezones()):
            shown = connection.execute(
                "select list(timezone($name, noon) order by noon) from (select unnest($noons::timestamptz[]) as noon)",
                {"name": name, "noons": [noon.isoformat() for noon in noons]},
            ).fetchall()[0][0]
            zone = zoneinfo.ZoneInfo(name)
            for noon, there in zip(noons, shown, strict=True):
                if noon.astimezone(zone).replace(tzinfo=None) != there:
                    found[name] = noon
                    break
    return found


def at_midnight(connection: duckdb.DuckDBPyConnection, name: str, noon: datetime) -> datetime:
    """A moment of that day at which Python and the database are not on the same day."""
    zone = zoneinfo.ZoneInfo(name)
    for minutes in range(0, 24 * 60, 15):
        moment = noon + timedelta(minutes=minutes)
        [(day,)] = connection.execute(
            "select cast(timezone(?, cast(? as timestamptz)) as date)", [name, moment.isoformat()]
        ).fetchall()
        if day != moment.astimezone(zone).date():
            return moment
    raise AssertionError(name)


def test_where_both_tables_differ_the_database_says_which_day_it_is() -> None:
    """As many zones as there are on this machine: eleven in 2026, none where both are equally new."""
    for name, noon in differing().items():
        with base_tables() as connection:
            now = at_midnight(connection, name, noon)
            job = {"id": "1", "status": "COMPLETED", "credit_cost": 7, "model": "m", "created_at": now.isoformat()}
            insert(connection, "jobs", [job])
            insert(connection, "sync_runs", [{"started_at": now.isoformat(), "finished_at": now.isoformat()}])
            create_views(connection, name)
            agree(connection, settings.load({}, timezone=name), now)


def test_a_table_of_python_that_is_wrong_changes_no_day(misled: Path) -> None:
    now = datetime(2024, 5, 1, 10, 30, tzinfo=UTC)
    assert now.astimezone(zoneinfo.ZoneInfo(TRUE)).date() == date(2024, 5, 2), "Python is misled"
    with base_tables() as connection:
        job = {"id": "1", "status": "COMPLETED", "credit_cost": 7, "model": "m", "created_at": now.isoformat()}
        insert(connection, "jobs", [job])
        insert(connection, "sync_runs", [{"started_at": now.isoformat(), "finished_at": now.isoformat()}])
        create_views(connection, TRUE)
        chosen = settings.load({}, timezone=TRUE)
        agree(connection, chosen, now)
        spent = {finding.check: finding.measured for finding in checks.run_checks(connection, chosen, now)}
        assert digest.gather(connection, chosen, now, 1).period.last == date(2024, 4, 29)
        running = month(checks.Asked(connection, chosen, now))
    assert spent["monthly_credits"] == 7
    assert (running.first, running.today) == (date(2024, 4, 1), date(2024, 4, 30))
    assert clock(now, TRUE) == "2024-04-30 23:30"


def agree(connection: duckdb.DuckDBPyConnection, chosen: Settings, now: datetime) -> None:
    """Whoever asks for today finds the job that was created just now."""
    [(today,)] = connection.execute("select day from reports.jobs").fetchall()
    there = local(connection, now, chosen.timezone)
    assert (there, there.date()) == (now, today)
    assert (
        begins(connection, today, chosen.timezone)
        <= now
        < begins(connection, today + timedelta(days=1), chosen.timezone)
    )
    assert clock(now, chosen.timezone).startswith(f"{today} ")
    assert month(checks.Asked(connection, chosen, now)).today == today
    assert summary(connection, Period(today, today, chosen.timezone)).iloc[0]["credits"] == 7


@pytest.mark.everywhere
def test_so_it_is_with_a_warehouse_that_was_synced(
    settings_for: Callable[..., Settings], misled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPORTS__TIMEZONE", TRUE)
    with Sandbox(jobs=600, days=40) as api:
        chosen = settings_for(api, balance_every="1h")
        sync(chosen)
        now = api.now
    with contextlib.closing(support.connect(chosen.path)) as connection:
        found = runway(connection, TRUE)
        today = local(connection, now, TRUE).date()
        assert found
        first, last = today - timedelta(days=found.days), today - timedelta(days=1)
        [(spent,)] = connection.execute(
            "select sum(credits) + sum(credits_pending) from reports.daily_spend "
            f"where day between date '{first}' and date '{last}'"
        ).fetchall()
    assert (now - timedelta(hours=11)).date() == today == found.at.date()
    assert found.days in (7, 28), "the last week may stand out"
    assert found.credits_per_day is not None
    assert abs(found.credits_per_day * found.days - spent) < 1
    facts = status.facts(chosen, int(now.timestamp() * 1e6))
    assert facts["spent_this_month"]["month"] == f"{today:%Y-%m}"


def test_a_report_of_one_day_is_of_the_databases_day(isolated: Path, misled: Path) -> None:
    def today() -> str:
        return f"{datetime.now(UTC) - timedelta(hours=11):%Y-%m-%d}"

    (isolated / "data").mkdir()
    with base_tables(str(isolated / "data" / "warehouse.duckdb")) as connection:
        insert(connection, "jobs", [{"id": "1", "status": "COMPLETED", "created_at": "@1"}])
        create_views(connection, TRUE)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(isolated),
        "PYTHONPATH": str(Path(__file__).parent.parent),
        "PYTHONTZPATH": os.pathsep.join([str(misled), *zoneinfo.TZPATH]),
        "REPORTS__TIMEZONE": TRUE,
    }
    before = today()
    command = [sys.executable, "-m", "pipelines", "report", "--days", "1", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
    facts: dict[str, Any] = json.loads(done.stdout)
    assert facts["first_day"] == facts["last_day"]
    assert facts["last_day"] in (before, today())
    assert facts["jobs"] == 1


def test_a_day_whose_midnight_comes_twice_begins_with_the_first() -> None:
    with duckdb.connect() as connection:
        assert begins(connection, date(2026, 11, 1), "America/Havana") == datetime(2026, 11, 1, 4, tzinfo=UTC)
        assert begins(connection, date(2026, 11, 2), "America/Havana") == datetime(2026, 11, 2, 5, tzinfo=UTC)
