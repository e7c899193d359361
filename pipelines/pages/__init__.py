"""Sections of the pages people read: one file each in this folder, found by listing it, named by nobody.

A section is a question and what answers it: figures, a chart, a sentence, a table. `pipelines.report` and
`pipelines.notebook` are the frames around those that name their page; they know nothing of any one section.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

import duckdb
import pandas as pd

from pipelines.charts import Chart, Width
from pipelines.errors import ApiframeWarehouseError
from pipelines.palette import GREY, colours
from pipelines.reports import queries
from pipelines.reports.queries import Extent, Period
from pipelines.settings import NO_BUDGET, Budget
from pipelines.wording import label, labels, missing


class Running(NamedTuple):
    """A day, week or month that still runs, or did at the last good sync: known up to `until`, on local clocks."""

    start: date
    unit: str
    until: datetime

    def told(self, drawn: bool) -> str:
        """Say so, and that its bar is pale where one is drawn."""
        which = f"{self.start}" if self.unit == "day" else f"the {self.unit} from {self.start}"
        until = f"{self.until:%H:%M}" if self.unit == "day" else f"{self.until:%Y-%m-%d %H:%M}"
        return f"Of {which} only what came up to {until} is known{': its bar is pale' if drawn else ''}."


@dataclass(frozen=True)
class Asked:
    """What a page is asked for: a period, in bars of a `unit`, seen `now`, of a warehouse that covers `known`.

    `budget` is that of a calendar month.
    """

    period: Period
    unit: str
    now: datetime
    known: Extent
    budget: Budget = NO_BUDGET
    _counted: dict[tuple[str, ...], pd.DataFrame] = field(default_factory=dict, compare=False, repr=False)
    _until: list[datetime] = field(default_factory=list, compare=False, repr=False)

    def summary(self, connection: duckdb.DuckDBPyConnection, *by: str) -> pd.DataFrame:
        """Return `queries.summary` of the period; sections that ask for the same share it."""
        for needed in (by, ()):
            if needed not in self._counted:
                self._counted[needed] = queries.summary(connection, self.period, *needed)
        return self._counted[by]

    @property
    def total(self) -> pd.Series[Any]:
        """The summary of the whole period, where any was asked for."""
        return self._counted[()].iloc[0]

    def until(self, connection: duckdb.DuckDBPyConnection) -> datetime:
        """Return up to when jobs are known, on the clocks of the period's zone."""
        if not self._until:
            self._until.append(queries.known_until(connection, self.now, self.period.timezone, self.period.scope))
        return self._until[0]

    def running(self, connection: duckdb.DuckDBPyConnection) -> Running | None:
        """Return the unit of the period that was not over then; None where the period was."""
        until = self.until(connection)
        day = until.date()
        if not self.period.first <= day <= self.period.last:
            return None
        back = {"day": 0, "week": day.weekday(), "month": day.day - 1}[self.unit]
        return Running(day - timedelta(days=back), self.unit, until)

    @cached_property
    def _names(self) -> dict[Any, str]:
        models = [None if missing(model) else model for model in self.known.models]
        return dict(zip(models, labels(models), strict=True))

    def names(self, models: Iterable[Any]) -> list[str]:
        """Label models as every table of the page does."""
        return [self._names.get(None if missing(model) else model) or label(model) for model in models]

    @cached_property
    def _colours(self) -> Mapping[Any, str]:
        return colours(None if missing(model) else model for model in self.known.appeared)

    def colours(self, models: Iterable[Any]) -> list[str]:
        """Return the colour of each model, the same on every page; one the warehouse does not know is grey."""
        return [self._colours.get(None if missing(model) else model, GREY) for model in models]

    def shown(self) -> list[str]:
        """Say which jobs count, where these are not all that there are: their scope, their labels."""
        period, words = self.period, []
        if period.scope is not None:
            read, theirs = self.known.scopes.get(period.scope), "The team's jobs, your own among them"
            others = "" if period.scope == "team" else "; those of the team are held too"
            words.append(
                f"{theirs if period.scope == 'team' else 'Your own jobs'} (scope {period.scope})"
                f"{f', last read {read} UTC' if read else ''}{others}."
            )
        for name, values in period.labels:
            words.append(f"Only jobs with {label(name)} = {' or '.join(map(label, values))}.")
        return words

    def since(self, moment: datetime) -> float:
        """Return the seconds that have passed since; none where the clock that gave it is ahead of ours."""
        return max(0.0, (self.now - moment).total_seconds())


class Card(NamedTuple):
    """One figure with its title and a note, as text."""

    title: str
    value: str
    note: str = ""


class Column(NamedTuple):
    """A column of a table. `write` makes a figure text; without it the values are words."""

    title: str
    values: Iterable[Any]
    write: Callable[[Any], str] | None = None

    def text(self, value: Any) -> str:
        """Return a value of it as text."""
        return self.write(value) if self.write else str(value)


class Table(NamedTuple):
    """Rows under a caption; words are labelled already, a page only escapes them.

    `total` has a value for each column, None where none is to be seen: a last row of the report.
    """

    caption: str
    columns: list[Column]
    total: tuple[Any, ...] = ()
    most: int = 25  # rows in the report; the rest is summed up in a line under it

    def rows(self) -> list[tuple[Any, ...]]:
        """Return its rows of values."""
        return list(zip(*(column.values for column in self.columns), strict=True))


class Section:
    """A question and its answer: `load` asks the warehouse, all else says what came of it. Text is plain text."""

    pages: tuple[str, ...]  # which show it: "report", and the notebooks by their names
    place: int  # among the sections of a page, the lowest first
    heading = ""  # in the report, over it and its neighbours with the same heading
    title = ""  # of its chart; {unit} is day, week or month
    question = ""  # over it in a notebook, where that is not the title
    by: tuple[str, ...] = ()  # of the summary that it is made of, where it is
    of_account = False  # about the account as a whole: left out where some models or labels alone are asked for

    def __init__(self, asked: Asked, data: Any) -> None:
        self.asked = asked
        self.data = data
        self.name = type(self).__module__.rpartition(".")[2]
        self.title = self.title.format(unit=asked.unit)
        self.question = self.question or self.title

    @classmethod
    def load(cls, connection: duckdb.DuckDBPyConnection, asked: Asked) -> Any:
        """Return the data it is made of: the summary of the period, unless it asks for something else.

        None leaves the section out: there is nothing that it could be about.
        """
        return asked.summary(connection, *(by.format(unit=asked.unit) for by in cls.by))

    def cards(self) -> list[Card]:
        """Figures that stand out."""
        return []

    def chart(self, width: Width) -> Chart | None:
        """Return a chart, None where there is nothing to draw."""
        return None

    def sentence(self) -> str:
        """What to take from it."""
        return ""

    def table(self) -> Table | None:
        """Return a table, None where it would have no rows."""
        return None


class Unanswered(Section):
    """What stands in the place of a section whose question failed; its data is why."""

    def __init__(self, failed: type[Section], asked: Asked, problem: ApiframeWarehouseError) -> None:
        self.heading, self.title, self.question = failed.heading, failed.title, failed.question
        super().__init__(asked, str(problem))

    def sentence(self) -> str:
        """Why there is nothing to see."""
        return f"Not available: {self.data}"


def sections(page: str) -> list[type[Section]]:
    """Return the sections of a page in their order."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    found = [
        kind
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Section) and kind.__module__ == module.__name__
    ]
    return sorted((kind for kind in found if page in kind.pages), key=lambda kind: (kind.place, kind.__module__))


def answers(page: str, connection: duckdb.DuckDBPyConnection, asked: Asked) -> Iterator[Section]:
    """Ask the questions of a page; one that fails leaves the others."""
    for kind in sections(page):
        if kind.of_account and asked.period.is_part:
            continue
        try:
            if (data := kind.load(connection, asked)) is not None:
                yield kind(asked, data)
        except ApiframeWarehouseError as problem:
            yield Unanswered(kind, asked, problem)
