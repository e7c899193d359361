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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import urlsplit

import duckdb
import filelock
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from pipelines import reports
from pipelines.apiframe.records import COLUMNS, arrow_schema
from pipelines.errors import ApiframeWarehouseError, BusyError, ConfigurationError, NoWarehouseError
from pipelines.warehouse import PIPELINE, RUN_COLUMNS, SCHEMA, Run, Warehouse, jobs_state, model_rows

if TYPE_CHECKING:
    import dlt
    from dlt.extract import DltSource

    from pipelines.settings import Settings

TYPES = {
    "VARCHAR": pa.string(),
    "BIGINT": pa.int64(),
    "DECIMAL(18,4)": pa.decimal128(18, 4),
    "TIMESTAMPTZ": pa.timestamp("us", tz="UTC"),
}
MODELS = {
    **dict.fromkeys(("id", "label", "modality", "pricing_mode"), "VARCHAR"),
    **dict.fromkeys(("cost_min", "cost_max"), "DECIMAL(18,4)"),
    "synced_at": "TIMESTAMPTZ",
}
SCHEMAS = {
    "jobs": arrow_schema().append(pa.field("_dlt_load_id", pa.string(), nullable=False)),
    "models": pa.schema([(name, TYPES[kind]) for name, kind in MODELS.items()]),
    "sync_runs": pa.schema([(name, TYPES[kind]) for name, kind in RUN_COLUMNS.items()]),
    "_full_sync_seen": pa.schema([("id", pa.string())]),
}
#: What a store says that no second try will change.
REFUSED = re.compile(r"credential|denied|forbidden|403|InvalidAccessKey|SignatureDoesNot|NoSuchBucket|region", re.I)


class DeltaWarehouse(Warehouse):
    """A warehouse of Delta tables in the folder `apiframe` of a bucket, local or not.

    What is private to a run, dlt's working folder and a lock, still lies in `.load` beside `warehouse.path`.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.path)
        self.settings = settings
        folder = self.path.parent / ".load"
        self.working_folder = folder / f"{self.path.name}.delta.dlt"
        self._lock_file = folder / f"{self.path.name}.delta.lock"

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

    def _table(self, name: str) -> DeltaTable | None:
        with self._errors():
            try:
                return DeltaTable(self.location(name), storage_options=self._storage_options)
            except TableNotFoundError:
                return None

    def _write(self, name: str, rows: pa.Table, mode: Literal["append", "overwrite"] = "append") -> None:
        with self._errors():
            # "merge": an older table gets the columns that it lacks.
            write_deltalake(
                self.location(name), rows, mode=mode, schema_mode="merge", storage_options=self._storage_options
            )

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
                folder = Path(self._client.bucket_path)
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                    file = filelock.FileLock(folder / ".apiframe.lock", mode=0o600)
                    held.enter_context(file.acquire(timeout=wait))
                except filelock.Timeout:
                    raise BusyError(
                        f"another sync holds {self.place}; it was waited for {wait:g} s (--wait SECONDS)"
                    ) from None
                except OSError as problem:
                    raise ConfigurationError(f"cannot write in {folder}: {problem.strerror}") from None
            held.enter_context(super().lock(wait))
            yield

    @contextlib.contextmanager
    def open(self) -> Iterator[Self]:
        """Open a database in memory whose tables are the live files of the lake."""
        self._discard_working_folder()
        self._require_bucket()
        with self._errors():
            if self._client.config.is_local_filesystem:
                _discard_halves(Path(self._client.dataset_path))
            self._client.initialize_storage()
        self._connection = self._database()
        try:
            yield self
        finally:
            self.close()

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

    def _database(self) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
        connection.execute(f"set TimeZone = 'UTC'; create schema {SCHEMA}")
        for name in SCHEMAS:
            self._show(connection, name)
        return connection

    def _show(self, connection: duckdb.DuckDBPyConnection, name: str) -> None:
        """Make a view of what a Delta table holds now; none where there is no such table."""
        table = self._table(name)
        if table is None:
            return
        with self._errors():
            files = table.to_pyarrow_dataset()  # refuses what it cannot read rightly: deletion vectors, column mapping
        connection.register(f"live_{name}", files)
        columns = ", ".join(
            f"cast({column} as json) as {column}" if COLUMNS.get(column) == "JSON" else column
            for column in SCHEMAS[name].names
            if column in files.schema.names  # an older lake lacks some
        )
        connection.execute(f"create or replace view {SCHEMA}.{name} as select {columns} from live_{name}")

    def connect_readonly(self) -> duckdb.DuckDBPyConnection:
        """Open the lake as it is now for reading, with the views of `reports`."""
        self._require_bucket()
        connection = self._database()
        if not Warehouse.over(connection, self.place).has("sync_runs"):
            connection.close()
            raise NoWarehouseError(f"there is no warehouse in {self.place} yet: run apiframe-warehouse sync")
        settings = self.settings
        reports.create_views(connection, settings.timezone, settings.project / ".dlt" / "error_classes.csv")
        return connection

    # Loading

    def _destination(self) -> Any:
        from dlt.destinations import filesystem

        return filesystem(**self._reach)

    def source(self, tables: Callable[[], Iterable[pa.Table]], **hints: Any) -> DltSource:
        """Return the source for tables that are merged by id, in one step of the table's log a package."""

        def once() -> Iterator[pa.Table]:
            yield pa.concat_tables(tables())

        hints |= {"strategy": "upsert", "table_format": "delta", "fresh": False}  # two first syncs may meet
        return super().source(once, **hints)

    def load(self, pipeline: dlt.Pipeline, tables: Callable[[], Iterable[pa.Table]]) -> None:
        """Load Arrow tables of jobs in one package, which is one step of the table's log."""
        with self._errors():  # an empty table first: dlt appends to a new one, and two syncs would add a job twice
            DeltaTable.create(
                self.location("jobs"), SCHEMAS["jobs"], mode="ignore", storage_options=self._storage_options
            )
        super().load(pipeline, tables)
        self._show(self.connection, "jobs")

    def state(self) -> dict[str, Any]:
        """Return dlt's state of the resource `jobs`, which dlt writes once a package is loaded."""
        from dlt.common.destination.exceptions import DestinationUndefinedEntity

        with self._errors():
            try:
                stored = self._client.get_stored_state(PIPELINE)
            except DestinationUndefinedEntity:
                return {}
        return jobs_state(stored.state) if stored else {}

    def save_models(self, models: Sequence[Mapping[str, Any]], named: Iterable[str], now: int) -> None:
        """Replace the catalogue of models."""
        rows = model_rows(models, named, now)
        self._write("models", _arrow("models", rows), "overwrite")

    def mark_seen(self, ids: Sequence[str], *, restart: bool = False) -> None:
        """Remember that a full sync has seen these jobs; kept until it ends, also over a crash."""
        self._write(
            "_full_sync_seen", _arrow("_full_sync_seen", [(i,) for i in ids]), "overwrite" if restart else "append"
        )

    def not_seen(self, scope: str, since: int | None) -> list[str]:
        """Return the jobs that a full sync has not seen, though it read everything (back to `since`)."""
        self._show(self.connection, "_full_sync_seen")
        return super().not_seen(scope, since)

    def record(self, *runs: Run) -> None:
        """Add rows to `sync_runs`, in one step: these syncs ended well."""
        if self._table("models") is None:
            self._write("models", _arrow("models", []))
        if self._table("_full_sync_seen") is not None:
            self._write("_full_sync_seen", _arrow("_full_sync_seen", []), "overwrite")
        self._write("sync_runs", _arrow("sync_runs", runs))

    def create_views(self, timezone: str, error_classes: Path | None = None) -> None:
        """Do nothing: readers make the views over the files that are live when they come."""

    def publish(self) -> None:
        """Do nothing: each step of the log is published by itself."""

    def size_bytes(self, connection: Any = None) -> int:
        """Return the size of the live files of jobs."""
        table = self._table("jobs")
        return 0 if table is None else sum(pa.table(table.get_add_actions(flatten=True))["size_bytes"].to_pylist())

    def maintain(self, keep: timedelta = timedelta(days=7)) -> dict[str, dict[str, int]]:
        """Merge small files into large ones and delete those that no version younger than `keep` needs."""
        done = {}
        for name in SCHEMAS:
            table = self._table(name)
            if table is not None:
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


def _arrow(name: str, rows: Iterable[Sequence[Any]]) -> pa.Table:
    schema = SCHEMAS[name]
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.table(
        [
            pa.array(values, pa.int64()).cast(field.type)
            if pa.types.is_timestamp(field.type)
            else pa.array(values, field.type)
            for field, values in zip(schema, columns, strict=True)
        ],
        schema=schema,
    )


def _reason(problem: Exception) -> str:
    return re.sub(r"\s+", " ", str(problem)).strip()[:300] or type(problem).__name__
