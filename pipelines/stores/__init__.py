"""Where a warehouse lies: one file a destination in this folder, found by the name in `warehouse.destination`.

A file holds `STORE`, a `Store`. What is asked of the data is `warehouse.Warehouse`'s, over the store's connection.
Importing this loads nothing heavy.
"""

from __future__ import annotations

import abc
import base64
import contextlib
import importlib
import json
import pkgutil
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pipelines.errors import ApiframeWarehouseError, BusyError, ConfigurationError
from pipelines.tables import SCHEMA, Table

if TYPE_CHECKING:
    import dlt
    import pyarrow as pa
    from dlt.extract import DltSource

    from pipelines import reports
    from pipelines.apiframe.records import Row
    from pipelines.settings import Settings
    from pipelines.tables.sync_runs import Run
    from pipelines.warehouse import Warehouse

PIPELINE = "apiframe"


class Store(abc.ABC):
    """A place for one warehouse, where dlt merges the jobs and everything else is written by `transaction`.

    What is private to a sync, dlt's working folder and a lock, lies in `.load` beside `warehouse.path`.
    """

    def __init__(self, settings: Settings, suffix: str) -> None:
        self.settings = settings
        try:
            self.path = settings.path.resolve()
        except (OSError, RuntimeError) as problem:
            raise ConfigurationError(f"warehouse.path = {str(settings.path)!r}: {problem}") from None
        self.folder = self.path.parent / ".load"
        self.working_folder = self.folder / f"{self.path.name}{suffix}.dlt"
        self._lock_file = self.folder / f"{self.path.name}{suffix}.lock"
        self._temporary_folder: Path | None = None

    @property
    @abc.abstractmethod
    def place(self) -> Path | str:
        """Where it lies, in words for a message and without secrets; a path where it is a file."""

    # A sync

    @contextlib.contextmanager
    def lock(self, wait: float) -> Iterator[None]:
        """Hold this warehouse for one sync, or raise BusyError after `wait` seconds.

        The operating system gives the lock back when a process dies, so none is ever stale.
        """
        with self._held(self._lock_file, wait):
            try:
                yield
            finally:
                if self._temporary_folder is not None:
                    shutil.rmtree(self._temporary_folder, ignore_errors=True)

    @contextlib.contextmanager
    def _held(self, file: Path, wait: float) -> Iterator[None]:
        import filelock

        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            held = filelock.FileLock(file, mode=0o600)
            held.acquire(timeout=wait)
        except filelock.Timeout:
            raise self._busy(wait) from None
        except OSError as problem:
            raise ConfigurationError(f"cannot write in {file.parent}: {problem.strerror}") from None
        try:
            yield
        finally:
            held.release()

    def _busy(self, wait: float) -> BusyError:
        return BusyError(f"another sync holds {self.place}; it was waited for {wait:g} s (--wait SECONDS)")

    @property
    def seal_file(self) -> Path:
        """Where it is kept which key was found to belong to the account; private, and made anew where it is missing."""
        return self._lock_file.with_suffix(".key")

    def seal(self) -> str | None:
        """Return what was kept of the last key."""
        try:
            return self.seal_file.read_text(encoding="ascii").strip() or None
        except (OSError, ValueError):
            return None

    def keep_seal(self, seal: str | None) -> None:
        """Keep it, or nothing; where that fails, the next sync asks once more."""
        with contextlib.suppress(OSError):
            self.seal_file.unlink(missing_ok=True)
            if seal:
                self.seal_file.touch(mode=0o600)
                self.seal_file.write_text(seal, encoding="ascii")

    @abc.abstractmethod
    def open(self) -> contextlib.AbstractContextManager[Warehouse]:
        """Open it for one sync, that holds the lock."""

    def storable(self, rows: list[Row]) -> list[Row]:
        """Return jobs as this store can hold them; what does not fit its column goes to `extra`."""
        return rows

    def load(self, pipeline: dlt.Pipeline, tables: Callable[[], Iterable[pa.Table]]) -> None:
        """Merge Arrow tables of jobs by id, in one package. Errors are this project's, of one line."""
        from pipelines.confined import confined

        try:
            with confined():
                pipeline.run(self._source(tables))
        except Exception as problem:
            error, cause = explain(problem)
            raise error from cause

    def pipeline(self) -> dlt.Pipeline:
        """Return the dlt pipeline that loads into the warehouse."""
        import dlt

        from pipelines.confined import confined

        folder = self.working_folder
        # DuckDB would take these for patterns or partitions (`key=value`); dlt puts the path into SQL as it is.
        if re.search(r"[=%'*?\[{]", str(folder)):
            folder = self._temporary_folder = Path(tempfile.mkdtemp(prefix="apiframe-warehouse-"))
        with confined():
            return dlt.pipeline(
                pipeline_name=PIPELINE,
                pipelines_dir=str(folder),
                destination=self._destination(),
                dataset_name=SCHEMA,
            )

    @abc.abstractmethod
    def _source(self, tables: Callable[[], Iterable[pa.Table]]) -> DltSource:
        """Return the dlt source that merges Arrow tables of jobs in the way that this store does it best."""

    @abc.abstractmethod
    def _destination(self) -> Any:
        """Return dlt's destination."""

    @abc.abstractmethod
    def state(self) -> dict[str, Any]:
        """Return dlt's state of the resource `jobs`. Only one whose load package was finished counts."""

    @abc.abstractmethod
    def transaction(self) -> contextlib.AbstractContextManager[None]:
        """Let what is written within be there as a whole or not at all, as far as the store can."""

    @abc.abstractmethod
    def prepare(self, *tables: Table) -> None:
        """Make the tables that are not there, add the columns that they have got since, and describe them."""

    @abc.abstractmethod
    def write(self, table: Table, rows: Iterable[Sequence[Any]]) -> None:
        """Store rows of a table that was prepared, as its mode says."""

    @abc.abstractmethod
    def empty(self, table: Table) -> None:
        """Delete all rows of a table, if it is there."""

    @abc.abstractmethod
    def checked_views(self) -> reports.Definitions:
        """Return the views of schema `reports`, checked before anything is read.

        Raises ConfigurationError with file and line where one of ours is broken.
        """

    @abc.abstractmethod
    def create_views(self, views: reports.Definitions) -> list[str]:
        """Make schema `reports` hold these views; return a note for each that had to be left out."""

    @abc.abstractmethod
    def publish(self) -> None:
        """Let readers see what was stored."""

    # Readers and upkeep

    @abc.abstractmethod
    def connect_readonly(self) -> Any:
        """Open it for reading, in UTC, with as much of DuckDB's interface as this project uses. Close it soon.

        Raises ConfigurationError where no sync has ended well yet.
        """

    def last_run(self, warehouse: Warehouse, scope: str | None = None) -> Run | None:
        """Return the last sync that ended well (of a scope); `warehouse` is over a connection for readers."""
        return warehouse.last_run(scope)

    @abc.abstractmethod
    def size_bytes(self, connection: Any) -> int:
        """Return how much room it takes; `connection` is one for readers."""

    def first_load(self) -> dict[str, Any] | None:
        """Return how far a first load has come, None where one has ended or nothing is known of it."""
        return None

    def maintain(self, keep: timedelta) -> dict[str, dict[str, int]]:
        """Tidy up what no version younger than `keep` needs; returns counts by table."""
        raise ConfigurationError(
            f"maintain without --changes-older-than is for Delta tables; "
            f"warehouse.destination is {self.settings.destination!r}"
        )

    def prune(self, table: Table, column: str, before: int) -> int:
        """Delete the rows whose time in `column` lies before microseconds since 1970; returns how many they were.

        Readers of a published file see it after the next sync.
        """
        if self.first_load() is not None:
            raise ConfigurationError(f"no sync has ended well yet in {self.place}: there is nothing to delete")
        with self.lock(60), self.open() as warehouse:
            found = warehouse.count(table, f"{column} < make_timestamp(?)", [before])
            if found:
                self._delete_before(table, column, before)
        return found

    @abc.abstractmethod
    def _delete_before(self, table: Table, column: str, before: int) -> None:
        """Delete the rows whose time in `column` lies before microseconds since 1970."""

    def _discard_working_folder(self) -> None:
        """Discard what a killed run left of dlt's own files: its state is restored from the warehouse."""
        shutil.rmtree(self.working_folder, ignore_errors=True)


def names() -> list[str]:
    """Return every destination there is."""
    return [found.name for found in pkgutil.iter_modules(__path__) if not found.name.startswith("_")]


def store_for(settings: Settings) -> Store:
    """Return the store that `warehouse.destination` names."""
    if settings.destination not in names():
        raise ConfigurationError(
            f"warehouse.destination = {settings.destination!r}: there are {', '.join(names())}. Any other of dlt's "
            "takes the jobs in three lines of Python: import dlt; from pipelines.apiframe import apiframe_source; "
            f'dlt.pipeline("my_jobs", destination="{settings.destination}", dataset_name="apiframe")'
            ".run(apiframe_source())"
        )
    module = importlib.import_module(f"{__name__}.{settings.destination}")
    return cast(Store, module.STORE(settings))


def connect(settings: Settings) -> Any:
    """Open the warehouse that `warehouse.destination` names for reading, in UTC. Close it soon."""
    return store_for(settings).connect_readonly()


# dlt


def explain(problem: Exception) -> tuple[BaseException, Exception | None]:
    """Return the error of this project that dlt has wrapped, or a new one of one line, and what caused that."""
    cause: BaseException | None = problem
    while cause is not None:
        if isinstance(cause, (ApiframeWarehouseError, KeyboardInterrupt)):
            return cause, None
        cause = cause.__cause__ or cause.__context__
    told = problem.__cause__ if isinstance(problem.__cause__, Exception) else problem
    reason = first_line(getattr(told, "client_exception", told))  # what dlt tried again it tells with a traceback
    return ApiframeWarehouseError(f"loading failed: {reason}; nothing is lost, run again"), problem


def jobs_state(stored: str) -> dict[str, Any]:
    """Return the state of the resource `jobs` from what dlt stores: base64 of zlib of JSON."""
    state = json.loads(zlib.decompress(base64.b64decode(stored)))
    found = state.get("sources", {}).get(PIPELINE, {}).get("resources", {}).get("jobs", {})
    return found if isinstance(found, dict) else {}


def first_line(problem: Exception) -> str:
    """Return what an error says first."""
    return str(problem).strip().split("\n", 1)[0]
