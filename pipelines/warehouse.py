"""Where the data lies: the private load file, the published file, and what they hold. All SQL on jobs is here.

Promises that readers only ever see whole syncs, that no reader is waited for, and that a crash at any moment
leaves either file as it was or as it should be. One process at a time holds the load file (`lock`).
"""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import duckdb
import filelock

from pipelines import reports
from pipelines.apiframe import jobs_source
from pipelines.apiframe.account import Account
from pipelines.apiframe.evidence import is_searchable
from pipelines.apiframe.frontier import Unsettled
from pipelines.apiframe.records import COLUMNS, Row
from pipelines.apiframe.settled import IS_OPEN, can_change_sql
from pipelines.errors import ApiframeWarehouseError, BusyError, ConfigurationError, NoWarehouseError

if TYPE_CHECKING:
    import dlt
    import pyarrow as pa
    from dlt.extract import DltSource

    from pipelines.settings import Settings

PIPELINE = "apiframe"
SCHEMA = "apiframe"
HOUR = 3_600 * 1_000_000
#: A delisted job is looked at again at these ages: lists that were wrong for a while are right again.
LOOK_AGAIN = (HOUR, 24 * HOUR, 7 * 24 * HOUR)
MOST_AGAIN = 10  # jobs a sync: where one of them has come back, so may all that went with it

#: What a job cost, as the view `reports.jobs` has it: nothing while it is open, nothing where it failed (refunded).
SPENT = f"case when status = 'FAILED' or {IS_OPEN} then null else credit_cost end"


#: DuckDB would keep most of a machine's memory as a cache; what does not fit goes to disk.
LOAD_MEMORY = "250MB"
HEADER_BYTES = 3 * 4096  # DuckDB writes these first: a shorter file was cut off while it was made, and holds nothing


class Run(NamedTuple):
    """A row of `sync_runs`; times in microseconds since 1970. `number` counts up: clocks can be set back."""

    started_at: int
    finished_at: int
    mode: str
    requests: int
    retries: int
    jobs_read: int
    jobs_new: int
    jobs_finished: int
    open_jobs: int
    high_water_mark: int | None
    scope: str
    since: int | None
    base_url: str
    number: int
    user_id: str | None = None  # whose key it was; null where that was not asked yet
    team_id: str | None = None


RUN_TYPES = {
    "started_at": "TIMESTAMPTZ",
    "finished_at": "TIMESTAMPTZ",
    "mode": "VARCHAR",
    "high_water_mark": "TIMESTAMPTZ",
    "scope": "VARCHAR",
    "since": "TIMESTAMPTZ",
    "base_url": "VARCHAR",
    "user_id": "VARCHAR",
    "team_id": "VARCHAR",
}
RUN_COLUMNS = {name: RUN_TYPES.get(name, "BIGINT") for name in Run._fields}


class Totals(NamedTuple):
    """Jobs, open jobs and credits spent in the warehouse."""

    jobs: int
    open_jobs: int
    credits: Decimal


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


def warehouse_for(settings: Settings) -> Warehouse:
    """Return the warehouse that `warehouse.destination` names."""
    if settings.destination == "duckdb":
        return Warehouse(settings.path)
    from pipelines import destinations

    return destinations.warehouse_for(settings)


def connect(settings: Settings) -> Any:
    """Open the warehouse that `warehouse.destination` names for reading, in UTC. Close it soon."""
    return warehouse_for(settings).connect_readonly()


class Warehouse:
    """One DuckDB warehouse: `path` is the published file, everything private lies in `.load` beside it."""

    def __init__(self, path: Path) -> None:
        try:
            self.path = path.resolve()
        except (OSError, RuntimeError) as problem:
            raise ConfigurationError(f"warehouse.path = {str(path)!r}: {problem}") from None
        folder = self.path.parent / ".load"
        self.load_file = folder / self.path.name
        self.working_folder = folder / f"{self.path.name}.dlt"
        self._lock_file = folder / f"{self.path.name}.lock"
        self._signature_file = folder / f"{self.path.name}.published"
        self._told_place: Path | str = self.load_file  # in the errors of a question
        self._temporary_folder: Path | None = None
        self._connection: duckdb.DuckDBPyConnection | None = None

    @classmethod
    def over(cls, connection: Any, place: Path | str) -> Self:
        """Return the questions of a warehouse over a connection that is open already; it is not closed here.

        `place` is what errors name.
        """
        warehouse = cls(Path(place))
        warehouse._told_place = place
        warehouse._connection = connection
        return warehouse

    @property
    def place(self) -> Path | str:
        """Where it lies, in words for a message."""
        return self.path

    def connect_readonly(self) -> Any:
        """Return a connection for readers, with as much of DuckDB's interface as this project uses."""
        return connect_readonly(self.path)

    def size_bytes(self, connection: Any = None) -> int:
        """Return how much room it takes; `connection` is one for readers."""
        return self.path.stat().st_size

    @contextlib.contextmanager
    def lock(self, wait: float) -> Iterator[None]:
        """Hold this warehouse for one sync, or raise BusyError after `wait` seconds.

        The operating system gives the lock back when a process dies, so none is ever stale.
        """
        try:
            self._lock_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            held = filelock.FileLock(self._lock_file, mode=0o600)
            held.acquire(timeout=wait)
        except filelock.Timeout:
            raise BusyError(f"another sync holds {self.place}; it was waited for {wait:g} s (--wait SECONDS)") from None
        except OSError as problem:
            raise ConfigurationError(f"cannot write in {self.path.parent}: {problem.strerror}") from None
        try:
            yield
        finally:
            if self._temporary_folder is not None:
                shutil.rmtree(self._temporary_folder, ignore_errors=True)
            held.release()

    @contextlib.contextmanager
    def open(self) -> Iterator[Warehouse]:
        """Open the load file, made anew from the published one where it is missing or older."""
        self._restore()
        self._discard_working_folder()
        self._connection = self._open_load_file()
        self.load_file.chmod(0o600)
        try:
            yield self
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

    # What the warehouse knows

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""
        with _disk_errors(self._told_place):
            return self.connection.execute(sql, parameters or None).fetchall()

    def has(self, table: str) -> bool:
        """Tell whether a table of ours is there."""
        return bool(
            self.query(
                "select 1 from information_schema.tables where table_catalog = current_database() "
                "and table_schema = ? and table_name = ?",
                [SCHEMA, table],
            )
        )

    def last_run(self, scope: str | None = None) -> Run | None:
        """Return the last sync that ended well (of a scope)."""
        if not (columns := self._run_columns()):
            return None
        rows = self.query(
            f"select {columns} from {SCHEMA}.sync_runs where scope = coalesce(?, scope) order by number desc limit 1",
            [scope],
        )
        return Run(*rows[0]) if rows else None

    def runs(self) -> list[Run]:
        """Return every sync that ended well, oldest first."""
        if not (columns := self._run_columns()):
            return []
        return [Run(*row) for row in self.query(f"select {columns} from {SCHEMA}.sync_runs order by number")]

    def _run_columns(self) -> str:
        """Return what to select for a `Run`; nothing where there is no `sync_runs`. Older ones lack a column."""
        present = {
            name
            for (name,) in self.query(
                "select column_name from information_schema.columns where table_catalog = current_database() "
                "and table_schema = ? and table_name = 'sync_runs'",
                [SCHEMA],
            )
        }
        columns = (
            "null" if name not in present else f"epoch_us({name})" if kind == "TIMESTAMPTZ" else name
            for name, kind in RUN_COLUMNS.items()
        )
        return ", ".join(columns) if present else ""

    def account(self, scope: str) -> Account:
        """Return whose jobs these are: by the last sync of this scope, of the other, or what a first load left."""
        account = Account()
        for each in (scope, "team" if scope == "user" else "user"):
            if run := self.last_run(each):
                account = account.completed(Account(run.user_id, run.team_id))
        if not account.is_known:
            for saved in self.state().get("progress", {}).values():
                if saved:
                    account = account.completed(Account(saved.get("user_id"), saved.get("team_id")))
        return account

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

    def counted_jobs(self) -> int:
        """Return how many jobs the syncs that ended well have counted as new; one that failed may have stored more."""
        if not self.has("sync_runs"):
            return 0
        return int(self.query(f"select coalesce(sum(jobs_new), 0) from {SCHEMA}.sync_runs")[0][0])

    def state(self) -> dict[str, Any]:
        """Return dlt's state of the resource `jobs`, read by SQL as dlt writes it (base64 of zlib of JSON).

        Only a state whose load package was finished counts.
        """
        if not (self.has("_dlt_pipeline_state") and self.has("_dlt_loads")):
            return {}
        rows = self.query(
            f"select state from {SCHEMA}._dlt_pipeline_state where pipeline_name = ? and _dlt_load_id in "
            f"(select load_id from {SCHEMA}._dlt_loads where status = 0) order by version desc limit 1",
            [PIPELINE],
        )
        if not rows:
            return {}
        return jobs_state(rows[0][0])

    def unsettled(self, scope: str, started_at: int, settle_after: int) -> list[Unsettled]:
        """Return the jobs that the sync that began at `started_at` left unsettled, and how deep they lie."""
        rows = self.query(
            f"""
            with unsettled as (
                select id, created_at, status from {SCHEMA}.jobs
                where {_in_scope(scope)} and {can_change_sql(started_at, settle_after)}
            ), ranked as (
                select id, row_number() over (order by created_at desc) - 1 as rank from {SCHEMA}.jobs
                where delisted_at is null and {_in_scope(scope)}
                    and created_at >= (select min(created_at) from unsettled)
            )
            select id, epoch_us(created_at), status, rank from unsettled join ranked using (id)
            """
        )
        return [
            Unsettled(identity, created_at, status, rank, is_searchable(identity))
            for identity, created_at, status, rank in rows
        ]

    def newer_than(self, scope: str, created_at: int) -> int:
        """Return how many jobs are newer."""
        sql = f"select count(*) from {SCHEMA}.jobs where delisted_at is null and {_in_scope(scope)}"
        return int(self.query(f"{sql} and created_at > make_timestamp(?)", [created_at])[0][0])

    def older_than(self, scope: str, created_at: int | None) -> list[str]:
        """Return the jobs held as listed that are older (None: all), newest first."""
        if not self.has("jobs"):
            return []
        sql = f"select id from {SCHEMA}.jobs where delisted_at is null and {_in_scope(scope)}"
        older = "" if created_at is None else " and created_at < make_timestamp(?)"
        rows = self.query(f"{sql}{older} order by created_at desc, id", [] if created_at is None else [created_at])
        return [row[0] for row in rows]

    def lately_delisted(self, scope: str, since: int, until: int) -> list[str]:
        """Return some of the jobs that were delisted an hour, a day or a week before a moment of this span.

        Of each time of delisting first the newest job, then the second.
        """
        spans = [moment - mark for mark in LOOK_AGAIN for moment in (since, until)]
        of_age = " or ".join(["delisted_at > make_timestamp(?) and delisted_at <= make_timestamp(?)"] * len(LOOK_AGAIN))
        rows = self.query(
            f"select id, row_number() over (partition by delisted_at order by created_at desc, id) as place "
            f"from {SCHEMA}.jobs where {_in_scope(scope)} and ({of_age}) order by place, id limit {MOST_AGAIN}",
            spans,
        )
        return [row[0] for row in rows]

    def delisted_with(self, scope: str, ids: Collection[str]) -> list[Unsettled]:
        """Return the jobs that were delisted when one of these was, and how deep they lie."""
        rows = self.query(
            f"select id, epoch_us(created_at), status, place from (select id, created_at, status, delisted_at, "
            f"row_number() over (order by created_at desc) - 1 as place from {SCHEMA}.jobs where {_in_scope(scope)}"
            f") as placed where delisted_at in "
            f"(select delisted_at from {SCHEMA}.jobs where id in (select unnest(?::varchar[])))",
            [list(ids)],
        )
        return [
            Unsettled(identity, created_at, status, rank, is_searchable(identity))
            for identity, created_at, status, rank in rows
        ]

    def open_jobs(self) -> dict[str, int]:
        """Return the number of open jobs by status."""
        return dict(self.query(f"select status, count(*) from {SCHEMA}.jobs where {IS_OPEN} group by status"))

    def kept(self, rows: Sequence[Row]) -> dict[str, Row]:
        """Return what the warehouse holds of these jobs, by id."""
        if not rows:
            return {}
        times = [row.created_at for row in rows]
        found = self.query(
            f"select {ROW} from {SCHEMA}.jobs where id in (select unnest(?::varchar[])) "
            "and created_at between make_timestamp(?) and make_timestamp(?)",
            [[row.id for row in rows], min(times), max(times)],
        )
        return {row[0]: Row(*row) for row in found}

    def knows(self, scope: str, positions: Sequence[tuple[int, str]]) -> bool:
        """Tell whether the jobs at these positions (createdAt, id) were all seen in this scope and not delisted."""
        if not positions:
            return True
        ids = {identity for _, identity in positions}
        times = [time for time, _ in positions]
        found = self.query(
            f"select count(*) from {SCHEMA}.jobs where delisted_at is null and id in (select unnest(?::varchar[])) "
            f"and {_in_scope(scope)} and created_at between make_timestamp(?) and make_timestamp(?)",
            [list(ids), min(times), max(times)],
        )
        return bool(found[0][0] == len(ids))

    def rows(self, ids: Sequence[str]) -> list[Row]:
        """Return jobs by id."""
        found = self.query(f"select {ROW} from {SCHEMA}.jobs where id in (select unnest(?::varchar[]))", [list(ids)])
        return [Row(*row) for row in found]

    def totals(self) -> Totals:
        """Return what the warehouse holds now."""
        if not self.has("jobs"):
            return Totals(0, 0, Decimal(0))
        rows = self.query(
            f"select count(*), count(*) filter (where {IS_OPEN}), coalesce(sum({SPENT}), 0) from {SCHEMA}.jobs"
        )
        return Totals(*rows[0])

    def models(self) -> dict[str, tuple[str | None, int]]:
        """Return model -> (modality, when the catalogue was asked); a null modality is a model it does not list."""
        if not self.has("models"):
            return {}
        rows = self.query(f"select id, modality, epoch_us(synced_at) from {SCHEMA}.models")
        return {identity: (modality, asked) for identity, modality, asked in rows}

    # What a sync writes

    def save_models(self, models: Sequence[Mapping[str, Any]], named: Iterable[str], now: int) -> None:
        """Replace the catalogue of models; models that are only `named` by jobs get a row without anything else."""
        self.query("begin")
        self._create_models()
        self.query(f"delete from {SCHEMA}.models")
        for row in model_rows(models, named, now):
            self.query(f"insert into {SCHEMA}.models values (?, ?, ?, ?, ?, ?, make_timestamp(?))", row)
        self.query("commit")

    def _create_models(self) -> None:
        self.query(
            f"create table if not exists {SCHEMA}.models (id VARCHAR, label VARCHAR, modality VARCHAR, "
            "pricing_mode VARCHAR, cost_min DECIMAL(18,4), cost_max DECIMAL(18,4), synced_at TIMESTAMPTZ)"
        )

    def mark_seen(self, ids: Sequence[str], *, restart: bool = False) -> None:
        """Remember that a full sync has seen these jobs; kept until it ends, also over a crash."""
        if restart:
            self.query(f"drop table if exists {SCHEMA}._full_sync_seen")
        self.query(f"create table if not exists {SCHEMA}._full_sync_seen (id VARCHAR)")
        self.query(f"insert into {SCHEMA}._full_sync_seen select unnest(?::varchar[])", [list(ids)])

    def not_seen(self, scope: str, since: int | None) -> list[str]:
        """Return the jobs that a full sync has not seen, though it read everything (back to `since`)."""
        return [
            row[0]
            for row in self.query(
                f"select id from {SCHEMA}.jobs "
                f"where not exists (select 1 from {SCHEMA}._full_sync_seen as seen where seen.id = jobs.id) "
                f"and delisted_at is null and {_in_scope(scope)} "
                "and created_at >= make_timestamp(coalesce(?, -62135596800000000)) order by created_at desc, id",
                [since],
            )
        ]

    def storable(self, rows: list[Row]) -> list[Row]:
        """Return rows as the warehouse can hold them; what does not fit its column goes to `extra`."""
        return rows

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

    def source(self, tables: Callable[[], Iterable[pa.Table]], **hints: Any) -> DltSource:
        """Return the dlt source that brings Arrow tables of jobs into this warehouse."""
        return jobs_source(tables, **hints)

    def load(self, pipeline: dlt.Pipeline, tables: Callable[[], Iterable[pa.Table]]) -> None:
        """Load Arrow tables of jobs in one package. Errors are this project's, of one line."""
        from pipelines.confined import confined

        try:
            with confined():
                pipeline.run(self.source(tables, deduplicated=True, fresh=not self.has("jobs")))
        except Exception as problem:
            error, cause = explain(problem)
            raise error from cause

    def create_views(self, timezone: str, error_classes: Path | None = None) -> None:
        """Make schema `reports` hold exactly our views."""
        reports.create_views(self.connection, timezone, error_classes)

    def record(self, *runs: Run) -> None:
        """Add rows to `sync_runs`, all or none: these syncs ended well. Makes the tables that only a sync writes."""
        self.query("begin")
        self._create_models()
        self.query(f"drop table if exists {SCHEMA}._full_sync_seen")
        columns = ", ".join(f"{name} {kind}" for name, kind in RUN_COLUMNS.items())
        self.query(f"create table if not exists {SCHEMA}.sync_runs ({columns})")
        for name in ("user_id", "team_id"):  # younger than the rest
            self.query(f"alter table {SCHEMA}.sync_runs add column if not exists {name} VARCHAR")
        values = ", ".join("make_timestamp(?)" if kind == "TIMESTAMPTZ" else "?" for kind in RUN_COLUMNS.values())
        for run in runs:
            self.query(f"insert into {SCHEMA}.sync_runs values ({values})", run)
        self.query("commit")

    def publish(self) -> None:
        """Close the load file and put a copy of it in the place of the published one, in one step."""
        self.query("checkpoint")  # closing does it too, but says nothing where the disk is full
        self.close()
        copy = self.load_file.with_name(f"{self.path.name}.publishing")
        try:
            _copy(self.load_file, copy)
            if self.path.exists():
                _same_access(self.path, copy)
            # A reader that may write leaves a log; beside the new file it would keep every reader out.
            self.path.with_name(f"{self.path.name}.wal").unlink(missing_ok=True)
            copy.replace(self.path)
            _fsync_folder(self.path.parent)
            self._signature_file.write_text(_signature(self.path))
        except OSError as problem:
            copy.unlink(missing_ok=True)
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
        if not published or (loaded and self._is_ours()):
            return
        copy = self.load_file.with_name(f"{self.path.name}.restoring")
        with _disk_errors(copy):
            _copy(self.path, copy)
            try:
                if self._is_newer(copy, loaded):
                    self.load_file.with_name(f"{self.path.name}.wal").unlink(missing_ok=True)
                    copy.replace(self.load_file)
            finally:
                copy.unlink(missing_ok=True)

    def _is_newer(self, copy: Path, loaded: bool) -> bool:
        """Tell whether a copy of the published file knows more than the load file; refuse what is another's."""
        try:
            with contextlib.closing(_open(copy)) as connection:
                found = Warehouse.over(connection, copy).last_run()
                tables = connection.execute("select count(*) from duckdb_tables()").fetchall()[0][0]
        except (ApiframeWarehouseError, duckdb.Error) as problem:
            raise ApiframeWarehouseError(
                f"{self.path} cannot be read: put a backup in its place, or delete it, and sync makes it again "
                f"({_first_line(problem)})"
            ) from None
        if tables and not found:
            raise ConfigurationError(f"{self.path} is no warehouse of this command: set warehouse.path to another file")
        if not loaded:
            return True
        with contextlib.closing(self._open_load_file()) as connection:
            known = Warehouse.over(connection, self.load_file).last_run()
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

    def _is_ours(self) -> bool:
        """Tell whether the published file is the one that the last sync published."""
        try:
            return self._signature_file.read_text() == _signature(self.path)
        except OSError:
            return False

    def _discard_working_folder(self) -> None:
        """Discard what a killed run left of dlt's own files: its state is restored from the load file."""
        shutil.rmtree(self.working_folder, ignore_errors=True)


#: The columns of a `Row`.
ROW = ", ".join(f"epoch_us({name})" if kind == "TIMESTAMPTZ" else name for name, kind in COLUMNS.items())


def explain(problem: Exception) -> tuple[BaseException, Exception | None]:
    """Return the error of this project that dlt has wrapped, or a new one of one line, and what caused that."""
    cause: BaseException | None = problem
    while cause is not None:
        if isinstance(cause, (ApiframeWarehouseError, KeyboardInterrupt)):
            return cause, None
        cause = cause.__cause__ or cause.__context__
    told = problem.__cause__ if isinstance(problem.__cause__, Exception) else problem
    reason = _first_line(getattr(told, "client_exception", told))  # what dlt tried again it tells with a traceback
    return ApiframeWarehouseError(f"loading failed: {reason}; nothing is lost, run again"), problem


def jobs_state(stored: str) -> dict[str, Any]:
    """Return the state of the resource `jobs` from what dlt stores."""
    state = json.loads(zlib.decompress(base64.b64decode(stored)))
    found = state.get("sources", {}).get(PIPELINE, {}).get("resources", {}).get("jobs", {})
    return found if isinstance(found, dict) else {}


def model_rows(models: Sequence[Mapping[str, Any]], named: Iterable[str], now: int) -> Iterator[list[Any]]:
    """Yield the rows of the table `models`."""
    by_id: dict[str, Mapping[str, Any]] = {name: {} for name in named}
    by_id |= {model["id"]: model for model in models}
    for identity, model in by_id.items():
        numbers = [_number(model.get(name)) for name in ("costMin", "costMax")]
        texts = [
            value if isinstance(value := model.get(name), str) else None
            for name in ("label", "modality", "pricingMode")
        ]
        yield [identity, *texts, *numbers, now]


def _in_scope(scope: str) -> str:
    # The team's list holds the user's own jobs too; a row keeps the narrowest scope that listed it.
    return "scope = 'user'" if scope == "user" else "true"


def _number(value: object) -> Decimal | None:
    number = Decimal(str(value)) if isinstance(value, (int, float, Decimal)) else None
    return number if number is not None and abs(number) < 10**14 else None


def _open(path: Path, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    try:
        connection = duckdb.connect(
            str(path),
            read_only=read_only,
            config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"},
        )
    except duckdb.Error as problem:
        raise ApiframeWarehouseError(f"cannot open {path}: {_first_line(problem)}") from None
    connection.execute("set TimeZone = 'UTC'")
    if not read_only:
        connection.execute(f"set memory_limit = '{LOAD_MEMORY}'")
    return connection


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(12)[8:] == b"DUCK"


def _require_database(path: Path) -> None:
    try:
        if _is_database(path):
            return
    except OSError as problem:
        raise ConfigurationError(f"cannot read {path}: {problem.strerror}") from None
    raise ConfigurationError(f"{path} is not a DuckDB database: set warehouse.path to another file")


def _copy(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    target.touch(mode=0o600)
    shutil.copyfile(source, target)
    with target.open("rb+") as file:
        os.fsync(file.fileno())


def _same_access(published: Path, copy: Path) -> None:
    """Let those who may read the published file read the copy: its mode, and owner and group as far as is allowed."""
    facts = published.stat()
    for owner in (facts.st_uid, -1):  # only root can give a file away; a group of one's own can be set
        with contextlib.suppress(PermissionError):
            os.chown(copy, owner, facts.st_gid)
            break
    copy.chmod(facts.st_mode & 0o777)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _signature(path: Path) -> str:
    facts = path.stat()
    return f"{facts.st_ino} {facts.st_size} {facts.st_mtime_ns}"


def _first_line(problem: Exception) -> str:
    return str(problem).strip().split("\n", 1)[0]


@contextlib.contextmanager
def _disk_errors(path: Path | str) -> Iterator[None]:
    """Word the errors of disk and database for the person who reads them."""
    try:
        yield
    except ApiframeWarehouseError:  # worded already, also where it is one of DuckDB's at once
        raise
    except OSError as problem:
        raise ApiframeWarehouseError(f"cannot write {path}: {problem.strerror}; nothing is lost, run again") from None
    except duckdb.Error as problem:
        raise ApiframeWarehouseError(f"{path}: {_first_line(problem)}") from None
