"""Ad-hoc SQL on the warehouse, read-only; every value comes as it is. How it is shown is the matter of `rendering`."""

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from pipelines import reports
from pipelines.errors import ConfigurationError
from pipelines.rendering import Result
from pipelines.settings import Settings
from pipelines.tables import SCHEMA, tables

Found = TypeVar("Found")
#: What a statement may set: everything else could write, or let another statement write.
CHANGEABLE = ("TimeZone", "Calendar", "enable_external_access")
#: Types of which every value arrives as it is.
INTEGERS = ("tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint")
HELD = frozenset((*INTEGERS, "boolean", "float", "double", "decimal", "varchar", "enum", "null"))
#: Types that hold others.
NESTED = frozenset(("list", "array", "map", "struct", "union"))
#: Types that Python has as numbers once it has their digits.
WHOLE = frozenset(("hugeint", "uhugeint", "bignum"))
_TIMES = "{0} between cast('0001-01-02' as {1}) and cast('9999-12-30' as {1})"  # a day less for the zone
#: Types that Python has for some values: {0} is the value, {1} the type. Not for infinity, BC and the year 10000.
WITHIN = {
    "date": "{0} between date '0001-01-01' and date '9999-12-31'",
    "time": "{0} < time '24:00:00'",
    "interval": "extract(year from {0}) = 0 and extract(month from {0}) = 0 "
    "and abs(extract(day from {0})) < 10000 and abs(extract(hour from {0})) < 240000",
    **dict.fromkeys(("timestamp", "timestamp_s", "timestamp_ms", "timestamp with time zone"), _TIMES),
}


def run(connection: Any, sql: str) -> Result:
    """Run SQL that only reads and return what the last statement gives, every value exact.

    Views and tables need no schema: `from daily_spend`, the view where both have the name. From then on the connection
    can write to no file. Raises ConfigurationError with the database's own words.
    """

    def read() -> Result:
        if not isinstance(connection, duckdb.DuckDBPyConnection):  # another engine, with values of its own
            found = connection.read(sql)
            return Result([column.name for column in found.columns], found.rows)
        _only_read(connection, sql)
        relation = connection.sql(sql)
        return _exact(relation) if relation is not None else Result([], [])  # a statement that gives nothing

    return asked(connection, read)


def asked(connection: Any, read: Callable[[], Found]) -> Found:
    """Return what `read` makes of a connection, that Ctrl-C ends; errors of the database are ConfigurationErrors."""
    try:
        with ThreadPoolExecutor(1) as worker:  # in the main thread DuckDB would not hear Ctrl-C
            running = worker.submit(read)
            try:
                return running.result()
            except KeyboardInterrupt:
                connection.interrupt()
                raise
    except duckdb.PermissionException as problem:
        reason = str(problem).strip().splitlines()[0]
        raise ConfigurationError(f"query: it only reads, and files only in a select ({reason})") from None
    except duckdb.Error as problem:
        raise ConfigurationError(f"query: {_told(problem)}") from None


def _told(problem: duckdb.Error) -> str:
    """Return what DuckDB says on one line: the fault, and what it guesses was meant."""
    return " ".join(str(problem).strip().split("\n\n", 1)[0].splitlines())


def described(connection: Any, chosen: Settings) -> Result:
    """Return every view and table with its columns and what they mean: of the whole the column is null."""
    views = reports.configured(chosen, reports.engine_of(connection)).views
    rows = [
        (f"reports.{view.name}", column, text)
        for view in views
        for column, text in [(None, view.description), *view.columns.items()]
    ]
    for table in tables().values():
        rows.append((f"{SCHEMA}.{table.name}", None, table.sentence))
        rows += [(f"{SCHEMA}.{table.name}", column.name, column.comment) for column in table.columns]
    return Result(["name", "column", "meaning"], rows)


def _only_read(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Take from the connection every way to write a file that the statements could use.

    DuckDB cannot allow a file to be read and not written. But no select writes one once the configuration is locked
    (or it could log or profile to a file), and what is no select needs none: `copy`, `export`, `attach`, `load`, also
    behind `explain analyze` or `execute`.
    """
    locked = "select current_setting('lock_configuration')"
    if not connection.execute(locked).fetchall()[0][0]:
        with contextlib.suppress(duckdb.Error):  # where a schema is missing, names need theirs
            connection.execute(f"set search_path = 'reports,{SCHEMA}'")
        connection.execute(
            "set allow_persistent_secrets = false; set autoload_known_extensions = false; "
            f"set allowed_configs = {list(CHANGEABLE)}; set lock_configuration = true"
        )
    if any(statement.type.name not in ("SELECT", "SET") for statement in connection.extract_statements(sql)):
        connection.execute("set enable_external_access = false")  # nothing turns it on again


def _exact(relation: duckdb.DuckDBPyRelation) -> Result:
    """Fetch a relation. What Arrow and Python are not known to hold comes as DuckDB's own text."""
    asked = []
    for place, kind in enumerate(relation.types, 1):
        within, text = WITHIN.get(kind.id), _as_text(kind)
        if within:  # two columns: the value, or its text
            held = within.format(f"#{place}", kind)
            asked += [
                f"case when {held} then #{place} end",
                f"case when not ({held}) then cast(#{place} as varchar) end",
            ]
        else:
            asked.append(f"cast(#{place} as {text})" if text else f"#{place}")
    columns = iter(relation.project(", ".join(asked)).to_arrow_table().columns)
    found: list[list[Any]] = []
    for kind in relation.types:
        values = [_span(value) for value in next(columns).to_pylist()]
        if kind.id in WHOLE:
            values = [value if value is None else Decimal(value) for value in values]
        if kind.id in WITHIN and (texts := next(columns)).null_count < len(texts):
            pairs = zip(values, texts.to_pylist(), strict=True)
            values = [value if text is None else text for value, text in pairs]
        found.append(values)
    return Result(relation.columns, list(zip(*found, strict=True)))


def _as_text(kind: Any) -> str | None:
    """Return the type to which a type must be cast to be held exactly, None for one that already is."""
    if kind.id in HELD:
        return None
    if kind.id not in NESTED:
        return "VARCHAR"
    parts = [(name, part) for name, part in kind.children if kind.id != "array" or name != "size"]
    texts = [_as_text(part) for _, part in parts]
    if any(texts):
        return _nested(kind, [(name, text or str(part)) for text, (name, part) in zip(texts, parts, strict=True)])
    return None if parts else "VARCHAR"


def _nested(kind: Any, parts: list[tuple[str, str]]) -> str:
    """Return a type that holds others, with their types as they are to be cast."""
    if kind.id == "map":
        return f"MAP({', '.join(part for _, part in parts)})"
    if kind.id in ("struct", "union"):
        members = [f"{quoted(name)} {part}" for name, part in parts if name]
        return f"{kind.id}({', '.join(members)})"
    return f"{parts[0][1]}[{dict(kind.children)['size'] if kind.id == 'array' else ''}]"


def quoted(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _span(value: Any) -> Any:
    """Return an interval, which has no months here, as the time it spans."""
    return (
        timedelta(days=value.days, microseconds=value.nanoseconds // 1000)
        if isinstance(value, pa.MonthDayNano)
        else value
    )
