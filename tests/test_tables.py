"""Tables: each is one file, and what a store makes of it follows from that file."""

import dataclasses
import gzip
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support import NAMES, query, stale, stored

from pipelines import report, status, tables
from pipelines.apiframe.answers import ApiError
from pipelines.apiframe.records import Row
from pipelines.exact import moment
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.stores import connect
from pipelines.sync import sync
from pipelines.tables import Column, Table
from pipelines.tables.sync_runs import Run

Make = Callable[..., Settings]


def test_rows_have_the_columns_of_their_tables() -> None:
    assert tuple(tables.tables()["jobs"].types) == Row._fields
    assert tuple(tables.tables()["sync_runs"].types) == Run._fields


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> Callable[[Table], None]:
    """One more file in the folder."""
    known = tables.tables()

    def add(table: Table) -> None:
        for module in ("pipelines.tables", "pipelines.sync.conductor"):
            monkeypatch.setattr(f"{module}.tables", lambda: known | {table.name: table})

    return add


COLUMNS = (
    Column("id", "VARCHAR", "Which."),
    Column("seen_at", "TIMESTAMPTZ", "When."),
    Column("credits", "DECIMAL(18,4)", "How much.", unit="credits"),
    Column("share", "DOUBLE", "Of all."),
    Column("is_odd", "BOOLEAN", "Whether."),
    Column("count", "BIGINT", "How many."),
    Column("text", "JSON", "Anything."),
)
ROW: tuple[Any, ...] = ("a'b", 1_700_000_000_123_456, "12345678901234.5678", 0.1, True, 2**62, '{"a": [1, "ü"]}')


@pytest.mark.everywhere
@pytest.mark.gap("delta", reason="keeps no transactions; what it stores is in test_copy")
@pytest.mark.parametrize(("mode", "kept"), [("append", ["a", "b", "a"]), ("replace", ["a"]), ("merge", ["a", "b"])])
def test_rows_are_added_replaced_or_merged_and_values_stay_exact(
    settings_for: Make, added: Callable[[Table], None], mode: Any, kept: list[str]
) -> None:
    given = iter([[("a", *ROW[1:]), ("b", *[None] * 6)], [("a", *ROW[1:])], None])
    added(Table("things", "A row a thing.", COLUMNS, mode=mode, key=("id",), rows=lambda _: next(given)))
    with Sandbox(jobs=3) as api:
        chosen = settings_for(api)
        for _ in range(3):
            sync(chosen)
    assert sorted(name for (name,) in query(chosen.path, "select id from apiframe.things")) == sorted(kept)
    columns = (
        "cast(epoch_us(seen_at) as varchar), cast(credits as varchar), share, is_odd, count, cast(text as varchar)"
    )
    found = query(chosen.path, f"select distinct {columns} from apiframe.things where id = 'a'")
    assert found == [(str(ROW[1]), *ROW[2:])]


@pytest.mark.everywhere
@pytest.mark.gap("delta", reason="readers know the folder's tables; test_account_there has a column that is new")
def test_an_older_warehouse_gets_new_tables_and_new_columns(settings_for: Make, added: Callable[[Table], None]) -> None:
    with Sandbox(jobs=3) as api:
        chosen = settings_for(api)
        added(Table("things", "A row a thing.", COLUMNS[:1], rows=lambda _: [("a",)]))
        sync(chosen)
        added(Table("things", "A row a thing.", COLUMNS[:2], rows=lambda _: [("b", ROW[1])]))
        sync(chosen)
    rows = query(chosen.path, "select id, epoch_us(seen_at) from apiframe.things order by id")
    assert rows == [("a", None), ("b", ROW[1])]


def test_a_table_that_cannot_be_read_is_a_note_and_no_error(settings_for: Make, added: Callable[[Table], None]) -> None:
    def fails(_: object) -> None:
        raise ApiError("the API answered 500")

    added(Table("things", "A row a thing.", COLUMNS, rows=fails, before=True))
    with Sandbox(jobs=3) as api:
        outcome = sync(settings_for(api))
    assert outcome.notes == ["things could not be read: the API answered 500"]


def test_tables_and_their_columns_are_described_in_the_database(settings_for: Make) -> None:
    with Sandbox(jobs=3) as api:
        chosen = settings_for(api)
        sync(chosen)
        api.add(1)
        sync(chosen)  # whose load finds no staging tables
    found = query(
        chosen.path, "select table_name, comment from duckdb_tables() where table_name not like '#_dlt%' escape '#'"
    )
    assert dict(found) == {name: table.sentence for name, table in tables.tables().items()}
    assert query(chosen.path, "select count(*) from duckdb_schemas() where schema_name = 'apiframe_staging'") == [(0,)]
    columns = query(
        chosen.path,
        "select table_name, column_name, comment from duckdb_columns() where schema_name = 'apiframe' "
        "and table_name not like '#_dlt%' escape '#' and column_name <> '_dlt_load_id'",
    )
    assert {(table, name): comment for table, name, comment in columns} == {
        (table.name, column.name): column.comment for table in tables.tables().values() for column in table.columns
    }


# A warehouse of version 0.1.0: 177 jobs, three syncs of scope user, and a first load of scope team that was cut short.
# Made by a sandbox: `live_on`, jobs that were deleted, of an unknown status, open, with fields of their own.

OLD = Path(__file__).parent / "data" / "warehouse-0.1.0.duckdb.gz"


@pytest.fixture
def old(settings_for: Make) -> Iterator[tuple[Sandbox, Settings]]:
    """That warehouse, and a sandbox that serves what it holds, under ids of its own."""
    with Sandbox(jobs=0) as api:
        chosen = settings_for(api)
        chosen.path.parent.mkdir(parents=True)
        chosen.path.write_bytes(gzip.decompress(OLD.read_bytes()))
        ids = {}
        for identity, row in sorted(stored(chosen.path).items(), key=lambda job: job[1]["created_at"]):
            if row["delisted_at"] is not None or row["scope"] == "team":
                continue
            fields = {name: row[column] for name, column in NAMES.items()} | (row["extra"] or {})
            for name in ("createdAt", "completedAt"):
                fields[name] = fields[name] and moment(fields[name]).isoformat()
            if fields["creditCost"] is not None:
                fields["creditCost"] = float(fields["creditCost"])
            ids[identity] = api.add(1, **fields)[0]
        with duckdb.connect(str(chosen.path)) as connection:
            connection.execute("update apiframe.sync_runs set base_url = ?", [api.base_url])
            connection.execute("delete from apiframe.jobs where scope = 'team'")
            for before, now in ids.items():
                connection.execute("update apiframe.jobs set id = ? where id = ?", [now, before])
        yield api, chosen


def test_a_warehouse_of_the_version_before_opens_syncs_and_reports(
    old: tuple[Sandbox, Settings], tmp_path: Path
) -> None:
    api, chosen = old
    before = query(chosen.path, "select count(*), sum(credits) from reports.jobs")
    assert status.facts(chosen, 0)["spent_this_month"] is None, "its views know no money"
    outcome = sync(chosen)
    assert (outcome.run.mode, outcome.run.number, outcome.drift) == ("incremental", 4, {})
    for file in (chosen.path, chosen.path.parent / ".load" / chosen.path.name):  # it was written as by DuckDB 2
        assert file.read_bytes()[:20][12:] == (65).to_bytes(8, "little"), "DuckDB 1.3 and newer read it"
    assert query(chosen.path, "select count(*), sum(credits) from reports.jobs") == before
    assert stale(chosen.path, api) == {}
    api.add(5)
    assert sync(chosen).run.jobs_new == 5
    assert stale(chosen.path, api) == {}
    team = sync(dataclasses.replace(chosen, scope="team"))
    assert stale(chosen.path, api, "team") == {}
    assert team.run.mode == "first"
    days = query(chosen.path, "select min(day), max(day) from reports.daily_spend")[0]
    with closing(connect(chosen)) as connection:
        page = tmp_path / "report.html"
        report.write_report(connection, page, *days, "UTC", api.now)
    assert page.stat().st_size > 0
