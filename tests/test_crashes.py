"""Promise 3: killed anywhere, moved, restored or run twice at once, the next sync ends in the same warehouse."""

import importlib
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support import processes, running, runs, stale, stored

from pipelines.apiframe import reading
from pipelines.errors import ApiframeWarehouseError, BusyError, ConfigurationError
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.sync import sync

Make = Callable[..., Settings]


@pytest.fixture
def api() -> Iterator[Sandbox]:
    """450 jobs, five pages; one old one is open still."""
    with Sandbox(jobs=450, days=20) as api:
        api.advance(timedelta(days=13))
        api.add(1, status="PROCESSING", created_at=api.now - timedelta(days=35))
        api.add(2, status="PROCESSING")
        yield api


def change(api: Sandbox) -> None:
    """New jobs, and some that were open and end."""
    jobs = api.listing()
    api.finish([job["id"] for job in jobs if job["status"] == "PROCESSING"][1:], "FAILED")
    api.put(jobs[-1]["id"], progress=jobs[-1]["progress"] + 1)
    api.add(110)
    api.add(2, status="PROCESSING")


# Killed by itself, at a place in the code


def _sync_until(settings: Settings, place: str, text: str, number: int, after: bool, batch: int | None) -> None:
    """Sync, and be killed at the `number`th call of `place` among whose arguments there is `text`."""
    module, _, name = place.partition(":")
    *path, name = name.split(".")
    owner: Any = importlib.import_module(module)
    for part in path:
        owner = getattr(owner, part)
    original = getattr(owner, name)
    calls = 0

    def call(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += text in " ".join(map(str, arguments))
        if calls >= number and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*arguments, **named)
        if calls >= number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, call)
    if batch:
        reading.BATCH_ROWS = batch
        module_of_sync = importlib.import_module("pipelines.sync.loading")
        module_of_sync.CHUNK_ROWS = batch
    sync(settings)


def killed(
    settings: Settings, place: str, text: str = "", number: int = 1, after: bool = False, batch: int | None = None
) -> None:
    with running(_sync_until, settings, place, text, number, after, batch) as process:
        process.join(60)
        assert process.exitcode == -signal.SIGKILL, "it came to this place"


SQL = "dlt.destinations.impl.duckdb.sql_client:DuckDbSqlClient.execute_query"
STORE = "pipelines.stores.duckdb:DuckDBStore"
MOMENTS: dict[str, dict[str, Any]] = {
    "before anything": {"place": "pipelines.apiframe.client:Client.page"},
    "extracted": {"place": "dlt.pipeline.pipeline:Pipeline.extract", "after": True},
    "normalized": {"place": "dlt.pipeline.pipeline:Pipeline.normalize", "after": True},
    "state goes first": {"place": SQL, "text": 'INSERT INTO "apiframe"."_dlt_pipeline_state"', "after": True},
    "before jobs are stored": {"place": SQL, "text": 'INSERT INTO "apiframe"."jobs"'},
    "merged, but not done": {"place": SQL, "text": 'INSERT INTO "apiframe"."_dlt_loads"'},
    "loaded": {"place": "dlt.pipeline.pipeline:Pipeline.load", "after": True},
    "before it is recorded": {"place": "pipelines.sync.conductor:_Sync._record"},
    "recorded": {"place": "pipelines.sync.conductor:_Sync._record", "after": True},
    "before publishing": {"place": f"{STORE}.publish"},
    "copied": {"place": "pipelines.stores._publishing:copy", "after": True},
    "put in place": {"place": "pipelines.stores._publishing:_fsync_folder"},
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_of_a_first_load_and_of_an_incremental_sync(
    api: Sandbox, settings_for: Make, moment: str
) -> None:
    chosen = settings_for(api)
    killed(chosen, **MOMENTS[moment])
    assert chosen.path.exists() is (moment == "put in place")
    change(api)
    sync(chosen)
    assert stale(chosen.path, api) == {}

    before = chosen.path.read_bytes()
    change(api)
    killed(chosen, **MOMENTS[moment])
    if moment == "put in place":
        assert stale(chosen.path, api) == {}
    else:
        assert chosen.path.read_bytes() == before
    change(api)
    sync(chosen)
    assert stale(chosen.path, api) == {}
    assert not list(chosen.path.parent.rglob("*.publishing"))


@pytest.mark.parametrize("request_number", [1, 3, 5])
def test_killed_while_the_api_answers(api: Sandbox, settings_for: Make, request_number: int) -> None:
    chosen = settings_for(api)
    child: list[Any] = []
    started = threading.Event()

    def kill(_: object) -> None:
        if len(api.requests) == request_number:
            started.wait(30)
            child[0].kill()

    api.on_request = kill
    with running(sync, chosen) as process:
        child.append(process)
        started.set()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
    api.on_request = None
    assert not chosen.path.exists()
    assert sync(chosen, wait=0).run.mode == "first", "the lock of a dead process is free"
    assert stale(chosen.path, api) == {}


@pytest.mark.everywhere
def test_a_first_load_that_was_killed_goes_on(api: Sandbox, settings_for: Make) -> None:
    chosen = settings_for(api)
    open_job = api.listing()[0]["id"]
    # Killed as the fourth chunk of one page starts: three are stored.
    killed(chosen, "dlt.pipeline.pipeline:Pipeline.extract", number=4, batch=100)
    api.requests.clear()
    api.add(3)
    api.finish([open_job])
    outcome = sync(chosen)
    assert "went on" in outcome.notes[0]
    most = 1 + 1 + 2 + 1
    assert api.count() <= most, "the top, the last page that was stored, two that were not, and the end once more"
    assert stale(chosen.path, api) == {}


@pytest.mark.everywhere
def test_a_first_load_that_was_killed_twice_goes_on_and_misses_no_births(api: Sandbox, settings_for: Make) -> None:
    chosen = settings_for(api)
    for _ in range(2):
        killed(chosen, "dlt.pipeline.pipeline:Pipeline.extract", number=3, batch=100)
        api.advance(timedelta(hours=3))
        change(api)
    sync(chosen)
    assert stale(chosen.path, api) == {}


@pytest.mark.everywhere
def test_cursors_that_are_refused_when_a_killed_load_goes_on_mean_starting_over(
    api: Sandbox, settings_for: Make
) -> None:
    chosen = settings_for(api)
    killed(chosen, "dlt.pipeline.pipeline:Pipeline.extract", number=3, batch=100)
    api.forget_cursors()
    change(api)
    sync(chosen)
    assert stale(chosen.path, api) == {}


@pytest.mark.everywhere
def test_a_full_sync_that_was_killed_goes_on_and_delists_what_is_gone(api: Sandbox, settings_for: Make) -> None:
    chosen = settings_for(api)
    sync(chosen)
    jobs = [job["id"] for job in api.listing()]
    for place, cost in ((20, 3001), (430, 3002)):
        api.put(jobs[place], creditCost=cost)
    api.delete([jobs[30], jobs[400]])
    with running(_full_sync_until_second_chunk, chosen) as process:
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
    outcome = sync(chosen, full=True)
    assert outcome.delisted == 2
    assert stale(chosen.path, api) == {}
    assert len(stored(chosen.path)) == len(jobs)


def _full_sync_until_second_chunk(settings: Settings) -> None:
    reading.BATCH_ROWS = 100
    pages = 0

    def count(_: object) -> None:
        nonlocal pages
        pages += 1
        if pages == 4:
            os.kill(os.getpid(), signal.SIGKILL)

    sync(settings, full=True, on_page=count)


# Publishing fails in place


@pytest.mark.parametrize("step", ["replace", "chmod", "unlink"])
def test_a_publish_that_fails_leaves_the_old_file_and_the_next_one_is_whole(
    api: Sandbox, settings_for: Make, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings_for(api)
    sync(chosen)
    before = chosen.path.read_bytes()
    change(api)
    original = getattr(Path, step)

    def fail(path: Path, *arguments: Any, **named: Any) -> Any:
        if path.name.endswith(".publishing") and (step != "unlink" or path.exists()):
            raise KeyboardInterrupt
        return original(path, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Path, step, fail)
        if step == "unlink":  # left by a process that was killed
            (chosen.path.parent / ".load" / f"{chosen.path.name}.publishing").write_bytes(b"half a copy")
        with pytest.raises(KeyboardInterrupt):
            sync(chosen)
    assert chosen.path.read_bytes() == before
    sync(chosen)
    assert stale(chosen.path, api) == {}


# Files lost, moved, restored


@pytest.fixture
def here(api: Sandbox, settings_for: Make) -> Settings:
    """A warehouse that has had its first load."""
    chosen = settings_for(api)
    sync(chosen)
    return chosen


def private(settings: Settings) -> Path:
    return settings.path.parent / ".load"


def whole_and_incremental(settings: Settings, api: Sandbox) -> None:
    outcome = sync(settings)
    assert outcome.run.mode == "incremental"
    assert outcome.run.requests <= 6
    assert stale(settings.path, api) == {}


def test_the_home_folder_is_not_needed(api: Sandbox, here: Settings) -> None:
    assert list(Path.home().iterdir()) == [], "nothing was written there"
    Path.home().rmdir()
    change(api)
    whole_and_incremental(here, api)


def test_the_private_folder_is_rebuilt_from_the_published_file(api: Sandbox, here: Settings) -> None:
    shutil.rmtree(private(here))
    change(api)
    whole_and_incremental(here, api)
    assert [run["mode"] for run in runs(here.path)] == ["first", "incremental"]


@pytest.mark.parametrize("content", [b"", b"garbage", b"garbage " * 5000])
def test_a_load_file_that_is_no_database_is_rebuilt_from_the_published_file(
    api: Sandbox, here: Settings, content: bytes
) -> None:
    (private(here) / here.path.name).write_bytes(content)
    change(api)
    whole_and_incremental(here, api)


def test_the_published_file_is_made_again_from_the_load_file(api: Sandbox, here: Settings) -> None:
    here.path.unlink()
    change(api)
    whole_and_incremental(here, api)


def test_a_warehouse_that_was_deleted_is_loaded_anew(api: Sandbox, here: Settings) -> None:
    shutil.rmtree(here.path.parent)
    assert sync(here).run.mode == "first"
    assert stale(here.path, api) == {}


def test_a_warehouse_whose_folder_was_moved_goes_on(api: Sandbox, here: Settings, settings_for: Make) -> None:
    moved = here.path.parent.rename(here.path.parent.with_name("moved")) / here.path.name
    change(api)
    whole_and_incremental(settings_for(api, path=str(moved)), api)


@pytest.mark.parametrize("load_file", ["kept", "lost", "older too"])
def test_an_older_backup_in_its_place_loses_nothing(
    api: Sandbox, here: Settings, tmp_path: Path, load_file: str
) -> None:
    backup = shutil.copytree(here.path.parent, tmp_path / "backup")
    for _ in range(2):
        change(api)
        sync(here)
    if load_file == "older too":
        shutil.rmtree(here.path.parent)
        shutil.copytree(backup, here.path.parent)
    else:
        shutil.copy(backup / here.path.name, here.path)
        if load_file == "lost":
            shutil.rmtree(private(here))
    change(api)
    whole_and_incremental(here, api)
    assert len(runs(here.path)) == (4 if load_file == "kept" else 2)


def test_a_load_file_older_than_the_published_one_is_not_gone_on_from(
    api: Sandbox, here: Settings, tmp_path: Path
) -> None:
    older = shutil.copytree(private(here), tmp_path / "older")
    change(api)
    sync(here)
    shutil.rmtree(private(here))
    shutil.copytree(older, private(here))
    change(api)
    whole_and_incremental(here, api)
    assert len(runs(here.path)) == 3


@pytest.mark.parametrize("syncs", [1, 3])
def test_another_warehouse_in_its_place_is_refused_and_neither_is_touched(
    api: Sandbox, here: Settings, settings_for: Make, tmp_path: Path, syncs: int
) -> None:
    with Sandbox(jobs=120, seed=2) as another:
        there = settings_for(another, path=str(tmp_path / "another.duckdb"))
        for _ in range(syncs):
            sync(there)
    shutil.copy(there.path, here.path)
    with pytest.raises(ConfigurationError, match="replaced by a warehouse of"):
        sync(here)
    assert here.path.read_bytes() == there.path.read_bytes()
    here.path.unlink()
    change(api)
    whole_and_incremental(here, api)


@pytest.mark.parametrize("load_file", ["kept", "lost"])
def test_a_database_of_something_else_is_refused_and_not_touched(here: Settings, load_file: str) -> None:
    here.path.unlink()
    with duckdb.connect(str(here.path)) as connection:
        connection.execute("create table mine as select 1 as x")
    if load_file == "lost":
        shutil.rmtree(private(here))
    before = here.path.read_bytes()
    with pytest.raises(ConfigurationError, match="another file"):
        sync(here)
    assert here.path.read_bytes() == before


def test_a_damaged_published_file_is_named_and_made_again_once_it_is_deleted(api: Sandbox, here: Settings) -> None:
    here.path.write_bytes(here.path.read_bytes()[:20_000])
    with pytest.raises(ApiframeWarehouseError, match=f"^{here.path} cannot be read: .* delete it"):
        sync(here)
    here.path.unlink()
    change(api)
    whole_and_incremental(here, api)


def test_a_damaged_load_file_is_named_and_made_again_once_it_is_deleted(api: Sandbox, here: Settings) -> None:
    load_file = private(here) / here.path.name
    load_file.write_bytes(load_file.read_bytes()[:20_000])
    os.utime(here.path)  # it was copied here
    with pytest.raises(ApiframeWarehouseError, match=f"{load_file}: .* delete it"):
        sync(here)
    load_file.unlink()
    change(api)
    whole_and_incremental(here, api)


def test_a_pipe_or_device_is_refused_and_not_replaced(here: Settings) -> None:
    here.path.unlink()
    os.mkfifo(here.path)
    with pytest.raises(ConfigurationError, match="is no file"):
        sync(here)
    assert here.path.is_fifo()


@pytest.mark.parametrize("left", ["killed while extracting", "poison"])
def test_what_a_killed_run_left_of_dlts_own_is_discarded(api: Sandbox, here: Settings, left: str) -> None:
    folder = private(here) / f"{here.path.name}.dlt"
    change(api)
    if left == "poison":
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "apiframe" / "load" / "new" / "1.0").mkdir(parents=True)
        (folder / "apiframe" / "state.json").write_text("{}")
    else:
        killed(here, **MOMENTS["normalized"])
        change(api)
    whole_and_incremental(here, api)


# Two at once


def _sync_and_tell(settings: Settings, wait: float, told: Any) -> None:
    try:
        told.put(sync(settings, wait=wait).run.mode)
    except BusyError as problem:
        told.put((problem.exit_code, str(problem)))


@pytest.mark.everywhere
def test_of_two_syncs_at_once_one_runs_and_the_other_waits_or_is_busy(api: Sandbox, settings_for: Make) -> None:
    chosen = settings_for(api)
    reading_now, go_on = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        reading_now.set()
        assert go_on.wait(60)

    api.on_request = hold
    told = processes.SimpleQueue()
    with running(_sync_and_tell, chosen, 0, told) as first:
        assert reading_now.wait(60)
        with pytest.raises(BusyError, match="another sync holds"):
            sync(chosen, wait=0)
        with running(_sync_and_tell, chosen, 60, told) as second:
            go_on.set()
            first.join(60)
            second.join(60)
            assert (first.exitcode, second.exitcode) == (0, 0)
    assert [told.get(), told.get()] == ["first", "incremental"]
    assert BusyError.exit_code == 4
    assert stale(chosen.path, api) == {}
