"""Ad-hoc SQL on the published file, read-only, rendered for people and programs.

Values are hostile text: what goes to a terminal has no control characters. Credits stay decimals.
"""

import csv
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import duckdb
import orjson
import pyarrow as pa

from pipelines.apiframe.records import encode, printable
from pipelines.errors import ConfigurationError

MOST_ROWS = 200  # of a table for people; the other formats have all
NARROWEST = 4


class Result(NamedTuple):
    """Column names and rows of Python values."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


def run(connection: duckdb.DuckDBPyConnection, sql: str) -> Result:
    """Run SQL and return what the last statement gives. Raises ConfigurationError with DuckDB's own words."""

    def arrow() -> Any:
        relation = connection.sql(sql)
        return relation.to_arrow_table() if relation is not None else None

    try:
        with ThreadPoolExecutor(1) as worker:  # in the main thread DuckDB would not hear Ctrl-C
            running = worker.submit(arrow)
            try:
                table = running.result()
            except KeyboardInterrupt:
                connection.interrupt()
                raise
    except duckdb.Error as problem:
        raise ConfigurationError(f"query: {str(problem).strip().splitlines()[0]}") from None
    if table is None:  # a statement that gives nothing
        return Result([], [])
    columns = [[_span(value) for value in column.to_pylist()] for column in table.columns]
    return Result(table.column_names, list(zip(*columns, strict=True)))


def _span(value: Any) -> Any:
    """Return an interval as the time it spans, a month as 30 days (as DuckDB compares them)."""
    if isinstance(value, pa.MonthDayNano):
        return timedelta(days=30 * value.months + value.days, microseconds=value.nanoseconds // 1000)
    return value


def render(result: Result, form: str, width: int | None = None) -> str:
    """Return a result as text. `form` is table, csv, json or markdown; `width` the columns of the terminal."""
    if form == "json":
        names = _distinct(result.columns)
        return encode([dict(zip(names, map(_plain, row), strict=True)) for row in result.rows])
    if form == "csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(result.columns)
        writer.writerows([_text(value) for value in row] for row in result.rows)
        return text.getvalue().rstrip("\n")
    rows = result.rows if form == "markdown" else result.rows[:MOST_ROWS]
    cells = [[printable(_text(value)) for value in row] for row in rows]
    numeric = [
        bool(rows) and all(isinstance(row[place], (int, float, Decimal, type(None))) for row in rows)
        for place in range(len(result.columns))
    ]
    names = [printable(name) for name in result.columns]
    if form == "markdown":
        rule = ["--:" if number else "---" for number in numeric]
        lines = [[cell.replace("|", "\\|") for cell in line] for line in (names, rule, *cells)]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return _table(names, cells, numeric, width, len(result.rows))


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
    if isinstance(value, Decimal):
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
    if value is None or isinstance(value, (str, int, float, bool, Decimal, orjson.Fragment)):
        return value
    return str(value) if not isinstance(value, timedelta) else value.total_seconds()
