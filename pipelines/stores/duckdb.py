"""The warehouse in one DuckDB file: a private load file that dlt writes to, and the published file for readers.

Promises that readers only ever see whole syncs, that no reader is waited for, and that a crash at any moment
leaves either file as it was or as it should be. One process at a time holds the load file (`lock`).
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from pipelines import reports
from pipelines.errors import ApiframeWarehouseError, BusyError, ConfigurationError, NoWarehouseError
from pipelines.exact import moment
from pipelines.reports import literal
from pipelines.settings import Settings
from pipelines.stores import first_line
from pipelines.stores._publishing import Published, copy
from pipelines.stores._sql import SqlStore
from pipelines.tables import SCHEMA, Table, tables
from pipelines.tables.sync_runs import TABLE as SYNC_RUNS
from pipelines.tables.sync_runs import Run
from pipelines.warehouse import Warehouse

if TYPE_CHECKING:
    import dlt
    import pyarrow as pa

#: DuckDB would keep most of a machine's memory as a cache; what does not fit goes to disk.
LOAD_MEMORY = "250MB"
NO_EXTENSIONS: dict[str, Any] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",  # a view that is missing is no variable of whoever asks
}
#: How files are written: as DuckDB 1.2 did, since readers bring a DuckDB of their own and 1.3 to 2.x all read this.
STORAGE, STORAGE_NUMBER = "v1.2.0", 65
#: What begins so changes what readers see. The row of a sync is no reason to copy a large file.
CHANGES = ("insert", "delete", "create", "alter", "comment")
ROW_OF_A_SYNC = f"insert into {SCHEMA}.{SYNC_RUNS.name} "
HEADER_BYTES = 3 * 4096  # DuckDB writes these first: a shorter file was cut off while it was made, and holds nothing


def connect_readonly(path: Path) -> duckdb.DuckDBPyConnection:
    """Open the published file for reading, in UTC. Close it soon: an open connection keeps showing the old data."""
    if not path.is_file() or not path.stat().st_size:
        raise NoWarehouseError(f"there is no warehouse at {path} yet: run apiframe-warehouse sync")
    _require_database(path)
    try:
        return _open(path, read_only=True)
    except ApiframeWarehouseError:
        log = path.with_name(f"{path.name}.wal")
        if not log.exists():
            raise
        raise ApiframeWarehouseError(
            f"cannot open {path}: a program has opened it for writing and left {log.name}: close it, then sync"
        ) from None


class DuckDBStore(SqlStore):
    """One DuckDB warehouse: `path` is the published file, everything private lies in `.load` beside it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, "")
        self.load_file = self.folder / self.path.name
        self._published = Published(self.path, self.load_file)
        self._differs = True  # the load file from the published one, in more than `sync_runs`
        self._connection: duckdb.DuckDBPyConnection | None = None

    @property
    def place(self) -> Path:
        """The published file."""
        return self.path

    # A sync

    @contextlib.contextmanager
    def open(self) -> Iterator[Warehouse]:
        """Open the load file, made anew from the published one where it is missing or older."""
        self._restore()
        self._discard_working_folder()
        self._make_readable()
        self._differs = not self._published.holds_all()
        self._connection = self._open_load_file()
        self.load_file.chmod(0o600)
        try:
            yield Warehouse(self.query)
        finally:
            self.close()

    def close(self) -> None:
        """Close the load file, so that it can be copied. Copying an open one would drop its lock."""
        if self._connection is not None:
            with _disk_errors(self.load_file):
                self._connection.close()
            self._connection = None

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The one connection to the load file."""
        if self._connection is None:
            raise ApiframeWarehouseError("the load file is not open")
        return self._connection

    def query(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""
        self._differs |= sql.startswith(CHANGES) and not sql.startswith(ROW_OF_A_SYNC)
        with _disk_errors(self.load_file):
            return self.connection.execute(sql, parameters or None).fetchall()

    def _descriptions(self) -> list[tuple[str, str, str | None]]:
        return self.query(
            "select table_name, column_name, coalesce(comment, '') from duckdb_columns() "
            "where database_name = current_database() and schema_name = $1 union all "
            "select table_name, '', coalesce(comment, '') from duckdb_tables() "
            "where database_name = current_database() and schema_name = $1",
            [SCHEMA],
        )

    def load(self, pipeline: dlt.Pipeline, tables: Callable[[], Iterable[pa.Table]]) -> None:
        """Merge Arrow tables of jobs by id, in one package."""
        self._differs = True
        super().load(pipeline, tables)

    def _destination(self) -> Any:
        from dlt.destinations import duckdb

        # Through the one connection, which holds the lock of the file.
        destination: Any = duckdb(self.connection, enable_dataset_name_normalization=True)
        # dlt asks some twenty times a run what DuckDB can do, and resolves its whole configuration each time: a third
        # of the run. Nothing in it changes the answer.
        configuration = destination.spec()
        ask = destination.capabilities
        destination.capabilities = lambda config=None, naming=None: ask(config or configuration, naming)
        return destination

    def checked_views(self) -> reports.Definitions:
        """Return the views to publish, checked; what is left out of the user's own is in their notes.

        Raises ConfigurationError with file and line where one of ours is broken. What stands already is not tried, nor
        ours alone before a first load, of which trying them would be a tenth where the API is quick.
        """
        found = reports.configured(self.settings)
        if found.stand_in(self.connection) or not (found.has_own or self._has_views()):
            return found
        with contextlib.closing(empty_tables()) as empty:
            return found.tried(empty)

    def _has_views(self) -> bool:
        return bool(self.query("select 1 from duckdb_views() where schema_name = 'reports' limit 1"))

    def create_views(self, views: reports.Definitions) -> list[str]:
        """Make schema `reports` hold exactly these views; return a note for each that had to be left out."""
        self._differs |= reports.make_views(self.connection, views, self.settings.timezone)
        return []

    def publish(self) -> None:
        """Close the load file and put a copy of it in the place of the published one, in one step.

        Where that file is large and nothing but the row of a sync is new, this waits for a later one.
        """
        self.query(f"drop schema if exists {SCHEMA}_staging cascade")  # dlt's alone; its next load makes it again
        runs = Warehouse(self.query).last_runs()
        self.query("checkpoint")  # closing does it too, but says nothing where the disk is full
        self.close()
        try:
            self._published.renew(runs, differs=self._differs)
        except OSError as problem:
            if problem.errno in (errno.EBUSY, errno.EXDEV):  # a file that is mounted alone can only be written into
                raise ConfigurationError(
                    f"cannot replace {self.path}: it is mounted as a single file; mount the folder that holds it, "
                    "then run sync again: what was loaded is safe"
                ) from None
            raise ApiframeWarehouseError(
                f"cannot publish {self.path}: {problem.strerror}; what was loaded is safe, run sync again"
            ) from None

    # The load file and the published file

    def _restore(self) -> None:
        if self.path.exists() and not self.path.is_file():
            raise ConfigurationError(f"{self.path} is no file: set warehouse.path to one")
        published = self.path.exists() and self.path.stat().st_size > 0
        if published:
            _require_database(self.path)
        if self.load_file.exists() and self.load_file.stat().st_size < HEADER_BYTES:
            self.load_file.unlink()
        loaded = self.load_file.exists() and _is_database(self.load_file)
        if not published or (loaded and self._published.is_ours()):
            return
        restored = self.load_file.with_name(f"{self.path.name}.restoring")
        with _disk_errors(restored):
            copy(self.path, restored)
            try:
                if self._is_newer(restored, loaded):
                    self.load_file.with_name(f"{self.path.name}.wal").unlink(missing_ok=True)
                    restored.replace(self.load_file)
            finally:
                restored.unlink(missing_ok=True)

    def _make_readable(self) -> None:
        """Write a load file of an earlier version anew, once, where only the newest DuckDB reads how it is stored."""
        if not self.load_file.exists() or _storage_number(self.load_file) <= STORAGE_NUMBER:
            return
        rewritten = self.load_file.with_name(f"{self.path.name}.rewriting")
        rewritten.unlink(missing_ok=True)
        with _disk_errors(rewritten), contextlib.closing(self._open_load_file()) as connection:
            connection.execute("drop schema if exists reports cascade")  # made again when this sync ends
            catalog = _catalog(connection)
            connection.execute(f"attach {literal(str(rewritten))} as \"{catalog} anew\" (storage_version '{STORAGE}')")
            connection.execute(f'copy from database "{catalog}" to "{catalog} anew"')
            connection.execute(f'checkpoint "{catalog} anew"')
            connection.execute(f'detach "{catalog} anew"')
        rewritten.chmod(0o600)
        rewritten.replace(self.load_file)

    def _is_newer(self, copy: Path, loaded: bool) -> bool:
        """Tell whether a copy of the published file knows more than the load file; refuse what is another's."""
        try:
            with contextlib.closing(_open(copy)) as connection:
                found = Warehouse.over(connection).last_run()
                tables = connection.execute("select count(*) from duckdb_tables()").fetchall()[0][0]
        except (ApiframeWarehouseError, duckdb.Error) as problem:
            raise ApiframeWarehouseError(
                f"{self.path} cannot be read: put a backup in its place, or delete it, and sync makes it again "
                f"({first_line(problem)})"
            ) from None
        if tables and not found:
            raise ConfigurationError(f"{self.path} is no warehouse of this command: set warehouse.path to another file")
        if not loaded:
            return True
        with _disk_errors(self.load_file), contextlib.closing(self._open_load_file()) as connection:
            known = Warehouse.over(connection).last_run()
        if known and found and known.base_url != found.base_url:
            raise ConfigurationError(
                f"{self.path} was replaced by a warehouse of {found.base_url}: "
                f"move it away to go on with {known.base_url}, or set another warehouse.path"
            )
        # An older backup that was put in place knows less than the load file.
        return found is not None and (known is None or found.number > known.number)

    def _open_load_file(self) -> duckdb.DuckDBPyConnection:
        try:
            return _open(self.load_file)
        except ApiframeWarehouseError as problem:
            raise ApiframeWarehouseError(
                f"{problem}; close what has it open; if it is damaged, delete it: "
                "it is made again from the published file"
            ) from None

    # Readers

    def connect_readonly(self) -> duckdb.DuckDBPyConnection:
        """Open the published file for reading, in UTC."""
        return connect_readonly(self.path)

    def last_run(self, warehouse: Warehouse, scope: str | None = None) -> Run | None:
        """Return the last sync that ended well (of a scope); readers of a large file may not see it there yet."""
        later = [run for run in self._published.later(warehouse.last_run()) if scope in (None, run.scope)]
        return max(later, key=lambda run: run.number, default=None) or warehouse.last_run(scope)

    def size_bytes(self, connection: Any) -> int:
        """Return the size of the published file."""
        return self.path.stat().st_size

    def first_load(self) -> dict[str, Any] | None:
        """Return how far a first load has come, None where one has ended."""
        if self.path.exists():
            return None
        if not self.load_file.exists():
            raise NoWarehouseError(f"there is no warehouse at {self.path} yet: run apiframe-warehouse sync")
        try:
            with self.lock(0), contextlib.closing(connect_readonly(self.load_file)) as connection:
                loaded = Warehouse.over(connection)
                if not loaded.has("jobs"):
                    return {"running": False, "jobs": 0, "back_to": None}
                jobs, oldest = loaded.query(f"select count(*), epoch_us(min(created_at)) from {SCHEMA}.jobs")[0]
        except BusyError:
            return {"running": True, "jobs": None, "back_to": None}
        return {"running": False, "jobs": jobs, "back_to": oldest and moment(oldest).isoformat()}


def empty_tables() -> duckdb.DuckDBPyConnection:
    """Open a database in memory that holds the tables of a warehouse, without rows."""
    connection = duckdb.connect(config=NO_EXTENSIONS)
    connection.execute(f"create schema {SCHEMA}")
    add_empty_tables(connection, tables().values())
    connection.execute(f"alter table {SCHEMA}.jobs add column _dlt_load_id VARCHAR")  # dlt's
    return connection


def add_empty_tables(connection: duckdb.DuckDBPyConnection, missing: Iterable[Table]) -> None:
    """Make tables without rows."""
    for table in missing:
        columns = ", ".join(f"{name} {kind}" for name, kind in table.types.items())
        connection.execute(f"create table {SCHEMA}.{table.name} ({columns})")


def _open(path: Path, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    config = NO_EXTENSIONS | ({} if read_only else {"storage_compatibility_version": STORAGE})
    try:
        connection = duckdb.connect(str(path), read_only=read_only, config=config)
    except duckdb.Error as problem:
        raise ApiframeWarehouseError(f"cannot open {path}: {first_line(problem)}") from None
    connection.execute("set TimeZone = 'UTC'")
    if not read_only:
        connection.execute(f"set memory_limit = '{LOAD_MEMORY}'")
    return connection


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(12)[8:] == b"DUCK"


def _storage_number(path: Path) -> int:
    with path.open("rb") as file:
        return int.from_bytes(file.read(20)[12:], "little")


def _catalog(connection: duckdb.DuckDBPyConnection) -> str:
    return str(connection.execute("select replace(current_database(), '\"', '\"\"')").fetchall()[0][0])


def _require_database(path: Path) -> None:
    try:
        if _is_database(path):
            return
    except OSError as problem:
        raise ConfigurationError(f"cannot read {path}: {problem.strerror}") from None
    raise ConfigurationError(f"{path} is not a DuckDB database: set warehouse.path to another file")


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Word the errors of disk and database for the person who reads them."""
    try:
        yield
    except OSError as problem:
        raise ApiframeWarehouseError(f"cannot write {path}: {problem.strerror}; nothing is lost, run again") from None
    except duckdb.Error as problem:
        raise ApiframeWarehouseError(f"{path}: {first_line(problem)}") from None


STORE = DuckDBStore
