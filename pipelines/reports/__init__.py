"""The views of schema `reports`: one SQL file each, created here with their descriptions.

A file starts with its description (grain first), the tables and views it needs, and its columns; descriptions
also become COMMENT ON in the database. What differs between engines is written as a macro, for example
`{local_day(created_at)}`; `macros` has them all. Importing this loads nothing heavy, since every sync does.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import duckdb

from pipelines.errors import ApiframeWarehouseError, ConfigurationError
from pipelines.own_files import read_lines
from pipelines.reports import label_rules
from pipelines.reports.label_rules import LabelRule, read_label_rules
from pipelines.settings import WORTH_SAYING, Impact

if TYPE_CHECKING:
    from pipelines.settings import Settings

FOLDER = Path(__file__).parent
ERROR_CLASSES = FOLDER / "error_classes.csv"
MOST_RULES = 1000  # of a file: the views hold them all
UNKNOWN_REASON = "unknown"
#: The end of the comment of each view that was made from a file.
MADE = r" \(definition [0-9a-f]{12}\)$"


Macros = dict[str, Callable[..., str]]
Engine = Literal["duckdb", "postgres", "spark"]
ENGINES: frozenset[str] = frozenset(get_args(Engine))


@dataclass(frozen=True)
class View:
    """A view as its file has it, macros not yet replaced."""

    name: str
    description: str
    engines: frozenset[str]  # that can have it
    needs: frozenset[str]
    columns: dict[str, str]
    query: str
    file: Path
    line: int  # on which the query starts
    own: bool = False  # the user's


@dataclass(frozen=True)
class Definitions:
    """The views to make, each after those it needs; what is left out of the user's own, and why, is in `notes`."""

    views: list[View]
    queries: dict[str, str]
    notes: list[str]

    @property
    def has_own(self) -> bool:
        """Tell whether any is the user's."""
        return any(view.own for view in self.views)

    @property
    def comments(self) -> dict[str, str]:
        """The comment of each view, which changes with any definition."""
        version = hashlib.sha256(repr([(view.description, view.columns) for view in self.views]).encode())
        version.update(repr(self.queries).encode())
        return {view.name: f"{view.description} (definition {version.hexdigest()[:12]})" for view in self.views}

    def stand_in(self, connection: duckdb.DuckDBPyConnection) -> bool:
        """Tell whether a database holds exactly these."""
        present = connection.execute(
            "select view_name, comment from duckdb_views() "
            "where schema_name = 'reports' and database_name = current_database()"
        ).fetchall()
        return dict(present) == self.comments

    def tried(self, connection: duckdb.DuckDBPyConnection) -> Definitions:
        """Return what of them can be made over the tables of a connection, in which they are made.

        Raises ConfigurationError with file and line where one of ours cannot; the user's are left out.
        """
        connection.execute("create schema if not exists reports")
        views, notes = [], list(self.notes)
        for view in self.views:
            statements = [f"create view reports.{view.name} as {self.queries[view.name]}", *describe(view, "")]
            try:
                for statement in statements:
                    connection.execute(statement)
            except duckdb.Error as problem:
                connection.execute(f"drop view if exists reports.{view.name}")
                if not view.own:
                    raise mistake(view, str(problem)) from None
                notes.append(left_out(mistake(view, str(problem))))
            else:
                views.append(view)
        return Definitions(views, {view.name: self.queries[view.name] for view in views}, notes)


class ViewError(ConfigurationError):
    """The file of a view is wrong, in a line."""

    def __init__(self, file: Path, line: int, reason: str) -> None:
        super().__init__(f"{file}:{line}: {reason}")


def mistake(view: View, told: str) -> ViewError:
    """Return what a database tells of the query of a view, with the line of the file."""
    found = re.search(r"^LINE (\d+):", told, re.MULTILINE)
    return ViewError(view.file, view.line + (int(found[1]) - 1 if found else 0), told.strip().split("\n", 1)[0])


def left_out(problem: Exception) -> str:
    """Return the note that a view of the user's own is left out."""
    return f"a view of your own is left out: {problem}"


def create_views(
    connection: duckdb.DuckDBPyConnection,
    timezone: str,
    error_classes: Path | None = None,
    labels: Path | None = None,
) -> None:
    """Make schema `reports` hold exactly our views, all or nothing; where it does already, do nothing.

    `timezone` is the one whose days count; `error_classes` a CSV file to use in place of ours, if it exists, `labels`
    one of label rules. Raises ConfigurationError for a time zone DuckDB does not know and for a CSV file that is none.
    """
    make_views(connection, definitions(timezone, error_classes, labels=labels), timezone)


def make_views(connection: duckdb.DuckDBPyConnection, found: Definitions, timezone: str) -> bool:
    """Make schema `reports` hold exactly these views, all or nothing; where it does already, do nothing.

    Tells whether anything was made.
    """
    if found.stand_in(connection):
        return False
    if not connection.execute("select 1 from pg_timezone_names() where name = ?", [timezone]).fetchall():
        raise ConfigurationError(f"reports.timezone = {timezone!r}: DuckDB does not know this time zone")
    statements = ["drop schema if exists reports cascade", "create schema reports"]
    comments = found.comments
    for view in found.views:
        statements.append(f"create view reports.{view.name} as {found.queries[view.name]}")
        statements.extend(describe(view, comments[view.name]))
    connection.execute("begin")
    try:
        connection.execute(";\n".join([*statements, "commit"]))
    except duckdb.Error as problem:
        with contextlib.suppress(duckdb.Error):  # a commit that failed has ended it
            connection.execute("rollback")
        raise ApiframeWarehouseError(f"cannot create the views: {problem}") from problem
    return True


def definitions(
    timezone: str,
    error_classes: Path | None = None,
    engine: Engine = "duckdb",
    own: Path | None = None,
    labels: Path | None = None,
    worth: Impact = WORTH_SAYING,
) -> Definitions:
    """Return the views of an engine: ours, then those of the user's own that can be read from the folder `own`.

    `error_classes` and `labels` are the files of the user's rules, where they exist; `worth` is `checks.min_impact`.
    """
    words = macros(timezone, read_rules(error_classes), engine, read_label_rules(labels), worth)
    views = {file.stem: _read_view(file, engine) for file in sorted(FOLDER.glob("*.sql"))}
    queries = {name: _rendered(view, words) for name, view in views.items()}
    notes: list[str] = []
    if own and not own.is_dir() and (own.exists() or own.is_symlink()):
        notes.append(f"{own} is no folder: the views of your own, files in it, are left out")
    for file in sorted(own.glob("*.sql")) if own else ():
        try:
            view = _read_view(file, engine, views)
            queries[view.name] = _rendered(view, words)
            views[view.name] = view
        except ViewError as problem:
            notes.append(left_out(problem))
    order = _in_order({name: view for name, view in views.items() if engine in view.engines}, notes)
    return Definitions(order, {view.name: queries[view.name] for view in order}, notes)


def configured(settings: Settings, engine: Engine = "duckdb") -> Definitions:
    """Return the views as a project has them: with its rules for failures and labels, and those in `.dlt/views`."""
    folder = settings.project / ".dlt"
    errors, labels = folder / "error_classes.csv", folder / "label_rules.csv"
    return definitions(settings.timezone, errors, engine, folder / "views", labels, settings.min_impact)


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
    """Read every view of ours that an engine can have, each after those it needs."""
    views = [_read_view(file, engine) for file in sorted(FOLDER.glob("*.sql"))]
    return _in_order({view.name: view for view in views if engine in view.engines}, [])


def _in_order(views: dict[str, View], notes: list[str]) -> list[View]:
    """Put each view behind those it needs. The user's own that need each other in a circle are left out."""
    while True:
        needs = {
            name: sorted(
                {need.removeprefix("reports.") for need in view.needs if need.startswith("reports.")} & views.keys()
            )
            for name, view in views.items()
        }
        try:
            return [views[name] for name in TopologicalSorter(needs).static_order()]
        except CycleError as problem:
            circle = problem.args[1]
            view = next((views[name] for name in circle if views[name].own), views[circle[0]])
            told = ViewError(view.file, 1, f"views that need each other in a circle: {', '.join(circle)}")
            if not view.own:
                raise told from None
            notes.append(left_out(told))
            views = {name: kept for name, kept in views.items() if name != view.name}


def _read_view(file: Path, engine: Engine, ours: Mapping[str, View] | None = None) -> View:
    """Read the file of a view. With `ours` it is one of the user's own.

    A query that is not common to all engines has a variant, `variants/<view>.<engine>.sql`, or is left out.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", file.stem):
        raise ViewError(file, 1, "the name of a view has small letters, digits and _ alone, and begins with a letter")
    if ours and file.stem in ours:
        raise ViewError(file, 1, f"there is a view {file.stem} already: give the file another name")
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise ViewError(file, 1, f"cannot be read: {problem}") from None
    start = next((place for place, line in enumerate(lines) if not line.startswith("--")), len(lines))
    view = _with_head(file, [line[2:].strip() for line in lines[:start]])
    query = "\n".join(lines[start:])
    variant = FOLDER / "variants" / f"{file.stem}.{engine}.sql"
    if ours is None and variant.exists():
        query, start = variant.read_text(encoding="utf-8"), 0
        view = replace(view, engines=frozenset({engine}), file=variant)
    if not query.strip():
        raise ViewError(file, start + 1, "behind the comments a select is missing")
    blank = len(query) - len(query.lstrip())
    select = query.strip().removesuffix(";")
    return replace(view, query=select, line=start + 1 + query.count("\n", 0, blank), own=ours is not None)


def _with_head(file: Path, head: list[str]) -> View:
    if "Columns:" not in head:
        raise ViewError(file, 1, "it must begin with comments: what a row is, -- Needs: and -- Columns:")
    at = head.index("Columns:")
    marked = dict(line.split(": ", 1) for line in head[:at] if re.match(r"(Engine|Needs): ", line))
    described = " ".join(line for line in head[:at] if not re.match(r"(Engine|Needs):", line))
    if not described or "Needs" not in marked:
        missing = "-- Needs: with the tables and views it reads" if described else "a sentence that says what a row is"
        raise ViewError(file, 1, f"before -- Columns: there must be {missing}")
    columns = {}
    for place, line in enumerate(head[at + 1 :], at + 2):
        found = re.fullmatch(r"([a-z_][a-z0-9_]*): +(.+)", line)
        if not found:
            raise ViewError(file, place, f"{line[:60]!r} must be the name of a column, a colon and what it means")
        columns[found[1]] = found[2]
    return View(
        name=file.stem,
        description=described,
        engines=frozenset(each.split()[0] for each in marked["Engine"].split(", ")) if "Engine" in marked else ENGINES,
        needs=frozenset(re.split(r",\s*", marked["Needs"])),
        columns=columns,
        query="",
        file=file,
        line=1,
    )


def _rendered(view: View, words: Macros) -> str:
    try:
        return render(view.query, words)
    except _BadQueryError as problem:
        raise ViewError(view.file, view.line + view.query.count("\n", 0, problem.position), problem.reason) from None


class _BadQueryError(Exception):
    def __init__(self, position: int, reason: str) -> None:
        super().__init__(reason)
        self.position, self.reason = position, reason


#: What is no code: strings, names in quotes and comments.
_QUOTED = r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/"""
_IN_QUERY = re.compile(_QUOTED + r"|(?P<end>;)|\{(?P<macro>[a-z_]+)\(", re.DOTALL)
_IN_ARGUMENTS = re.compile(_QUOTED + r"|[()\[\]{},]", re.DOTALL)


def render(query: str, words: Macros) -> str:
    """Replace every `{name(argument, ...)}` of a query; an argument is SQL, macros and all."""
    done, at = [], 0
    while found := _IN_QUERY.search(query, at):
        if found["end"] is not None:
            raise _BadQueryError(found.start(), "a view is one select, without a semicolon")
        if (name := found["macro"]) is None:
            done.append(query[at : found.end()])
            at = found.end()
            continue
        done.append(query[at : found.start()])
        arguments, at = _arguments(query, found.end())
        if name not in words:
            raise _BadQueryError(found.start(), f"there is no macro {name}; there are {', '.join(sorted(words))}")
        try:
            inspect.signature(words[name]).bind(*arguments)
        except TypeError as problem:
            raise _BadQueryError(found.start(), f"{{{name}(...)}}: {problem}") from None
        done.append("(" + words[name](*(render(argument, words) for argument in arguments)) + ")")
    return "".join([*done, query[at:]])


def _arguments(query: str, start: int) -> tuple[list[str], int]:
    """Return the arguments of a macro that starts there, and where it ends."""
    arguments, begun, depth, at = [], start, 0, start
    while found := _IN_ARGUMENTS.search(query, at):
        sign, at = found[0], found.end()
        if sign in ("(", "[", "{"):
            depth += 1
        elif depth and sign in (")", "]", "}"):
            depth -= 1
        elif sign in (",", ")") and not depth:
            arguments.append(query[begun : found.start()].strip())
            begun = at
            if sign == ")":
                break
    if not found or query[at : at + 1] != "}":
        raise _BadQueryError(start, "a macro is not closed: {name(argument, ...)}")
    return ([] if arguments == [""] else arguments), at + 1


def macros(
    timezone: str,
    rules: list[tuple[str, str]],
    engine: Engine = "duckdb",
    labelling: Sequence[LabelRule] = (),
    worth: Impact = WORTH_SAYING,
) -> Macros:
    """Return what differs between engines, in the words of one.

    local_time(time): TIMESTAMP that the clocks of `timezone` show then
    local_day(time): DATE on which the time falls there
    seconds(start, end): DOUBLE, from start to end
    double(number): the number as DOUBLE
    cost(amount, price): their exact product, for credits and sums of them
    estimate(number): a DOUBLE of credits as DECIMAL with four digits; what lies between two goes up, on every engine
    each_day(first, last): in a select list, a row for each DATE from one to the other
    worth_saying(impact, day): credits are at least `worth`, where that is a share of what a day was expected to cost
    failure_reason(error): reason of the first rule whose text the message holds, in any case
    wilson_low(failed, finished), wilson_high(failed, finished): ends of the 95 % interval of the failure rate
    newest(text): the text of the newest job of a group that has one
    labels_of_rules(), label_by_rule(label), inputs_for_rules(): see label_rules
    """
    common: Macros = {
        "local_time": lambda time: f"{time} at time zone {literal(timezone)}",
        "local_day": lambda time: f"cast({time} at time zone {literal(timezone)} as date)",
        # 2.5 times faster than the epoch of the difference
        "seconds": lambda start, end: f"extract(epoch from {end}) - extract(epoch from {start})",
        "double": partial(_cast, "double"),
        # DuckDB multiplies within the wider of both types, and two of 18 digits would not fit.
        "cost": lambda amount, price: f"{amount} * cast({price} as decimal(38, 10))",
        # Engines differ in what they make of a half; after this none is left.
        "estimate": lambda number: f"cast(floor(({number}) * 1e4 + 0.500001) / 1e4 as decimal(28, 4))",
        "each_day": partial(_each_day, "unnest(generate_series"),
        "worth_saying": partial(_worth_saying, worth),
        "failure_reason": partial(_failure_reason, rules),
        "wilson_low": partial(_wilson, "failed", "0", "-"),
        "wilson_high": partial(_wilson, "finished", "1", "+"),
        "newest": lambda text: f"arg_max({text}, (created_at, id))",
        **label_rules.macros(labelling, timezone, engine, _spark_literal if engine == "spark" else literal),
    }
    exact = partial(_cast, "double precision")  # Postgres computes with decimals where it is not told otherwise
    if engine == "postgres":
        return common | {
            "seconds": lambda start, end: (
                f"{exact(f'extract(epoch from {end})')} - {exact(f'extract(epoch from {start})')}"
            ),
            "double": exact,
            "each_day": partial(_each_day, "(generate_series"),
            "wilson_low": partial(_wilson, "failed", "0", "-", number=exact),
            "wilson_high": partial(_wilson, "finished", "1", "+", number=exact),
            "newest": lambda text: (
                f"(array_agg({text} order by created_at desc, id desc) filter (where {text} is not null))[1]"
            ),
        }
    if engine == "spark":
        exact = partial(_cast, "double")

        # Not by way of the session's own local time, in which an hour comes twice a year.
        def local_time(time: str) -> str:
            return (
                f"convert_timezone('UTC', {literal(timezone)}, timestamp_ntz '1970-01-01 00:00:00' "
                f"+ make_dt_interval(0, 0, 0, cast(unix_micros({time}) as decimal(20, 0)) / 1000000))"
            )

        return common | {
            "local_time": local_time,
            "local_day": lambda time: f"cast({local_time(time)} as date)",
            "seconds": lambda start, end: (
                f"unix_micros({end}) / {exact('1e6')} - unix_micros({start}) / {exact('1e6')}"
            ),
            "each_day": lambda first, last: f"explode(sequence({first}, {last}, interval '1' day))",
            # A product of more than 38 digits would be rounded.
            "cost": lambda amount, price: f"cast({amount} as decimal(19, 4)) * cast({price} as decimal(18, 10))",
            "failure_reason": partial(_failure_reason, rules, quote=_spark_literal),
            "wilson_low": partial(_wilson, "failed", "0", "-", number=exact),
            "wilson_high": partial(_wilson, "finished", "1", "+", number=exact),
            "newest": lambda text: f"max_by({text}, struct(created_at, id)) filter (where {text} is not null)",
        }
    return common


def _cast(kind: str, number: str) -> str:
    return f"cast({number} as {kind})"


def _each_day(series: str, first: str, last: str) -> str:
    return f"cast({series}(cast({first} as timestamp), cast({last} as timestamp), interval '1 day')) as date)"


def _worth_saying(worth: Impact, impact: str, day: str) -> str:
    return f"abs({impact}) >= {worth.amount:f}{f' * coalesce({day}, 0)' if worth.is_share else ''}"


def _failure_reason(rules: list[tuple[str, str]], error: str, *, quote: Callable[[str], str] | None = None) -> str:
    quote = quote or literal
    # A chain of cases: joining the rules takes twenty times longer.
    cases = [
        f"when position({quote(text)} in lower(coalesce({error}, ''))) > 0 then {quote(reason)}"
        for text, reason in rules
    ]
    return " ".join(["case when false then ''", *cases, f"else {literal(UNKNOWN_REASON)} end"])


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
    lines = read_lines(file if file and file.exists() else ERROR_CLASSES, ("text", "reason"), MOST_RULES)
    return [(text.lower(), reason) for _, (text, reason) in lines]
