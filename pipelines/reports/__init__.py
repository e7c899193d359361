"""The views of schema `reports`: one SQL file each, created here with their descriptions.

A file starts with its description (grain first), the tables and views it needs, and its columns; descriptions
also become COMMENT ON in the database. What differs between engines is written as a macro, for example
`{local_day(created_at)}`; `macros` has them all. Importing this loads nothing heavy, since every sync does.
"""

import contextlib
import csv
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Literal

import duckdb

from pipelines.errors import ApiframeWarehouseError, ConfigurationError

FOLDER = Path(__file__).parent
ERROR_CLASSES = FOLDER / "error_classes.csv"
MOST_RULES = 1000
UNKNOWN_REASON = "unknown"


Macros = dict[str, Callable[..., str]]
Engine = Literal["duckdb", "postgres", "spark"]


@dataclass(frozen=True)
class View:
    """A view as its file has it, macros not yet replaced."""

    name: str
    description: str
    engine: str | None
    needs: frozenset[str]
    columns: dict[str, str]
    query: str


def create_views(connection: duckdb.DuckDBPyConnection, timezone: str, error_classes: Path | None = None) -> None:
    """Make schema `reports` hold exactly our views, all or nothing; where it does already, do nothing.

    `timezone` is the one whose days count; `error_classes` a CSV file to use in place of ours, if it exists.
    Raises ConfigurationError for a time zone DuckDB does not know and for a CSV file that is none.
    """
    views, queries, comments = definitions(timezone, error_classes)
    present = connection.execute(
        "select view_name, comment from duckdb_views() "
        "where schema_name = 'reports' and database_name = current_database()"
    ).fetchall()
    if dict(present) == comments:
        return
    if not connection.execute("select 1 from pg_timezone_names() where name = ?", [timezone]).fetchall():
        raise ConfigurationError(f"reports.timezone = {timezone!r}: DuckDB does not know this time zone")
    statements = ["drop schema if exists reports cascade", "create schema reports"]
    for view in views:
        statements.append(f"create view reports.{view.name} as {queries[view.name]}")
        statements.extend(describe(view, comments[view.name]))
    connection.execute("begin")
    try:
        connection.execute(";\n".join([*statements, "commit"]))
    except duckdb.Error as problem:
        with contextlib.suppress(duckdb.Error):  # a commit that failed has ended it
            connection.execute("rollback")
        raise ApiframeWarehouseError(f"cannot create the views: {problem}") from problem


def definitions(
    timezone: str, error_classes: Path | None = None, engine: Engine = "duckdb"
) -> tuple[list[View], dict[str, str], dict[str, str]]:
    """Return the views of an engine, their queries and their comments, which change with any definition."""
    words = macros(timezone, read_rules(error_classes), engine)
    views = read_views(engine)
    queries = {view.name: render(view.query, words) for view in views}
    version = hashlib.sha256(repr([(view.description, view.columns) for view in views]).encode())
    version.update(repr(queries).encode())
    comments = {view.name: f"{view.description} (definition {version.hexdigest()[:12]})" for view in views}
    return views, queries, comments


def describe(view: View, comment: str) -> list[str]:
    """Return the statements that store what a view and its columns mean."""
    return [
        f"comment on view reports.{view.name} is {literal(comment)}",
        *(
            f"comment on column reports.{view.name}.{column} is {literal(text)}"
            for column, text in view.columns.items()
        ),
    ]


def engine_of(connection: Any) -> Engine:
    """Return which engine's words a connection understands."""
    engine: Engine = getattr(connection, "engine", "duckdb")
    return engine


def read_views(engine: Engine = "duckdb") -> list[View]:
    """Read every view that an engine can have, each after those it needs.

    A query that is not common to all engines has a variant, `variants/<view>.<engine>.sql`, or is left out.
    """
    views = {file.stem: _read_view(file) for file in sorted(FOLDER.glob("*.sql"))}
    for name, view in list(views.items()):
        variant = FOLDER / "variants" / f"{name}.{engine}.sql"
        if variant.exists():
            query = re.sub(r"^--.*\n", "", variant.read_text(encoding="utf-8"), flags=re.MULTILINE)
            views[name] = replace(view, engine=engine, query=query.strip())
        elif view.engine not in (None, engine):
            del views[name]
    order = TopologicalSorter(
        {
            name: sorted(need.removeprefix("reports.") for need in view.needs if need.startswith("reports."))
            for name, view in views.items()
        }
    )
    return [views[name] for name in order.static_order()]


def _read_view(file: Path) -> View:
    head, query = re.fullmatch(r"((?:--.*\n)+)([\s\S]*)", file.read_text(encoding="utf-8")).groups()  # type: ignore[union-attr]
    lines = [line[2:].strip() for line in head.splitlines()]
    columns_at = lines.index("Columns:")
    marked = dict(line.split(": ", 1) for line in lines[:columns_at] if re.match(r"(Engine|Needs): ", line))
    return View(
        name=file.stem,
        description=" ".join(line for line in lines[:columns_at] if not re.match(r"(Engine|Needs): ", line)),
        engine=marked["Engine"].split(" ", 1)[0] if "Engine" in marked else None,
        needs=frozenset(marked["Needs"].split(", ")),
        columns=dict(line.split(": ", 1) for line in lines[columns_at + 1 :]),
        query=query.strip(),
    )


def render(query: str, words: Macros) -> str:
    """Replace every `{name(argument, ...)}` of a query; an argument is SQL without a comma of its own."""

    def expand(found: re.Match[str]) -> str:
        return "(" + words[found[1]](*found[2].split(", ")) + ")"

    return re.sub(r"\{([a-z_]+)\((.*?)\)\}", expand, query, flags=re.DOTALL)


def macros(timezone: str, rules: list[tuple[str, str]], engine: Engine = "duckdb") -> Macros:
    """Return what differs between engines, in the words of one.

    local_day(time): DATE on which the time falls in `timezone`
    seconds(start, end): DOUBLE, from start to end
    double(number): the number as DOUBLE
    failure_reason(error): reason of the first rule whose text the message holds, in any case
    wilson_low(failed, finished), wilson_high(failed, finished): ends of the 95 % interval of the failure rate
    newest(text): the text of the newest job of a group that has one
    """
    common: Macros = {
        "local_day": lambda time: f"cast({time} at time zone {literal(timezone)} as date)",
        # 2.5 times faster than the epoch of the difference
        "seconds": lambda start, end: f"extract(epoch from {end}) - extract(epoch from {start})",
        "double": lambda number: f"cast({number} as double)",
        "failure_reason": partial(_failure_reason, rules),
        "wilson_low": partial(_wilson, "failed", "0", "-"),
        "wilson_high": partial(_wilson, "finished", "1", "+"),
        "newest": lambda text: f"arg_max({text}, (created_at, id))",
    }
    exact = "cast({} as double precision)".format  # Postgres computes with decimals where it is not told otherwise
    if engine == "postgres":
        return common | {
            "seconds": lambda start, end: (
                f"{exact(f'extract(epoch from {end})')} - {exact(f'extract(epoch from {start})')}"
            ),
            "double": exact,
            "wilson_low": partial(_wilson, "failed", "0", "-", number=exact),
            "wilson_high": partial(_wilson, "finished", "1", "+", number=exact),
            "newest": lambda text: (
                f"(array_agg({text} order by created_at desc, id desc) filter (where {text} is not null))[1]"
            ),
        }
    if engine == "spark":
        exact = "cast({} as double)".format
        return common | {
            # Not by way of the session's own local time, in which an hour comes twice a year.
            "local_day": lambda time: (
                f"cast(convert_timezone('UTC', {literal(timezone)}, timestamp_ntz '1970-01-01 00:00:00' "
                f"+ make_dt_interval(0, 0, 0, cast(unix_micros({time}) as decimal(20, 0)) / 1000000)) as date)"
            ),
            "seconds": lambda start, end: (
                f"unix_micros({end}) / {exact('1e6')} - unix_micros({start}) / {exact('1e6')}"
            ),
            "failure_reason": partial(_failure_reason, rules, quote=_spark_literal),
            "wilson_low": partial(_wilson, "failed", "0", "-", number=exact),
            "wilson_high": partial(_wilson, "finished", "1", "+", number=exact),
            "newest": lambda text: f"max_by({text}, struct(created_at, id)) filter (where {text} is not null)",
        }
    return common


def _failure_reason(rules: list[tuple[str, str]], error: str, *, quote: Callable[[str], str] | None = None) -> str:
    quote = quote or literal
    # A chain of cases: joining the rules takes twenty times longer.
    cases = [
        f"when position({quote(text)} in lower(coalesce({error}, ''))) > 0 then {quote(reason)}"
        for text, reason in rules
    ]
    return "\n".join(["case when false then ''", *cases, f"else {literal(UNKNOWN_REASON)} end"])


def _wilson(
    none_of: str, end: str, sign: str, failed: str, finished: str, *, number: Callable[[str], str] = str
) -> str:
    total, none = f"({failed} + {finished})", {"failed": failed, "finished": finished}[none_of]
    squared = 1.959963984540054**2  # of the normal quantile of 97.5 %
    # Where none failed, or none finished, the end is exact: rounding would give 0.9999999999999999.
    return (
        f"case when {total} = 0 then null when {none} = 0 then {end} else "
        f"({failed} + {number(repr(squared / 2))} {sign} sqrt({number(repr(squared))} * "
        f"({number('1e0')} * {failed} * {finished} / nullif({total}, 0) + {number(repr(squared / 4))}))) "
        f"/ ({total} + {number(repr(squared))}) end"
    )


def literal(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def _spark_literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def read_rules(file: Path | None = None) -> list[tuple[str, str]]:
    """Read (text in lower case, reason) from the user's file where there is one, else from ours."""
    file = file if file and file.exists() else ERROR_CLASSES
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = [row for row in csv.reader(lines) if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise ConfigurationError(f"cannot read {file}: {problem}") from None
    if not rows or rows[0] != ["text", "reason"]:
        raise ConfigurationError(f"{file}: the first line must be text,reason")
    if len(rows) > MOST_RULES:
        raise ConfigurationError(f"{file}: at most {MOST_RULES} lines, since every view of failures holds them all")
    for row in rows:
        if len(row) != 2 or not all(cell.strip() for cell in row):
            raise ConfigurationError(f"{file}: a line must hold a text and a reason, not {','.join(row)[:80]!r}")
    return [(text.strip().lower(), reason.strip()) for text, reason in rows[1:]]
