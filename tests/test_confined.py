"""dlt's own settings change nothing in a sync, and a sync changes nothing in the process that calls it."""

import contextlib
import gc
import itertools
import json
import logging
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import dlt
import dlt.destinations.impl.duckdb.factory
import dlt.destinations.impl.filesystem.factory
import dlt.destinations.impl.postgres.factory
import pytest
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.base_configuration import BaseConfiguration
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from dlt.common.pipeline import PipelineContext
from dlt.common.runtime.run_context import RunContext
from support import query

from pipelines import settings
from pipelines.apiframe import jobs_source
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.sync import sync

#: Sections under which dlt looks for a setting, or a user may think that it does.
SECTIONS = (
    (),
    ("pipelines",),
    ("pipelines", "apiframe"),
    ("apiframe",),
    ("sources",),
    ("sources", "apiframe"),
    ("sources", "apiframe", "jobs"),
    ("destination",),
    ("destination", "duckdb"),
    *((step,) for step in ("run", "extract", "normalize", "load", "schema", "data_writer")),
)
NOW = datetime.now(UTC).replace(microsecond=0)
#: What counts by its full name, and what finds programs.
OURS = {tuple(name.split(".")) for name, _, _ in settings._SETTINGS.values()} | {("path",)}


def specs(above: type[BaseConfiguration] = BaseConfiguration) -> Iterator[type[BaseConfiguration]]:
    for spec in above.__subclasses__():
        yield spec
        yield from specs(spec)


def harmful(hint: Any, default: Any) -> list[Any]:
    """Plausible values of a setting's type that are not its default."""
    inner = [kind for kind in get_args(hint) if kind is not type(None)] if get_origin(hint) is not Literal else []
    if inner and get_origin(hint) not in (list, dict):
        return [value for kind in inner for value in harmful(kind, default)]
    if get_origin(hint) is Literal:
        return [value for value in get_args(hint) if value != default]
    if hint is bool:
        return [not default]
    if hint in (int, float):
        return [1]
    if get_origin(hint) is list or hint is list:
        return [["x"]]
    if get_origin(hint) is dict or hint is dict:
        return [{"x": "x"}]
    return ["elsewhere"]


def fields() -> dict[tuple[str, ...], list[Any]]:
    """Every setting of the installed dlt by section and name, with what might be written there."""
    found: dict[tuple[str, ...], list[Any]] = {("refresh",): ["drop_data", "drop_sources", "drop_resources"]}
    for spec in specs():
        for name, hint in spec.get_resolvable_fields().items():
            values = harmful(hint, getattr(spec, name, None))
            for section in {(), (spec.__section__,) if spec.__section__ else ()}:
                found.setdefault((*section, name), []).extend(values)
    return found


def hostile(turn: int) -> dict[tuple[str, ...], Any]:
    """Every setting in every section; the `turn` chooses among the values of one."""
    chosen = {
        (*section, *path): values[turn % len(values)]
        for section, (path, values) in itertools.product(SECTIONS, fields().items())
    }
    return {path: value for path, value in chosen.items() if path not in OURS}


def as_variables(chosen: dict[tuple[str, ...], Any]) -> dict[str, str]:
    return {
        "__".join(path).upper(): value if isinstance(value, str) else json.dumps(value)
        for path, value in chosen.items()
    }


def as_toml(chosen: dict[tuple[str, ...], Any]) -> str:
    tables: dict[tuple[str, ...], list[str]] = {}
    names = {path[:-1] for path in chosen} | {path[:n] for path in chosen for n in range(1, len(path))}
    for path, value in chosen.items():
        if path not in names and not isinstance(value, dict):  # a name is a table or a value
            tables.setdefault(path[:-1], []).append(f"{json.dumps(path[-1])} = {json.dumps(value)}")
    lines = []
    for section, rows in sorted(tables.items()):
        lines += [f"[{'.'.join(map(json.dumps, section))}]"] if section else []
        lines += rows
    return "\n".join(lines)


def hostile_environment(patch: pytest.MonkeyPatch) -> None:
    for name, value in as_variables(hostile(0)).items():
        patch.setenv(name, value)
    patch.setenv("DLT_INTERVAL_START", "2026-01-01")
    patch.setenv("DLT_INTERVAL_END", "2026-01-02")
    patch.setenv("DLT_ALLOW_EXTERNAL_SCHEDULERS", "true")


@contextlib.contextmanager
def dlt_configured_here(project: Path, home: Path) -> Iterator[None]:
    """dlt reads its configuration as it would in a process that begins here; root's home is another for it."""
    context = Silent(str(project))
    context._global_dir = str(home / ".dlt")
    plugged = PluggableRunContext(context)
    plugged.extras_added = True  # vaults are not asked
    with Container().injectable_context(plugged):
        yield


class Silent(RunContext):
    """dlt would begin to log and to report to its makers."""

    def initialize_runtime(self, runtime_config: Any = None) -> None:
        pass


def contents(path: Path) -> dict[str, Any]:
    """Every table of a warehouse: columns, types, rows; without what differs between any two syncs."""
    tables = query(path, "select schema_name, table_name from duckdb_tables() order by all")
    columns = query(
        path,
        "select schema_name, table_name, column_name, data_type, is_nullable from duckdb_columns() "
        "where not internal order by all",
    )
    jobs = query(
        path,
        "select * exclude (synced_at, _dlt_load_id) replace (epoch_us(created_at) as created_at, "
        "epoch_us(completed_at) as completed_at, epoch_us(delisted_at) as delisted_at) from apiframe.jobs order by id",
    )
    runs = query(path, "select mode, requests, jobs_read, jobs_new, jobs_finished, open_jobs from apiframe.sync_runs")
    return {"tables": tables, "columns": columns, "jobs": jobs, "runs": runs}


@pytest.fixture
def two_syncs(settings_for: Callable[..., Settings], isolated: Path) -> Callable[[str], dict[str, Any]]:
    """A first load of a small account and a sync after it has lived on; what the warehouse then holds."""

    def run(name: str) -> dict[str, Any]:
        with Sandbox(jobs=150, days=3, now=NOW) as api:
            chosen = settings_for(api, path=str(isolated / f"{name}.duckdb"))
            sync(chosen)
            api.add(20)
            sync(chosen)
        return contents(chosen.path)

    return run


def test_there_are_settings_to_be_afraid_of() -> None:
    known = fields()
    assert {("refresh",), ("dev_mode",), ("pipelines_dir",), ("truncate_staging_dataset",)} <= known.keys()
    assert len(known) > 300


def test_no_setting_of_dlt_changes_what_a_sync_leaves(
    two_syncs: Callable[[str], dict[str, Any]], isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value of each setting in the environment, the next one in the project's file, one more in the home folder's."""
    quiet, home = two_syncs("quiet"), Path(os.environ["HOME"])
    assert len(quiet["jobs"]) == 170
    # dlt configures what was there before anew when it gets it back: outside the patch, or it reads the hostile values
    with dlt_configured_here(isolated, home), monkeypatch.context() as patch:
        hostile_environment(patch)
        assert two_syncs("environment") == quiet
    with monkeypatch.context() as patch:
        hostile_environment(patch)
        assert two_syncs("first use of dlt") == quiet
    for turn, folder in enumerate((isolated, home), start=1):
        file = folder / ".dlt" / "config.toml"
        file.parent.mkdir()
        file.write_text(as_toml(hostile(turn)))
        with dlt_configured_here(isolated, home):
            assert two_syncs(folder.name) == quiet
        file.unlink()


# The process that calls


def state_of_this_process() -> dict[str, Any]:
    container = Container()
    active, used = container[PipelineContext], PluggableRunContext in container
    return {
        "environment": dict(os.environ),
        "finders": list(sys.meta_path),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "folder": Path.cwd(),
        "umask": current_umask(),
        "collections": gc.get_threshold(),
        "warnings": list(warnings.filters),
        "logging": [
            (logger.level, list(logger.handlers), list(logger.filters), logger.propagate, logger.disabled)
            for logger in map(logging.getLogger, (None, "dlt", "urllib3", "filelock"))
        ],
        "dlt's context": (context := container[PluggableRunContext] if used else None),
        "dlt's providers": context.providers if context else None,
        "active pipeline": active.pipeline() if active.is_active() else None,
        "threads": {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio")},
        "temporary folders": set(Path(tempfile.gettempdir()).glob("apiframe-warehouse-*")),
    }


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def settled_threads(before: set[threading.Thread]) -> None:
    for thread in set(threading.enumerate()) - before:
        thread.join(5)


@pytest.mark.parametrize("used_before", [False, True], ids=["dlt not in use", "a pipeline of the caller's is active"])
def test_a_sync_leaves_the_process_as_it_was(
    used_before: bool, api: Sandbox, settings_for: Callable[..., Settings], isolated: Path, tmp_path: Path
) -> None:
    chosen = settings_for(api, path=str(isolated / "key=value" / "warehouse.duckdb"))
    with contextlib.ExitStack() as stack:
        if used_before:
            stack.enter_context(dlt_configured_here(isolated, tmp_path / "home"))
            own = dlt.pipeline("own", pipelines_dir=str(tmp_path / "own"), destination="duckdb")
            stack.callback(own.deactivate)
        before = state_of_this_process()
        sync(chosen)
        with pytest.raises(ZeroDivisionError):
            sync(chosen, full=True, on_page=lambda _: 1 / 0)  # type: ignore[arg-type, return-value]
        settled_threads(before["threads"])
        assert state_of_this_process() == before


def test_no_signal_is_held_back_while_dlt_loads(
    api: Sandbox, settings_for: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt ends a sync at once, in whatever program; dlt would wait for its load to end."""
    held: list[bool] = []

    def intercepted() -> contextlib.AbstractContextManager[None]:
        held.append(True)
        return contextlib.nullcontext()

    monkeypatch.setattr("dlt.common.runtime.signals.intercepted_signals", intercepted)
    sync(settings_for(api))
    assert not held


def test_other_threads_go_on_meanwhile_with_what_is_theirs(
    api: Sandbox, settings_for: Callable[..., Settings], isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While dlt loads: pandas can be imported, and a setting of dlt is what the user has set."""
    monkeypatch.setenv("DATA_OF_MINE", "mine")
    loading, asked = threading.Event(), threading.Event()
    seen: dict[str, Any] = {}

    def other() -> None:
        loading.wait(30)
        try:
            finders = (finder.find_spec("pandas", None) for finder in sys.meta_path)  # one that refuses raises
            seen["finder"] = next(found for found in finders if found)
            seen["setting"] = dlt.config["data_of_mine"]
            seen["variable"] = [name for name in os.environ if name.startswith(("LOAD__", "NORMALIZE__"))]
        finally:
            asked.set()

    def in_the_middle(tables: Any, **hints: Any) -> Any:
        def slowly() -> Iterator[Any]:
            for table in tables():
                with pytest.raises(KeyError):
                    dlt.config["data_of_mine"]
                loading.set()
                assert asked.wait(30)
                yield table

        return jobs_source(slowly, **hints)

    monkeypatch.setattr("pipelines.stores._sql.jobs_source", in_the_middle)
    thread = threading.Thread(target=other)
    thread.start()
    with dlt_configured_here(isolated, Path.home()):
        sync(settings_for(api))
        thread.join()
    assert seen["finder"] is not None
    assert (seen["setting"], seen["variable"]) == ("mine", [])
