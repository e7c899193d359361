"""Ad-hoc SQL on the published file, read-only, rendered for people and programs.

Values are hostile text: what goes to a terminal has no control characters. Credits stay decimals.
"""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import duckdb
import orjson
import pyarrow as pa

from pipelines.errors import ConfigurationError
from pipelines.exact import encode, printable

MOST_ROWS = 200  # of a table for people; the other formats have all
NARROWEST = 4

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


class Result(NamedTuple):
    """Column names and rows of Python values."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


def run(connection: Any, sql: str) -> Result:
    """Run SQL that only reads and return what the last statement gives, every value exact.

    From then on the connection can write to no file. Raises ConfigurationError with the database's own words.
    """

    def read() -> Result:
        if not isinstance(connection, duckdb.DuckDBPyConnection):  # another engine, with values of its own
            found = connection.read(sql)
            return Result([column.name for column in found.columns], found.rows)
        _only_read(connection, sql)
        relation = connection.sql(sql)
        return _exact(relation) if relation is not None else Result([], [])  # a statement that gives nothing

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
        raise ConfigurationError(f"query: {str(problem).strip().splitlines()[0]}") from None


def _only_read(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Take from the connection every way to write a file that the statements could use.

    DuckDB cannot allow a file to be read and not written. But no select writes one once the configuration is locked
    (or it could log or profile to a file), and what is no select needs none: `copy`, `export`, `attach`, `load`, also
    behind `explain analyze` or `execute`.
    """
    locked = "select current_setting('lock_configuration')"
    if not connection.execute(locked).fetchall()[0][0]:
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


def render(result: Result, form: str, width: int | None = None) -> str:
    """Return a result as text. `form` is table, csv, json or markdown; `width` the columns of the terminal."""
    if form == "json":
        names = _distinct(result.columns)
        return encode([dict(zip(names, map(_plain, row), strict=True)) for row in result.rows])
    if form == "csv":
        return _csv(result)
    rows = result.rows if form == "markdown" else result.rows[:MOST_ROWS]
    cells = [[printable(_text(value)) for value in row] for row in rows]
    columns: Iterable[Sequence[Any]] = zip(*rows, strict=True) if rows else [()] * len(result.columns)
    numeric = [bool(column) and all(map(_is_number, column)) for column in columns]
    names = [printable(name) for name in result.columns]
    if form == "markdown":
        return _markdown(names, cells, numeric)
    return _table(names, cells, numeric, width, len(result.rows))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, Decimal, type(None)))


def _csv(result: Result) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(result.columns)
    writer.writerows([_text(value) for value in row] for row in result.rows)
    return text.getvalue().rstrip("\n")


def _markdown(names: list[str], cells: list[list[str]], numeric: Sequence[bool]) -> str:
    rule = ["--:" if number else "---" for number in numeric]
    lines = [[cell.replace("|", "\\|") for cell in line] for line in (names, rule, *cells)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _distinct(names: list[str]) -> list[str]:
    """Number repeated names (id, id_1), as a join gives them: an object has each key once."""
    distinct: dict[str, None] = {}
    for name in names:
        unused, number = name, 0
        while unused in distinct or (number and unused in names):
            number += 1
            unused = f"{name}_{number}"
        distinct[unused] = None
    return list(distinct)


def _table(names: list[str], cells: list[list[str]], numeric: Sequence[bool], width: int | None, rows: int) -> str:
    widths = [max([len(name), *(len(row[place]) for row in cells)]) for place, name in enumerate(names)]
    if width is not None:
        while sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > NARROWEST:
            widths[widths.index(max(widths))] -= 1
    lines = [names, ["-" * width for width in widths], *cells]
    text = [
        "  ".join(
            _fit(cell, size).rjust(size) if number else _fit(cell, size).ljust(size)
            for cell, size, number in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    ]
    if rows > len(cells):
        text.append(f"… {rows - len(cells):,} more rows (--format csv has all {rows:,})")
    return "\n".join(text)


def _fit(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal) and value.is_finite():
        text = format(value, "f")  # normalize() would round to 28 digits
        return text.partition(".")[0] if value == value.to_integral_value() else text
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec=_precision(value))
    if isinstance(value, (dict, list)):
        return encode(_plain(value))
    return str(value)


def _precision(value: datetime) -> str:
    """Milliseconds are what the API has; finer times, like those of syncs, are not cut."""
    return "auto" if value.microsecond % 1000 else "milliseconds" if value.microsecond else "seconds"


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: decimals as exact numbers, times as ISO text."""
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return Decimal(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)  # JSON has no such numbers
    if isinstance(value, Decimal):
        return value if value.is_finite() else str(value)
    if value is None or isinstance(value, (str, int, bool, orjson.Fragment)):
        return value
    return str(value) if not isinstance(value, timedelta) else value.total_seconds()
