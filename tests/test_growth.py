"""A sync does not slow down with its history: what a large file costs where little or nothing is new."""

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support import query, runs, stale

from pipelines import checks, status
from pipelines.errors import ApiframeWarehouseError
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.stores import _publishing, connect, store_for
from pipelines.stores._publishing import Published
from pipelines.sync import sync
from pipelines.tables.job_changes import TABLE as JOB_CHANGES
from pipelines.warehouse import Warehouse

Make = Callable[..., Settings]
HOUR, DAY = 3600 * 1_000_000, 86_400 * 1_000_000  # microseconds, as NEWEST
NEWEST = 1_780_000_000_000_000


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file counts as large, on a file system that cannot share blocks."""
    monkeypatch.setattr(_publishing, "LARGE_BYTES", 0)
    monkeypatch.setattr(fcntl, "ioctl", _no_clone)


def _no_clone(*_: object) -> None:
    raise OSError(95, "Operation not supported")


@pytest.fixture
def here(large: None, api: Sandbox, settings_for: Make) -> Settings:
    """A large warehouse in which nothing can change any more."""
    api.advance(timedelta(days=2))
    chosen = settings_for(api)
    sync(chosen)
    return chosen


def published(chosen: Settings) -> int:
    """What tells one published file from the next."""
    return chosen.path.stat().st_mtime_ns


def number(chosen: Settings) -> int:
    """The number of the last sync, as `status` has it."""
    return int(status.facts(chosen, int(time.time() * 1e6))["last_sync"]["number"])


def ages(chosen: Settings, now: datetime) -> list[float]:
    """How many seconds ago the last sync ended, for `status` and for `check`."""
    found = status.facts(chosen, int(now.timestamp() * 1e6))
    with contextlib.closing(connect(chosen)) as connection:
        findings = checks.run_checks(connection, chosen, now)
    return [found["age_seconds"], *(each.measured for each in findings if each.check == "last_sync")]


# Publishing


def test_a_large_file_is_not_copied_for_the_row_of_a_sync(api: Sandbox, here: Settings) -> None:
    before = published(here)
    for _ in range(3):
        assert sync(here).run.requests == 1
    assert published(here) == before
    assert len(runs(here.path)) == 1
    api.add(1)
    assert sync(here).run.number == 5
    assert published(here) != before
    assert len(runs(here.path)) == 5
    assert stale(here.path, api) == {}


def test_a_small_one_is(api: Sandbox, settings_for: Make) -> None:
    chosen = settings_for(api)
    for _ in range(3):
        sync(chosen)
    assert len(runs(chosen.path)) == 3
    assert {file.name for file in chosen.path.parent.iterdir()} == {"warehouse.duckdb", ".load"}


def test_it_is_copied_once_an_hour(here: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    sync(here)
    assert len(runs(here.path)) == 1
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    sync(here)
    assert len(runs(here.path)) == 3


def test_status_and_check_know_of_the_syncs_that_are_not_published_yet(api: Sandbox, here: Settings) -> None:
    api.advance(timedelta(hours=30))
    assert min(ages(here, api.now)) > 29 * 3600
    sync(here)
    assert len(runs(here.path)) == 1
    assert number(here) == 2
    assert max(ages(here, api.now)) < 60


def test_of_each_scope_the_last_sync_is_known(api: Sandbox, here: Settings, settings_for: Make) -> None:
    team = settings_for(api, scope="team")
    sync(team)
    sync(team)
    sync(here)
    assert [run["scope"] for run in runs(here.path)] == ["user", "team"]
    store = store_for(here)
    with contextlib.closing(store.connect_readonly()) as connection:
        found = [store.last_run(Warehouse.over(connection), scope) for scope in (None, "user", "team")]
    assert [run and run.number for run in found] == [4, 4, 3]


def test_who_may_read_the_file_may_read_what_is_told_beside_it(here: Settings) -> None:
    here.path.chmod(0o644)
    sync(here)
    assert {file.name: file.stat().st_mode & 0o777 for file in here.path.parent.glob("w*")} == {
        "warehouse.duckdb": 0o644,
        "warehouse.duckdb.last_sync": 0o644,
    }


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"follows": null, "runs": [[1]]}', "7"])
def test_what_is_told_beside_it_may_be_lost_or_damaged(here: Settings, text: str) -> None:
    sync(here)
    beside = here.path.with_name("warehouse.duckdb.last_sync")
    if text:
        beside.write_text(text)
    else:
        beside.unlink()
    assert number(here) == 1


@pytest.mark.parametrize("load_file", ["kept", "lost"])
def test_what_is_told_belongs_to_one_file_alone(api: Sandbox, here: Settings, tmp_path: Path, load_file: str) -> None:
    backup = shutil.copy(here.path, tmp_path)
    api.add(1)
    sync(here)
    sync(here)
    assert number(here) == 3
    shutil.copy(backup, here.path)
    assert number(here) == 1, "the backup's own"
    if load_file == "lost":
        shutil.rmtree(here.path.parent / ".load")
    sync(here)
    assert len(runs(here.path)) == (4 if load_file == "kept" else 2), "a file from elsewhere is replaced at once"
    assert stale(here.path, api) == {}


def test_a_warehouse_that_was_moved_or_lost_its_load_file_goes_on(api: Sandbox, here: Settings) -> None:
    sync(here)
    shutil.rmtree(here.path.parent / ".load")
    assert sync(here).run.number == 2, "what was not published is lost with it: a row of sync_runs"
    assert number(here) == 2
    api.add(1)
    sync(here)
    assert stale(here.path, api) == {}


# What else has changed is published at once


def test_jobs_that_a_failed_sync_has_stored_are(api: Sandbox, here: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    api.add(1)
    with monkeypatch.context() as patch:
        patch.setattr(_publishing, "copy", _no_clone)
        with pytest.raises(ApiframeWarehouseError, match="cannot publish"):
            sync(here)
    assert sync(here).run.jobs_new == 0
    assert stale(here.path, api) == {}


@pytest.mark.parametrize("step", ["_tell", "_keep"])
def test_what_an_interrupted_sync_did_not_come_to_tell_is(
    here: Settings, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Published, step, interrupt)
        with pytest.raises(KeyboardInterrupt):
            sync(here)
    assert number(here) == (1 if step == "_tell" else 2)
    sync(here)
    assert len(runs(here.path)) == 3


def test_changes_that_were_deleted_are(api: Sandbox, here: Settings) -> None:
    [job] = api.add(1, status="PROCESSING")
    sync(here)
    api.finish([job])
    sync(here)
    assert query(here.path, "select count(*) > 0 from apiframe.job_changes") == [(True,)]
    api.advance(timedelta(days=1))
    sync(here)  # sees it settled
    before = published(here)
    sync(here)
    assert published(here) == before
    assert store_for(here).prune(JOB_CHANGES, "seen_at", int(api.now.timestamp() * 1e6) + HOUR) > 0
    sync(here)
    assert query(here.path, "select count(*) from apiframe.job_changes") == [(0,)]


def test_other_views_are(api: Sandbox, here: Settings, settings_for: Make) -> None:
    before = published(here)
    sync(settings_for(api, timezone="Asia/Tokyo"))
    assert published(here) != before


def test_what_tables_are_filled_with_is(api: Sandbox, here: Settings, settings_for: Make) -> None:
    hourly = settings_for(api, balance_every="1h")
    sync(hourly)
    assert query(here.path, "select count(*) from apiframe.balances") == [(1,)]
    before = published(here)
    sync(hourly)
    assert published(here) == before


def test_a_log_beside_it_is_removed(api: Sandbox, here: Settings) -> None:
    log = here.path.with_name(f"{here.path.name}.wal")
    log.write_bytes(b"left by a program")
    sync(here)
    assert not log.exists()


def test_where_blocks_can_be_shared_every_sync_is_published(here: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def share(target: Any, request: int, source: int) -> int:
        assert request == 0x40049409
        return os.sendfile(target.fileno(), source, 0, os.fstat(source).st_size)

    monkeypatch.setattr(fcntl, "ioctl", share)
    monkeypatch.setattr(shutil, "copyfile", _no_clone)
    sync(here)
    assert len(runs(here.path)) == 2
    assert here.path.stat().st_mode & 0o777 == 0o600


# Looking for what can still change


def test_a_sync_that_stores_nothing_sums_nothing(here: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_all(_: Warehouse) -> None:
        raise AssertionError("reads a column of the whole table")

    monkeypatch.setattr(Warehouse, "spent", read_all)
    outcome = sync(here)
    assert (outcome.jobs, outcome.run.jobs_new, outcome.credits_added) == (1000, 0, 0)


ROWS = 1_500_000


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """A million and a half settled jobs, one a minute, newest first, as a first load stores them."""
    with duckdb.connect(str(tmp_path_factory.mktemp("growth") / "large.duckdb")) as connection:
        connection.execute(
            f"""
            set TimeZone = 'UTC'; create schema apiframe;
            create table apiframe.jobs as select
                'job-' || i as id,
                case when i % 10 = 7 then 'FAILED' when i % 33 = 1 then 'CANCELLED' else 'COMPLETED' end as status,
                case when i % 3 = 0 then 'delivered' end as webhook_status,
                make_timestamp({NEWEST} - i * 60000000)::timestamptz as created_at,
                case when i % 10 <> 7 then make_timestamp({NEWEST} - i * 60000000 + 30000000)::timestamptz end
                    as completed_at,
                'user' as scope, null::timestamptz as delisted_at
            from range({ROWS}) as numbers(i);
            checkpoint"""
        )
        yield connection


def asked(connection: duckdb.DuckDBPyConnection, profile: Path, ask: Callable[[Warehouse], Any]) -> tuple[Any, int]:
    """The answer to a question, and how many rows were read for it."""
    rows = 0

    def counted(sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        nonlocal rows
        found = connection.execute(sql, parameters or None).fetchall()
        rows += json.loads(profile.read_text())["query"].get("total_rows_scanned", 0)
        return found

    connection.execute(f"pragma enable_profiling = 'json'; set profiling_output = '{profile}'")
    answer = ask(Warehouse(counted))
    connection.execute("pragma disable_profiling")
    return answer, rows


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (lambda warehouse: warehouse.unsettled("user", NEWEST + DAY, HOUR), []),
        (lambda warehouse: len(warehouse.unsettled("user", NEWEST, HOUR)), 61),
        (lambda warehouse: warehouse.lately_delisted("user", NEWEST, NEWEST + HOUR), []),
        (lambda warehouse: warehouse.totals(), (ROWS, 0)),
    ],
    ids=["nothing", "the last hour", "delisted", "totals"],
)
def test_what_is_new_is_found_without_reading_what_is_not(
    history: duckdb.DuckDBPyConnection, tmp_path: Path, ask: Callable[[Warehouse], Any], answer: Any
) -> None:
    found, rows = asked(history, tmp_path / "profile.json", ask)
    assert found == answer
    assert rows < ROWS / 2, "a few groups of 122,880 rows"


def test_an_old_open_job_is_found_with_how_many_are_newer(history: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    places = (30, 400_000)
    history.execute("begin")
    for place in places:
        history.execute("update apiframe.jobs set status = 'PROCESSING' where id = 'job-' || ?", [place])
    unsettled = Warehouse.over(history).unsettled("user", NEWEST + DAY, HOUR)
    history.execute("rollback")
    assert sorted((job.rank, job.status) for job in unsettled) == [(place, "PROCESSING") for place in places]
