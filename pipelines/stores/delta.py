"""The warehouse as Delta tables in a folder or a bucket: dlt merges them, DuckDB reads their live files.

Other engines read the same tables (`reports.spark`). Where they lie comes from dlt's configuration,
`destination.filesystem.bucket_url` and `.credentials`. Each table changes in one step of its transaction log; the
row in `sync_runs` is written last.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import duckdb
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from pipelines import reports
from pipelines.apiframe.source import jobs_source
from pipelines.errors import ApiframeWarehouseError, ConfigurationError, NoWarehouseError
from pipelines.exact import moment
from pipelines.settings import Settings
from pipelines.stores import PIPELINE, Store, jobs_state
from pipelines.stores.duckdb import add_empty_tables, empty_tables
from pipelines.tables import SCHEMA, Table, tables
from pipelines.tables.job_changes import BEGUN
from pipelines.tables.jobs import TABLE as JOBS
from pipelines.warehouse import SEEN, Warehouse

if TYPE_CHECKING:
    import dlt
    from dlt.extract import DltSource

KNOWN = {**tables(), SEEN.name: SEEN, BEGUN.name: BEGUN}
LOAD_ID = "_dlt_load_id"  # what dlt adds to each job
#: What a store says that no second try will change.
REFUSED = re.compile(r"credential|denied|forbidden|403|InvalidAccessKey|SignatureDoesNot|NoSuchBucket|region", re.I)


class _Lake(Store):
    """Where a lake lies and how it is reached."""

    @functools.cached_property
    def _client(self) -> Any:
        """The client that dlt has of the store, which knows where tables lie and how to reach them."""
        from dlt.common.schema import Schema
        from dlt.destinations.impl.filesystem.configuration import FilesystemDestinationClientConfiguration

        from pipelines.confined import confined

        wanted = FilesystemDestinationClientConfiguration()._bind_dataset_name(dataset_name=SCHEMA)
        with confined():
            return self._destination().client(Schema(PIPELINE), wanted)

    @functools.cached_property
    def _reach(self) -> dict[str, Any]:
        """Where the lake lies and how to reach it, by the user's own configuration; nothing else is read from it."""
        from dlt.common.configuration import resolve_configuration
        from dlt.common.configuration.exceptions import ConfigurationException
        from dlt.destinations.impl.filesystem.configuration import FilesystemDestinationClientConfiguration

        from pipelines.confined import confined

        try:
            with confined("destination", "filesystem"):
                found = resolve_configuration(
                    FilesystemDestinationClientConfiguration()._bind_dataset_name(dataset_name=SCHEMA),
                    sections=("destination", "filesystem"),
                )
        except (ConfigurationException, ValueError):  # what it says may hold a secret
            raise ConfigurationError(
                "no usable lake: set destination.filesystem.bucket_url in .dlt/config.toml to a folder or to "
                "s3://bucket/folder, and its credentials in .dlt/secrets.toml"
            ) from None
        names = ("bucket_url", "credentials", "kwargs", "client_kwargs", "config_kwargs", "deltalake_storage_options")
        return {name: getattr(found, name) for name in names}

    @functools.cached_property
    def _storage_options(self) -> dict[str, str]:
        from dlt.common.libs.deltalake import deltalake_storage_options

        config = self._client.config
        return deltalake_storage_options(config.credentials, config.deltalake_storage_options)

    @property
    def place(self) -> str:
        """Where it lies."""
        return f"delta {self._client.config.bucket_url}"

    def location(self, table: str) -> str:
        """Return the address of a table."""
        return str(self._client.get_open_table_location("delta", table))

    def _require_bucket(self) -> None:
        config = self._client.config
        if config.is_local_filesystem:
            return
        bucket = urlsplit(config.bucket_url).netloc
        try:
            self._client.fs_client.info(bucket)
        except FileNotFoundError:
            raise ConfigurationError(f"{self.place}: there is no bucket {bucket}") from None
        except Exception as problem:  # each store has its own
            reason = _reason(problem)
            kind = ConfigurationError if REFUSED.search(reason) else ApiframeWarehouseError
            raise kind(f"{self.place}: {reason}") from None

    def _destination(self) -> Any:
        from dlt.destinations import filesystem

        return filesystem(**self._reach)


class DeltaStore(_Lake):
    """A warehouse of Delta tables in the folder `apiframe` of a bucket, local or not."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, ".delta")
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._outdated: set[str] = set()  # tables that were written since they were shown

    def _table(self, table: Table) -> DeltaTable | None:
        with self._errors():
            try:
                return DeltaTable(self.location(table.name), storage_options=self._storage_options)
            except TableNotFoundError:
                return None

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except TableNotFoundError:
            raise
        except (DeltaError, OSError) as problem:  # OSError also where a store is not reached
            reason = _reason(problem)
            kind = ConfigurationError if REFUSED.search(reason) else ApiframeWarehouseError
            raise kind(f"{self.place}: {reason}; nothing is lost, run again") from problem

    # Opening

    @contextlib.contextmanager
    def lock(self, wait: float) -> Iterator[None]:
        """Hold this warehouse for one sync: for this folder everywhere, for a bucket on this machine alone.

        Two syncs of one bucket from two machines are safe but not fast: where both change the same files, the log
        lets one of them through, and the other ends with exit code 1.
        """
        with contextlib.ExitStack() as held:
            if self._client.config.is_local_filesystem:
                held.enter_context(self._held(Path(self._client.bucket_path) / ".apiframe.lock", wait))
            held.enter_context(super().lock(wait))
            yield

    @contextlib.contextmanager
    def open(self) -> Iterator[Warehouse]:
        """Open a database in memory whose tables are the live files of the lake."""
        self._discard_working_folder()
        self._require_bucket()
        with self._errors():
            if self._client.config.is_local_filesystem:
                _discard_halves(Path(self._client.dataset_path))
            self._client.initialize_storage()
        with contextlib.closing(self._database()) as self._connection:
            yield Warehouse(self._query)

    def _query(self, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        assert self._connection is not None  # noqa: S101 - it is open
        for name in [name for name in self._outdated if name in sql or "information_schema" in sql]:
            self._show(self._connection, KNOWN[name])
            self._outdated.remove(name)
        try:
            return self._connection.execute(sql, parameters or None).fetchall()
        except duckdb.Error as problem:
            raise ApiframeWarehouseError(f"{self.place}: {_reason(problem)}") from None

    def _database(self) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(
            config={"autoinstall_known_extensions": "false", "python_enable_replacements": "false"}
        )
        connection.execute(f"set TimeZone = 'UTC'; create schema {SCHEMA}")
        for table in KNOWN.values():
            self._show(connection, table)
        return connection

    def _show(self, connection: duckdb.DuckDBPyConnection, table: Table) -> None:
        """Make a view of what a Delta table holds now; none where there is no such table."""
        live = self._table(table)
        if live is None:
            return
        with self._errors():
            files = live.to_pyarrow_dataset()  # refuses what it cannot read rightly: deletion vectors, column mapping
        connection.register(f"live_{table.name}", files)
        columns = [
            f"null::{kind} as {name}" if name not in files.schema.names  # of an older version
            else f"cast({name} as json) as {name}" if kind == "JSON"
            else name
            for name, kind in table.types.items()
        ] + [name for name in files.schema.names if name == LOAD_ID]  # fmt: skip
        view = f"{SCHEMA}.{table.name}"
        connection.execute(f"create or replace view {view} as select {', '.join(columns)} from live_{table.name}")
        comments = [f"comment on view {view} is {reports.literal(table.sentence)}"]
        comments += [f"comment on column {view}.{c.name} is {reports.literal(c.comment)}" for c in table.columns]
        connection.execute(";".join(comments))

    def connect_readonly(self) -> duckdb.DuckDBPyConnection:
        """Open the lake as it is now for reading, with the views of `reports`."""
        self._require_bucket()
        connection = self._database()
        if not Warehouse.over(connection).last_run():
            connection.close()
            raise NoWarehouseError(f"there is no warehouse in {self.place} yet: run apiframe-warehouse sync")
        warehouse = Warehouse.over(connection)
        # An older version has not made them all, and the views need them.
        add_empty_tables(connection, [table for table in tables().values() if not warehouse.has(table.name)])
        views = self.checked_views()  # the sync has said which are left out
        reports.make_views(connection, views, self.settings.timezone)
        return connection

    # Loading

    def _source(self, tables: Callable[[], Iterable[pa.Table]]) -> DltSource:
        def once() -> Iterator[pa.Table]:  # one step of the table's log a package
            yield pa.concat_tables(tables())

        return jobs_source(once, strategy="upsert", table_format="delta", deduplicated=True)

    def load(self, pipeline: dlt.Pipeline, tables: Callable[[], Iterable[pa.Table]]) -> None:
        """Merge Arrow tables of jobs by id, in one package, which is one step of the table's log."""
        self._make(JOBS)  # dlt appends to a new one, and two first syncs would add a job twice
        super().load(pipeline, tables)
        self._outdated.add(JOBS.name)

    def state(self) -> dict[str, Any]:
        """Return dlt's state of the resource `jobs`, which dlt writes once a package is loaded."""
        from dlt.common.destination.exceptions import DestinationUndefinedEntity

        with self._errors():
            try:
                stored = self._client.get_stored_state(PIPELINE)
            except DestinationUndefinedEntity:
                return {}
        return jobs_state(stored.state) if stored else {}

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        """Do nothing: each table has a log of its own."""
        return contextlib.nullcontext()

    def _make(self, table: Table) -> None:
        schema = table.arrow_schema
        if table is JOBS:
            schema = schema.append(pa.field(LOAD_ID, pa.string(), nullable=False))
        with self._errors():
            DeltaTable.create(self.location(table.name), schema, mode="ignore", storage_options=self._storage_options)

    def prepare(self, *tables: Table) -> None:
        """Make the tables that are not there; those that are grow new columns when they are written."""
        for table in tables:
            if self._table(table) is None:
                self._make(table)
                self._outdated.add(table.name)

    def write(self, table: Table, rows: Iterable[Sequence[Any]]) -> None:
        """Store rows of a table that was prepared, as its mode says."""
        given = table.to_arrow(list(rows))
        options = self._storage_options
        with self._errors():
            if table.mode == "replace":
                write_deltalake(
                    self.location(table.name), given, mode="overwrite", schema_mode="overwrite", storage_options=options
                )
            elif table.mode == "append":
                write_deltalake(
                    self.location(table.name), given, mode="append", schema_mode="merge", storage_options=options
                )
            elif live := self._table(table):
                same = " and ".join(f"old.{name} = new.{name}" for name in table.key)
                merged = live.merge(given, same, source_alias="new", target_alias="old", merge_schema=True)
                merged.when_matched_update_all().when_not_matched_insert_all().execute()
        self._outdated.add(table.name)

    def _delete_before(self, table: Table, column: str, before: int) -> None:
        if live := self._table(table):
            with self._errors():
                live.delete(
                    f"{column} < arrow_cast('{moment(before).isoformat()}', 'Timestamp(Microsecond, Some(\"UTC\"))')"
                )
            self._outdated.add(table.name)

    def empty(self, table: Table) -> None:
        """Delete all rows of a table, if it is there."""
        if live := self._table(table):
            with self._errors():
                live.delete()
            self._outdated.add(table.name)

    def checked_views(self) -> reports.Definitions:
        """Return the views that readers make. Nothing tells which were tried before, so ours alone are not."""
        found = reports.configured(self.settings)
        if not found.has_own:
            return found
        with contextlib.closing(empty_tables()) as empty:
            return found.tried(empty)

    def create_views(self, views: reports.Definitions) -> list[str]:
        """Do nothing: readers make the views over the files that are live when they come."""
        return []

    def publish(self) -> None:
        """Do nothing: each step of the log is published by itself."""

    def size_bytes(self, connection: Any) -> int:
        """Return the size of the live files of jobs."""
        table = self._table(JOBS)
        return 0 if table is None else sum(pa.table(table.get_add_actions(flatten=True))["size_bytes"].to_pylist())

    def maintain(self, keep: timedelta) -> dict[str, dict[str, int]]:
        """Merge small files into large ones and delete those that no version younger than `keep` needs."""
        done = {}
        with self.lock(60):
            for name, known in KNOWN.items():
                table = self._table(known)
                if table is None:
                    continue
                with self._errors():
                    before = len(table.file_uris())
                    table.optimize.compact()
                    hours = math.ceil(keep / timedelta(hours=1))  # the library's unit: rather more than asked for
                    deleted = table.vacuum(hours, dry_run=False, enforce_retention_duration=False)
                    table.create_checkpoint()
                done[name] = {"files_before": before, "files": len(table.file_uris()), "deleted": len(deleted)}
        return done


def _discard_halves(folder: Path) -> None:
    """Remove what a killed run may have left half written, since dlt stumbles over it."""
    for begun in (folder, folder.with_name(f"{folder.name}_staging")):
        with contextlib.suppress(OSError):
            begun.rmdir()  # only where it is empty
    for file in [*folder.glob("_dlt_pipeline_state/*.jsonl"), *folder.glob("_dlt_version/*.jsonl")]:
        try:
            json.loads(file.read_bytes())
        except ValueError:
            file.unlink()


def _reason(problem: Exception) -> str:
    return re.sub(r"\s+", " ", str(problem)).strip()[:300] or type(problem).__name__


STORE = DeltaStore
