"""Rows as text: a table for people, CSV, JSON and Markdown for programs.

Values are hostile text: what goes to a terminal has no control characters. Credits stay decimals.
"""

import csv
import io
import math
import textwrap
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import orjson

from pipelines.exact import encode, printable

MOST_ROWS = 200  # of a table for people; the other formats have all
NARROWEST = 16  # characters to which a column of text is cut, if its name is not longer
FINEST, LARGEST = 1e-6, 1e15  # floats between these are rounded for people
FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Result(NamedTuple):
    """Column names and rows of Python values."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


def render(result: Result, form: str, width: int | None = None, *, csv_safe: bool = False) -> str:
    """Return a result as text. `form` is table, csv, json or markdown; `width` the columns of the terminal.

    `csv_safe` puts an apostrophe before texts that a spreadsheet would take for a formula. Only a table rounds floats;
    where a terminal is too narrow for it, each row is turned on its side, and nothing is cut.
    """
    if form == "json":
        names = _distinct(result.columns)
        return encode([dict(zip(names, map(_plain, row), strict=True)) for row in result.rows])
    if form == "csv":
        return _csv(result, csv_safe)
    rows = result.rows if form == "markdown" else result.rows[:MOST_ROWS]
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * len(result.columns)
    numeric = [bool(column) and all(map(_is_number, column)) for column in columns]
    texts = [list(map(_text, column)) if form == "markdown" else _for_people(column) for column in columns]
    cells = [list(map(printable, row)) for row in zip(*texts, strict=True)]
    names = [printable(name) for name in result.columns]
    if form == "markdown":
        return _markdown(names, cells, numeric)
    return _table(names, cells, numeric, width, len(result.rows))


def outline(described: Result, width: int) -> str:
    """Return views and tables as text: name and meaning, then a line for each column."""
    lines = []
    for name, column, meaning in described.rows:
        if column is None:
            lines += ["", name, *textwrap.wrap(meaning, width)]
        else:
            lines += textwrap.wrap(f"{column}: {meaning}", width, initial_indent="  ", subsequent_indent="    ")
    return "\n".join(lines[1:])


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, Decimal, type(None)))


def _csv(result: Result, safe: bool) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    cell = _safe if safe else _text
    writer.writerow(map(cell, result.columns))
    writer.writerows(map(cell, row) for row in result.rows)
    return text.getvalue().rstrip("\n")


def _safe(value: Any) -> str:
    """Return a cell that no spreadsheet takes for a formula, by the rule of OWASP (CSV injection): texts alone."""
    text = _text(value)
    return f"'{text}" if isinstance(value, str) and text[:1] in FORMULA else text


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
        least = [
            size if number else min(size, max(len(name), NARROWEST))
            for name, size, number in zip(names, widths, numeric, strict=True)
        ]
        if sum(least) + 2 * (len(least) - 1) > width:
            return _with_rest([_record(names, row, place) for place, row in enumerate(cells, 1)], rows)
        while sum(widths) + 2 * (len(widths) - 1) > width:
            widest = max(range(len(widths)), key=lambda place: widths[place] - least[place])
            widths[widest] -= 1
    lines = [names, ["-" * width for width in widths], *cells]
    text = [
        "  ".join(
            _fit(cell, size).rjust(size) if number else _fit(cell, size).ljust(size)
            for cell, size, number in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    ]
    return _with_rest(text, rows, shown=len(cells))


def _record(names: list[str], cells: list[str], place: int) -> str:
    """Return a row on its side, a column a line."""
    wide = max(map(len, names))
    return "\n".join(
        [
            f"-- {place} " + "-" * wide,
            *(f"{name:{wide}}  {cell}".rstrip() for name, cell in zip(names, cells, strict=True)),
        ]
    )


def _with_rest(lines: list[str], rows: int, shown: int | None = None) -> str:
    shown = len(lines) if shown is None else shown
    more = [f"… {rows - shown:,} more rows (--format csv has all {rows:,})"] if rows > shown else []
    return "\n".join([*lines, *more])


def _fit(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _for_people(column: Sequence[Any]) -> list[str]:
    """Return a column as a table has it: floats to four significant digits, all with as many places."""
    places = max([0, *(_places(f"{value:.{_digits(value)}f}") for value in column if _is_plain(value))])
    return [f"{value:.{places}f}" if _is_plain(value) else _text(value) for value in column]


def _is_plain(value: Any) -> bool:
    return isinstance(value, float) and (not value or FINEST < abs(value) < LARGEST)


def _digits(value: float) -> int:
    """Return the places behind the point that make four significant digits."""
    return max(0, 3 - math.floor(math.log10(abs(value)))) if value else 0


def _places(text: str) -> int:
    return len(text.rstrip("0").partition(".")[2])


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
