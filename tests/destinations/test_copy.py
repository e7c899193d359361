"""A DuckDB warehouse that is copied gives the same rows everywhere, and the next sync goes on where it was."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import test_notebooks
from accounts import cells, differences, label, page_differences, priced, rows, varied, views
from support import JOBS, stale

from pipelines import checks, report, status
from pipelines.copying import copy
from pipelines.errors import ApiframeWarehouseError, ConfigurationError
from pipelines.pages import Asked, Section, sections
from pipelines.reports import queries
from pipelines.reports.queries import Period
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.stores import connect, store_for
from pipelines.sync import sync
from pipelines.tables import Table, tables

pytestmark = pytest.mark.destinations
Make = Callable[..., Settings]
ZONE = "America/New_York"


@pytest.fixture
def both(settings_for: Make, isolated: Path) -> Any:
    """An account of every shape in DuckDB, and its copy."""
    with Sandbox(jobs=1500, days=70) as api:
        varied(api)
        priced(api, isolated)
        here = settings_for(api, destination="duckdb", timezone=ZONE, balance_every="1h", inputs=True)
        label(api, here.project)
        sync(here)
        api.advance(timedelta(hours=2))
        api.book("top-up", 1000)
        api.delete([api.listing()[3]["id"]])
        sync(here, full=True)
        there = settings_for(api, timezone=ZONE)
        assert copy(store_for(here), store_for(there)).jobs == rows(here, "select count(*) from apiframe.jobs")[0][0]
        yield api, here, there


def test_a_copy_gives_the_same_rows_in_every_view_and_query(both: Any, isolated: Path) -> None:
    api, here, there = both
    for (name, one), other in zip(views(there).items(), views(here).values(), strict=True):
        assert differences(one, other) == [], name
    assert {"a.b.c d.e", "images", "options.none"} <= {row[1] for row in views(there)["input_values"]}
    for name, table in tables().items():
        one, other = (
            sorted(rows(place, f"select {', '.join(table.types)} from apiframe.{name}"), key=repr)
            for place in (here, there)
        )
        assert one == other
    tomorrow = api.now.date() + timedelta(days=1)  # where it may be tomorrow already
    period = Period(tomorrow - timedelta(days=61), tomorrow, "Asia/Kolkata")
    asked = [
        lambda c: queries.summary(c, period, "week", "model"),
        lambda c: queries.summary(c, Period(period.first, period.last, "UTC", ("", "suno-v5")), "status"),
        lambda c: queries.summary(c, period),
        *(partial(answer, kind, period, api.now) for name in test_notebooks.NOTEBOOKS for kind in sections(name)),
    ]
    for question in asked:
        with connect(here) as duckdb, connect(there) as other:
            one, two = question(duckdb), question(other)
        assert len(one) > 0
        assert differences(cells(two), cells(one)) == []
        assert [kind.kind for kind in one.dtypes] == [kind.kind for kind in two.dtypes]
    now = datetime.now(UTC)
    with connect(here) as duckdb, connect(there) as other:
        found = [[(f.check, f.state, f.message) for f in checks.run_checks(c, here, now)] for c in (duckdb, other)]
        assert found[0] == found[1]
        assert queries.extent(duckdb).synced == queries.extent(other).synced  # type: ignore[union-attr]
        pages = []
        for number, connection in enumerate((duckdb, other)):
            page = isolated / f"{number}.html"
            report.write_report(connection, page, period.first, period.last, ZONE, now)
            pages.append(page.read_text())
    assert page_differences(*pages) == []


class _Stopped(datetime):
    """A clock that stands: what is known of today is known up to now."""

    started = datetime.now(UTC)

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        return cls.started


def answer(kind: type[Section], period: Period, now: datetime, connection: Any) -> pd.DataFrame:
    known = queries.extent(connection)
    assert known
    return as_frame(kind.load(connection, Asked(period, "week", now, known)))


def as_frame(data: Any) -> pd.DataFrame:
    """The data of a section, as text where it is more than one frame."""
    return data if isinstance(data, pd.DataFrame) else pd.DataFrame({"told": [str(part) for part in data or ["none"]]})


def test_status_and_both_notebooks_show_the_same(both: Any, destination: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPORTS__TIMEZONE", ZONE)  # the notebooks', in which days and times of label rules are meant
    _, here, there = both
    now = int(datetime.now(UTC).timestamp() * 1e6)
    one, two = status.facts(here, now), status.facts(there, now)
    assert {name: two[name] for name in one if name not in ("path", "size_bytes")} == {
        name: value for name, value in one.items() if name not in ("path", "size_bytes")
    }
    assert two["size_bytes"] > 0
    monkeypatch.setenv("REPORTS__TIMEZONE", ZONE)  # a job is priced by its day there
    monkeypatch.setattr("pipelines.notebook.datetime", _Stopped)
    for name in test_notebooks.NOTEBOOKS:
        monkeypatch.setenv("WAREHOUSE__DESTINATION", "duckdb")
        _, shown = test_notebooks.run(name)
        monkeypatch.setenv("WAREHOUSE__DESTINATION", destination)
        _, also = test_notebooks.run(name)
        assert list(also) == list(shown)
        for one, two in zip(also.values(), shown.values(), strict=True):
            assert differences(cells(as_frame(one.data)), cells(as_frame(two.data))) == []


def test_the_next_sync_goes_on_where_the_copied_warehouse_was(both: Any) -> None:
    api, here, there = both
    born = api.live_on(timedelta(hours=2))
    api.requests.clear()
    sync(here)
    usual = api.count()
    api.requests.clear()
    outcome = sync(there)
    assert (outcome.run.mode, outcome.run.jobs_new, api.count()) == ("incremental", born, usual)
    assert stale(there.path, api, but=[job["id"] for job in api.listing() if "\0" in str(job["result"])]) == {}
    with pytest.raises(ConfigurationError, match="holds a warehouse already"):
        copy(store_for(here), store_for(there))


def test_a_first_load_that_was_cut_short_goes_on_after_the_copy(
    settings_for: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.apiframe.reading.BATCH_ROWS", 100)
    with Sandbox(jobs=1000, days=20) as api:
        here, there = settings_for(api, destination="duckdb", workers=1), settings_for(api, workers=1)
        api.fault("500", None, after=5)
        with pytest.raises(ApiframeWarehouseError):
            sync(here)
        api.clear_faults()
        assert copy(store_for(here), store_for(there)).jobs == 500
        api.requests.clear()
        assert "went on where" in sync(there).notes[0]
        assert api.count() <= 1 + 1 + 5 + 1, "the top, the last page that was stored, the rest, and the end once more"
        assert stale(there.path, api) == {}


def test_a_copy_that_was_cut_short_before_its_syncs_were_written_is_run_again(
    settings_for: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox(jobs=50) as api:
        here, there = settings_for(api, destination="duckdb"), settings_for(api)
        for _ in range(3):
            sync(here)
    target = store_for(there)
    write = target.write

    def cut(table: Table, what: Any) -> None:
        if table.name == "sync_runs":
            raise KeyboardInterrupt
        write(table, what)

    monkeypatch.setattr(target, "write", cut)
    with pytest.raises(KeyboardInterrupt):
        copy(store_for(here), target)
    copy(store_for(here), store_for(there))
    for table in tables():
        held = [rows(place, f"select count(*) from apiframe.{table}") for place in (here, there)]
        assert held[0] == held[1], table


def test_what_a_sync_had_seen_that_was_cut_short_is_told_by_the_copy(
    settings_for: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise ApiframeWarehouseError("cut short")

    with Sandbox(jobs=20, days=20) as api:
        here, there = settings_for(api, destination="duckdb"), settings_for(api)
        [job] = api.add(1, status="PROCESSING", creditCost=12)
        sync(here)
        api.put(job, creditCost=5)
        with monkeypatch.context() as patched:
            patched.setattr("pipelines.sync.conductor._Sync._record", fails)
            with pytest.raises(ApiframeWarehouseError, match="cut short"):
                sync(here)
        copy(store_for(here), store_for(there))
        sync(there)
    told = "select before, after from apiframe.job_changes where field = 'credit_cost' and id = "
    assert rows(there, f"{told}'{job}'") == [("12", "5")]


def test_a_warehouse_is_copied_back_to_duckdb(settings_for: Make, isolated: Path) -> None:
    with Sandbox(jobs=300, days=9) as api:
        there, back = settings_for(api), settings_for(api, destination="duckdb", path=str(isolated / "back.duckdb"))
        sync(there)
        copy(store_for(there), store_for(back))
        for name, table in tables().items():
            one, other = (
                sorted(rows(place, f"select {', '.join(table.types)} from apiframe.{name}"), key=repr)
                for place in (there, back)
            )
            assert one == other
        api.add(3)
        assert (sync(back).run.mode, sync(back).run.requests) == ("incremental", 1)


def test_an_empty_account_has_every_column_in_its_order(settings_for: Make) -> None:
    with Sandbox(jobs=0) as api:
        there = settings_for(api)
        sync(there)
        sql = (
            "select column_name from information_schema.columns where table_schema = 'apiframe' and table_name = 'jobs'"
        )
        assert [name for (name,) in rows(there, sql + " order by ordinal_position")] == list(JOBS)
        assert rows(there, "select * from reports.jobs") == []
        assert sync(there).run.requests == 1
        api.add(1)
        sync(there)
        assert stale(there.path, api) == {}
