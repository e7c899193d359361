"""Promise 6: readers in other processes neither wait nor fail while syncs go on, and each query sees one whole sync."""

import errno
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support import processes, query, running, runs, stale

from pipelines.errors import ApiframeWarehouseError, ConfigurationError
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.stores.duckdb import connect_readonly
from pipelines.sync import sync

Make = Callable[..., Settings]
SYNCS = 2

#: (number of the sync, whether its jobs are all there)
WHOLE = "select count(*), (select sum(jobs_new) from {0}apiframe.sync_runs) = count(*) from {0}apiframe.jobs"
NUMBER = "select max(number) from {0}apiframe.sync_runs"


@pytest.fixture
def api() -> Iterator[Sandbox]:
    with Sandbox(jobs=200, days=10) as api:
        api.advance(timedelta(days=2))
        yield api


@pytest.fixture
def here(api: Sandbox, settings_for: Make) -> Settings:
    chosen = settings_for(api)
    sync(chosen)
    return chosen


def look(connection: duckdb.DuckDBPyConnection, prefix: str = "") -> int:
    """The number of the sync that is seen; fails where it is not whole."""
    (number,) = connection.execute(NUMBER.format(prefix)).fetchall()[0]
    jobs, whole = connection.execute(WHOLE.format(prefix)).fetchall()[0]
    assert whole, f"{jobs} jobs at sync {number}"
    return int(number)


def _hold(path: Path, read_only: bool, ready: Any, stop: Any, told: Any) -> None:
    """Open once and ask again and again."""
    try:
        with duckdb.connect(str(path), read_only=read_only) as connection:
            seen = {look(connection)}
            ready.set()
            while not stop.is_set():
                seen.add(look(connection))
            told.put(sorted(seen))
    except BaseException as problem:
        told.put(repr(problem))
        raise


def _open_and_close(path: Path, read_only: bool, ready: Any, stop: Any, told: Any) -> None:
    """Open, ask and close in a loop, as a dashboard does."""
    seen: set[int] = set()
    slowest = 0.0
    try:
        while not stop.is_set():
            begun = time.monotonic()
            with duckdb.connect(str(path), read_only=read_only) as connection:
                seen.add(look(connection))
            slowest = max(slowest, time.monotonic() - begun)
            ready.set()
        told.put(sorted(seen))
        assert slowest < 20, "a reader never waits for a sync"
    except BaseException as problem:
        told.put(repr(problem))
        raise


def _attach(path: Path, read_only: bool, ready: Any, stop: Any, told: Any) -> None:
    """Attach to a session of one's own, and attach anew for fresh data."""
    how = " (read_only)" if read_only else ""
    seen: set[int] = set()
    try:
        with duckdb.connect() as connection:
            while not stop.is_set():
                connection.execute(f"attach '{path}' as w{how}")
                seen.add(look(connection, "w."))
                connection.execute("detach w")
                ready.set()
        told.put(sorted(seen))
    except BaseException as problem:
        told.put(repr(problem))
        raise


def syncs_go_on(api: Sandbox, settings: Settings, reader: Callable[..., None], read_only: bool) -> list[int]:
    """Sync while another process reads; the numbers of the syncs that it saw."""
    ready, stop, told = processes.Event(), processes.Event(), processes.SimpleQueue()
    with running(reader, settings.path, read_only, ready, stop, told) as process:
        assert ready.wait(60) or told.get()
        for _ in range(SYNCS):
            api.add(40)
            begun = time.monotonic()
            assert sync(settings).run.jobs_new == 40
            assert time.monotonic() - begun < 30, "a sync never waits for a reader"
        for _ in range(0 if reader is _hold else 2):  # the first one may have begun before the last sync ended
            ready.clear()
            assert ready.wait(60) or told.get()
        stop.set()
        seen: list[int] = told.get()
        process.join(60)
        assert (process.exitcode, isinstance(seen, list)) == (0, True), seen
    assert stale(settings.path, api) == {}
    assert not settings.path.with_name(f"{settings.path.name}.wal").exists()
    return seen


@pytest.mark.parametrize("read_only", [True, False])
def test_a_reader_that_holds_the_file_open_sees_what_it_opened(api: Sandbox, here: Settings, read_only: bool) -> None:
    assert syncs_go_on(api, here, _hold, read_only) == [1]


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("reader", [_open_and_close, _attach])
def test_a_reader_that_opens_anew_sees_each_sync_whole(
    api: Sandbox, here: Settings, reader: Callable[..., None], read_only: bool
) -> None:
    seen = syncs_go_on(api, here, reader, read_only)
    assert set(seen) <= set(range(1, SYNCS + 2))
    assert seen[-1] == SYNCS + 1, "the last one is seen as soon as it is published"


def test_a_reader_in_the_process_of_the_sync_is_not_in_its_way(api: Sandbox, here: Settings) -> None:
    with duckdb.connect(str(here.path), read_only=True) as connection:
        api.add(10)
        sync(here)
        assert look(connection) == 1
    assert query(here.path, NUMBER.format("")) == [(2,)]


def test_what_a_reader_wrote_keeps_nobody_out_of_the_file_that_takes_its_place(
    api: Sandbox, here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, original = here.path.stat().st_ino, Path.unlink
    log = here.path.with_name(f"{here.path.name}.wal")

    def look_first(path: Path, *arguments: Any, **named: Any) -> None:
        assert path != log or here.path.stat().st_ino == before, "a log beside a file that it does not belong to"
        original(path, *arguments, **named)

    with duckdb.connect(str(here.path)) as connection:
        connection.execute("create table mine as select 1 as x")
        assert log.exists()
        monkeypatch.setattr(Path, "unlink", look_first)
        sync(here)
        assert not log.exists()


def test_a_reader_is_told_of_a_log_that_keeps_it_out_and_the_next_sync_removes_it(
    api: Sandbox, here: Settings, tmp_path: Path
) -> None:
    other = tmp_path / "other.duckdb"
    with duckdb.connect(str(other)) as connection:
        connection.execute("create table mine as select 1 as x")
        log = other.with_name("other.duckdb.wal").read_bytes()
    here.path.with_name(f"{here.path.name}.wal").write_bytes(log)
    with pytest.raises(ApiframeWarehouseError, match="opened it for writing and left"):
        connect_readonly(here.path)
    sync(here)
    connect_readonly(here.path).close()


def test_what_a_reader_wrote_into_the_published_file_is_no_obstacle(api: Sandbox, here: Settings) -> None:
    with duckdb.connect(str(here.path)) as connection:
        connection.execute("create table mine as select 1 as x")
    api.add(5)
    sync(here)
    assert stale(here.path, api) == {}
    assert len(runs(here.path)) == 2


# The file that is put in place


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to other groups and people")
def test_owner_group_and_mode_of_the_published_file_are_kept(api: Sandbox, here: Settings) -> None:
    os.chown(here.path, 12_345, 23_456)
    here.path.chmod(0o640)
    api.add(1)
    sync(here)
    facts = here.path.stat()
    assert (facts.st_uid, facts.st_gid, facts.st_mode & 0o777) == (12_345, 23_456, 0o640)
    assert not stale(here.path, api)


def test_the_group_is_kept_where_the_owner_cannot_be(
    api: Sandbox, here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []

    def as_a_user(path: Path, owner: int, group: int) -> None:
        asked.append((owner, group))
        if owner != -1:
            raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chown", as_a_user)
    facts = here.path.stat()
    sync(here)
    assert asked == [(facts.st_uid, facts.st_gid), (-1, facts.st_gid)]


def test_a_file_that_is_mounted_alone_is_told_with_what_helps(
    api: Sandbox, here: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "mounted.duckdb"
    shutil.copy(here.path, kept)
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(["mount", "--bind", kept, here.path], capture_output=True, check=False).returncode
    )
    if not mounted:  # not allowed here
        replace = Path.replace

        def busy(self: Path, target: Path) -> Path:
            if target == here.path:
                raise OSError(errno.EBUSY, "Device or resource busy")
            return replace(self, target)

        monkeypatch.setattr(Path, "replace", busy)
    api.add(1)
    try:
        with pytest.raises(ConfigurationError, match="mounted as a single file; mount the folder that holds it"):
            sync(here)
    finally:
        if mounted:
            subprocess.run(["umount", here.path], check=True)
        monkeypatch.undo()


@pytest.mark.parametrize("name", ["main.duckdb", "temp.duckdb", "system", "pg_catalog.db", "w" * 233 + ".duckdb"])
def test_a_name_that_is_not_refused_works(api: Sandbox, settings_for: Make, name: str) -> None:
    chosen = settings_for(api, path=f"data/{name}")
    for _ in range(SYNCS):
        sync(chosen)
        api.add(1)
    assert len(runs(chosen.path)) == SYNCS
