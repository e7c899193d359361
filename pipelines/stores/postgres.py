"""The warehouse in a Postgres database: dlt loads it, an advisory lock guards it, Postgres serves its readers.

There is no load file and nothing to publish: readers see each load package as it is committed. Credentials come
from dlt's configuration, `destination.postgres.credentials`.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import duckdb
import psycopg2
import psycopg2.errors
import psycopg2.extensions
import psycopg2.extras

from pipelines import reports
from pipelines.apiframe.records import Row
from pipelines.apiframe.settled import IS_OPEN
from pipelines.errors import ApiframeWarehouseError, ConfigurationError, NoWarehouseError
from pipelines.exact import encode
from pipelines.settings import Settings
from pipelines.stores._sql import SqlStore
from pipelines.tables import SCHEMA
from pipelines.warehouse import Warehouse

if TYPE_CHECKING:
    import dlt
    import pyarrow as pa

    from pipelines.settings import Settings

LOCK = 0x_A91F_0001  # of the database: one warehouse lies in each
STAGING = f"{SCHEMA}_staging"
#: By which a sync finds the few jobs that can still change, or have been delisted of late, among millions.
INDEXES = {
    "jobs_created_at": "(created_at)",
    "jobs_completed_at": "(completed_at)",
    "jobs_open": f"(status) where {IS_OPEN}",
    "jobs_delisted_at": "(delisted_at) where delisted_at is not null",
}
#: Columns of text, and what the API calls them. dlt's CSV cannot tell an empty text from null, and Postgres has no NUL.
TEXTS = {"status": "status", "model": "model", "error": "error", "webhook_status": "webhookStatus"}
#: What a server says that no second try will change.
REFUSED = re.compile(r"password|authentication|no pg_hba|does not exist|not permitted|SSL|invalid", re.IGNORECASE)


def _interval(text: str) -> timedelta:
    if re.search("year|mon", text):
        raise ValueError("a month has no length")
    span: timedelta = psycopg2.extensions.string_types[1186](text, None)
    return span


#: A cursor takes no statement but one that gives rows; the text is a literal, whatever is in it.
OPENING = "declare rows refcursor := 'apiframe_query'; begin open rows for execute {}; end"
AS_TEXT = psycopg2.extensions.new_type(
    tuple(psycopg2.extensions.string_types), "AS_TEXT", psycopg2.extensions.string_types[25]
)
#: Types that Python has, and how it reads what Postgres writes; what it cannot read, and every other type, stays text.
READ: dict[int, Callable[[str], Any]] = {
    16: lambda text: text == "t",
    **dict.fromkeys((20, 21, 23), int),
    **dict.fromkeys((700, 701), float),
    1700: Decimal,
    1082: date.fromisoformat,
    1083: clock_time.fromisoformat,
    **dict.fromkeys((1114, 1184), datetime.fromisoformat),
    1186: _interval,
}


class PostgresError(ApiframeWarehouseError, duckdb.Error):
    """Postgres could not do it. Also an error of DuckDB's, since readers know those."""


class MissingError(ApiframeWarehouseError, duckdb.CatalogException):
    """A table or view is not there."""


class PostgresStore(SqlStore):
    """A warehouse in the schemas `apiframe` and `reports` of one database."""

    types: ClassVar = {"DOUBLE": "double precision"}

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, ".postgres")
        self._connection: Connection | None = None

    @functools.cached_property
    def _credentials(self) -> Any:
        from dlt.common.configuration import resolve_configuration
        from dlt.common.configuration.exceptions import ConfigurationException
        from dlt.destinations.impl.postgres.configuration import PostgresCredentials

        from pipelines.confined import confined

        try:
            with confined("destination", "postgres"):
                return resolve_configuration(PostgresCredentials(), sections=("destination", "postgres", "credentials"))
        except (ConfigurationException, ValueError):  # what it says may hold the password
            raise ConfigurationError(
                "no usable credentials: set destination.postgres.credentials in .dlt/secrets.toml, for example "
                '"postgresql://user:password@host:5432/database"'
            ) from None

    @property
    def place(self) -> str:
        """Where it lies, without secrets."""
        found = self._credentials
        return f"postgres {found.host}:{found.port}/{found.database}"

    def _connect(self, *, read_only: bool) -> Connection:
        return Connection(self._credentials.to_native_representation(), self.place, read_only=read_only)

    def connect_readonly(self) -> Connection:
        """Open a connection for readers, in UTC."""
        connection = self._connect(read_only=True)
        # Not information_schema, which does not show what one may not read.
        sql = "select 1 from pg_class where relnamespace = to_regnamespace(?) and relname = 'sync_runs'"
        if not connection.execute(sql, [SCHEMA]).fetchall():
            connection.close()
            raise NoWarehouseError(f"there is no warehouse in {self.place} yet: run apiframe-warehouse sync")
        return connection

    @contextlib.contextmanager
    def lock(self, wait: float) -> Iterator[None]:
        """Hold this warehouse for one sync: the working folder by a file, the database by an advisory lock.

        The lock belongs to the session, so that it ends with the connection, however that ends.
        """
        with super().lock(wait):
            connection = self._connect(read_only=False)
            try:
                until = time.monotonic() + wait
                # Asked again and again: a statement that waits would not let an interrupt through.
                while not connection.execute(f"select pg_try_advisory_lock({LOCK})").fetchall()[0][0]:
                    if time.monotonic() > until:
                        raise self._busy(wait)
                    time.sleep(0.1)
                self._connection = connection
                yield
                with contextlib.suppress(PostgresError):  # at once: the end of a session takes a moment
                    connection.execute(f"select pg_advisory_unlock({LOCK})")
            finally:
                self._connection = None
                connection.close()

    @contextlib.contextmanager
    def open(self) -> Iterator[Warehouse]:
        """Use the connection that holds the lock; see to it that this user may create what is needed."""
        self._discard_working_folder()
        for schema in (SCHEMA, STAGING, "reports"):
            exists, allowed = self.query(
                "select to_regnamespace(?) is not null, case when to_regnamespace(?) is null then "
                "has_database_privilege(current_database(), 'create') else has_schema_privilege(?, 'create') end",
                [schema, schema, schema],
            )[0]
            if not allowed:
                raise ConfigurationError(
                    f"{self.place}: this user may not create {'tables in ' if exists else ''}schema {schema}; "
                    f"grant create on {'schema ' + schema if exists else 'the database'}"
                )
            if not exists:
                self.query(f"create schema {schema}")
        yield Warehouse(self.query)

    def query(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""
        assert self._connection is not None  # noqa: S101 - the lock is held
        return self._connection.execute(sql, parameters or None).fetchall()

    def _descriptions(self) -> list[tuple[str, str, str | None]]:
        return self.query(
            """
            with places as (
                select attrelid as oid, attnum as number, attname::varchar as name from pg_attribute
                where attnum > 0 and not attisdropped
                union all select oid, 0, '' from pg_class
            )
            select relname, name, case when pg_has_role(relowner, 'usage') then coalesce(description, '') end
            from pg_class as tables join places using (oid) left join pg_description as words
                on words.objoid = tables.oid and words.objsubid = number and words.classoid = 'pg_class'::regclass
            where relnamespace = to_regnamespace(?) and relkind in ('r', 'p')
            """,
            [SCHEMA],
        )

    def _destination(self) -> Any:
        from dlt.destinations import postgres
        from dlt.destinations.impl.postgres.factory import PostgresTypeMapper

        class VerbatimJson(PostgresTypeMapper):
            """JSON as the API served it: jsonb would sort its keys, and refuse some."""

            def to_destination_type(self, column: Any, table: Any) -> str:
                if column["data_type"] == "json":
                    return "json"
                return str(super().to_destination_type(column, table))

        return postgres(
            credentials=self._credentials,
            type_mapper=VerbatimJson,
            preferred_loader_file_format="csv",  # three times as fast as INSERT
            loader_file_format_selector=None,
        )

    def storable(self, rows: list[Row]) -> list[Row]:
        """Keep in `extra` the texts that Postgres, or dlt's way to it, cannot hold in their column."""
        return [_storable(row) if _unfit(row) else row for row in rows]

    def _text(self, value: object) -> str:
        return str(value).replace("\0", "")  # Postgres has none

    def load(self, pipeline: dlt.Pipeline, tables: Callable[[], Iterable[pa.Table]]) -> None:
        """Load Arrow tables of jobs in one package, and see to the indexes that jobs are looked up by."""
        super().load(pipeline, tables)
        if not self.query("select 1 from pg_indexes where schemaname = ? and indexname = 'jobs_id'", [SCHEMA]):
            # dlt repeats an insert where the connection broke before its commit was confirmed.
            self.query(
                f"delete from {SCHEMA}.jobs as twin using {SCHEMA}.jobs as job "
                "where twin.id = job.id and twin.ctid > job.ctid"
            )
            self.query(f"create unique index jobs_id on {SCHEMA}.jobs (id)")
        for name, what in INDEXES.items():
            self.query(f"create index if not exists {name} on {SCHEMA}.jobs {what}")

    def checked_views(self) -> reports.Definitions:
        """Return the views to make, as far as files and macros tell; the database is the judge of the rest."""
        return reports.configured(self.settings, "postgres")

    def create_views(self, views: reports.Definitions) -> list[str]:
        """Make schema `reports` hold our views; grants on them and views of others that use them stay.

        Returns a note for each of the user's own that Postgres does not take.
        """
        return _Views(self, views).make()

    def publish(self) -> None:
        """Do nothing: what was loaded is served."""

    def size_bytes(self, connection: Any) -> int:
        """Return the size of the jobs with their indexes."""
        return int(connection.execute(f"select pg_total_relation_size('{SCHEMA}.jobs')").fetchall()[0][0])


class _Views:
    """The views of schema `reports`, among which others may have theirs: ours are known by their comments."""

    def __init__(self, store: PostgresStore, wanted: reports.Definitions) -> None:
        self._store = store
        self._wanted = wanted
        self._comments = wanted.comments
        found = dict(
            store.query(
                "select relname, obj_description(oid, 'pg_class') from pg_class "
                "where relnamespace = 'reports'::regnamespace and relkind = 'v'"
            )
        )
        self._made = {name: comment for name, comment in found.items() if re.search(reports.MADE, comment or "")}
        self._others = found.keys() - self._made.keys()

    def make(self) -> list[str]:
        """Make those that do not stand yet; returns a note for each that had to be left out, or left as it was."""
        wanted, comments = self._wanted.views, self._comments
        if any(self._made.get(view.name) != comments[view.name] for view in wanted if not view.own):
            self._make_ours()
        notes = []
        for name in sorted(self._made.keys() - comments.keys()):
            notes.extend(self._drop(name))
        for view in wanted:
            if view.own and self._made.get(view.name) != comments[view.name]:
                notes.extend(self._make_own(view))
        return notes

    def _statements(self, view: reports.View) -> list[str]:
        create = f"create or replace view reports.{view.name} as {self._wanted.queries[view.name]}"
        return [create, *reports.describe(view, self._comments[view.name])]

    def _make_ours(self) -> None:
        """Make our views, all or nothing."""
        ours = [view for view in self._wanted.views if not view.own]
        statements = [text for view in ours for text in self._statements(view)]
        try:
            self._all_or_nothing(statements)
        except PostgresError as problem:  # their columns have changed
            if isinstance(problem.__cause__, psycopg2.errors.InvalidParameterValue):
                zone = self._store.settings.timezone
                raise ConfigurationError(f"reports.timezone = {zone!r}: {problem}") from None
            names = sorted({*(view.name for view in ours), *self._made})
            every = ", ".join(f"reports.{name}" for name in names)
            self._all_or_nothing([f"drop view if exists {every}", *statements])
            self._made = {}

    def _make_own(self, view: reports.View) -> list[str]:
        """Make a view of the user's own, or return a note why it is left out."""
        if view.name in self._others:
            problem = f"somebody else has a view {view.name} in {self._store.place}"
            return [reports.left_out(reports.mistake(view, problem))]
        create, *comments = self._statements(view)
        with contextlib.suppress(ApiframeWarehouseError):
            self._all_or_nothing([create, *comments])
            return []
        try:  # its columns may have changed
            self._all_or_nothing([f"drop view if exists reports.{view.name}; {create}", *comments])
        except ApiframeWarehouseError as problem:
            told = reports.mistake(view, str(problem.__cause__ or problem))
            return [reports.left_out(told), *self._drop(view.name)]
        return []

    def _drop(self, name: str) -> list[str]:
        """Drop a view that is no longer wanted, unless somebody else's needs it."""
        try:
            self._store.query(f"drop view if exists reports.{name}")
        except ApiframeWarehouseError as problem:
            return [f"the view reports.{name} stays as it was: {problem}"]
        return []

    def _all_or_nothing(self, statements: list[str]) -> None:
        with self._store.transaction():
            self._store.query(";\n".join(statements))


def _unfit(row: Row) -> bool:
    texts = (row.status, row.model, row.error, row.webhook_status)
    return "" in texts or any(text is not None and "\0" in text for text in texts)


def _storable(row: Row) -> Row:
    unfit = {
        column: text for column in TEXTS if (text := getattr(row, column)) is not None and (not text or "\0" in text)
    }
    extra = json.loads(row.extra) if row.extra else {}
    extra |= {TEXTS[column]: text for column, text in unfit.items()}
    fit: dict[str, Any] = dict.fromkeys(unfit)
    return row._replace(**fit, extra=encode(dict(sorted(extra.items()))))


class _Result(NamedTuple):
    """What a statement gave, in the words of a DuckDB relation."""

    columns: Sequence[Any]
    rows: list[tuple[Any, ...]]

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self.rows

    def to_arrow_table(self) -> pa.Table:
        import pyarrow as pa

        types = {
            16: pa.bool_(),
            **dict.fromkeys((20, 21, 23), pa.int64()),
            **dict.fromkeys((700, 701), pa.float64()),
            1082: pa.date32(),
            1114: pa.timestamp("us"),
            1184: pa.timestamp("us", tz="UTC"),
        }
        places = list(zip(*self.rows, strict=True)) if self.rows else [()] * len(self.columns)
        arrays = []
        for column, values in zip(self.columns, places, strict=True):
            kind = types.get(column.type_code)
            if kind is None and column.type_code != 1700:
                kind, values = pa.string(), tuple(None if value is None else str(value) for value in values)
            if kind is None and all(value is None for value in values):
                kind = pa.decimal128(38, 4)
            arrays.append(pa.array(values, kind))
        return pa.Table.from_arrays(arrays, names=[column.name for column in self.columns])


class Connection:
    """A Postgres connection with as much of DuckDB's interface, and of its SQL, as this project uses.

    Every statement stands alone unless `begin` was run. Errors are this project's and DuckDB's at once.
    """

    engine: reports.Engine = "postgres"

    def __init__(self, dsn: str, place: str, *, read_only: bool) -> None:
        self.place = place
        try:
            self._connection = psycopg2.connect(dsn, application_name="apiframe-warehouse")
        except psycopg2.Error as problem:
            reason = _reason(problem)
            kind = ConfigurationError if REFUSED.search(reason) else ApiframeWarehouseError
            raise kind(f"cannot connect to {place}: {reason}") from None
        with self._errors():
            self._connection.set_session(readonly=read_only, autocommit=True)
            self._connection.set_client_encoding("UTF8")
            psycopg2.extras.register_default_json(self._connection, loads=str)
            psycopg2.extras.register_default_jsonb(self._connection, loads=str)
            self.execute("set timezone = 'UTC'")
            self.execute("set jit = off")  # it compiles for seconds what then runs for half a one

    def execute(self, sql: str, parameters: Sequence[object] | Mapping[str, object] | None = None) -> _Result:
        """Run a statement of this project; `?` and `$name` are parameters, times are as in DuckDB."""
        return self._run(_translate(sql, parameters), parameters)

    def interrupt(self) -> None:
        """End the statement that another thread is running."""
        self._connection.cancel()

    def sql(self, query: str, params: Mapping[str, object] | None = None) -> _Result:
        """Run a statement that gives rows."""
        return self._run(_translate(query, params), params)

    def read(self, query: str) -> _Result:
        """Run anyone's SQL: one statement that gives rows, in a transaction that it can neither end nor let write.

        As a cursor's, since a text with `commit` in it could begin another. Values are exact.
        """
        with self._errors(), self._connection.cursor() as cursor:
            psycopg2.extensions.register_type(AS_TEXT, cursor)
            cursor.execute("begin read only; set local cursor_tuple_fraction = 1")  # all rows are wanted
            try:
                cursor.execute(f"do {_quoted(OPENING.format(_quoted(query)))}")
                cursor.execute("fetch all from apiframe_query")
                columns, rows = cursor.description or (), cursor.fetchall()
            finally:
                with contextlib.suppress(psycopg2.Error):  # what broke is told
                    cursor.execute("rollback")
        texts = zip(*rows, strict=True)  # none where there is no row
        places = [_read(READ.get(column.type_code), next(texts, ())) for column in columns]
        return _Result(columns, list(zip(*places, strict=True)))

    def _run(self, sql: str, parameters: Sequence[object] | Mapping[str, object] | None) -> _Result:
        with self._errors(), self._connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            return _Result(cursor.description or (), cursor.fetchall() if cursor.description else [])

    def close(self) -> None:
        """Close it, and give back its lock."""
        with contextlib.suppress(psycopg2.Error):
            self._connection.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except psycopg2.errors.InsufficientPrivilege as problem:
            raise ConfigurationError(f"{self.place}: {_reason(problem)}; grant it to this user") from problem
        except (psycopg2.errors.UndefinedTable, psycopg2.errors.UndefinedColumn) as problem:
            raise MissingError(_reason(problem)) from problem
        except psycopg2.errors.InvalidCursorDefinition as problem:
            raise PostgresError(f"one statement that reads, please ({_reason(problem)})") from problem
        except psycopg2.OperationalError as problem:
            raise PostgresError(f"{self.place}: {_reason(problem)}; nothing is lost, run again") from problem
        except psycopg2.Error as problem:
            raise PostgresError(f"{self.place}: {_reason(problem)}") from problem


def _quoted(text: str) -> str:
    return "E" + reports.literal(text.replace("\\", "\\\\"))  # whatever standard_conforming_strings says


def _read(reader: Callable[[str], Any] | None, texts: Sequence[str | None]) -> list[Any]:
    if reader is None:
        return list(texts)

    def read(text: str | None) -> Any:
        try:
            return None if text is None else reader(text)
        except (ValueError, OverflowError):
            return text

    return [read(text) for text in texts]


def _translate(sql: str, parameters: Sequence[object] | Mapping[str, object] | None) -> str:
    inner = r"\(((?:[^()]|\([^()]*\))*)\)"
    sql = re.sub(rf"\bepoch_us{inner}", r"cast(extract(epoch from \1) * 1000000 as bigint)", sql)
    sql = re.sub(rf"\bmake_timestamp{inner}", r"(timestamptz 'epoch' + \1 * interval '1 microsecond')", sql)
    if not parameters:
        return sql
    sql = sql.replace("%", "%%")
    return re.sub(r"\$(\w+)", r"%(\1)s", sql) if isinstance(parameters, Mapping) else sql.replace("?", "%s")


def _reason(problem: Exception) -> str:
    lines = str(problem).strip().splitlines() or [type(problem).__name__]
    return re.sub(r"^(connection to server .*? failed: )?((ERROR|FATAL): +)?", "", lines[0])


STORE = PostgresStore
