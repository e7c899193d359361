"""What was out of the ordinary, and against which range."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import duckdb
import pandas as pd

from pipelines import charts
from pipelines.charts import Chart, Width
from pipelines.errors import ApiframeWarehouseError
from pipelines.pages import Asked, Column, Section, Table
from pipelines.reports import queries
from pipelines.reports.episodes import REASONS, SPEND, Episode, about, episodes
from pipelines.reports.queries import NO_VIEWS
from pipelines.wording import counted, exact, money, number

MOST_NAMED = 3
DAYS = """
select
    day,
    sum({double(coalesce(actual, 0))}) as credits,
    sum({double(coalesce(expected, actual, 0))}) as expected,
    sqrt(sum({double(power(expected - low, 2))})) as below,
    sqrt(sum({double(power(high - expected, 2))})) as above,
    max(case when is_unusual then 1 else 0 end) as is_unusual,
    max(case when is_running then 1 else 0 end) as is_running
from reports.daily_expected
where day between $first and $last
group by day
order by day
"""


class Found(NamedTuple):
    """The days with what was expected of them, and the episodes that reach them."""

    days: pd.DataFrame
    episodes: list[Episode]


class Unusual(Section):
    """Credits a day of all models before the range that was expected, and what was unusual; data: Found.

    The range of a day is that of its models together, each of them off by chance of its own. Days are those of
    reports.timezone, whatever the page counts in.
    """

    pages = ("report", "credit_spend")
    place = 21
    heading = "Spend"
    title = "Credits per day, and what was expected"
    question = "What was out of the ordinary?"
    of_account = True

    @classmethod
    def load(cls, connection: duckdb.DuckDBPyConnection, asked: Asked) -> Found | None:
        period = asked.period
        if period.scope == "user":  # the views go by all that is held
            return None
        days = queries.frame(connection, DAYS, period)
        try:
            return Found(days, episodes(connection, period.first, period.last)) if len(days) else None
        except (duckdb.CatalogException, duckdb.BinderException):
            raise ApiframeWarehouseError(NO_VIEWS) from None

    def chart(self, width: Width) -> Chart | None:
        days = self.data.days
        if self.asked.unit != "day" or days["above"].isna().all():
            return None
        data = days.assign(low=(days["expected"] - days["below"]).clip(lower=0), high=days["expected"] + days["above"])
        return charts.expected(data, "credits per day", width)

    def sentence(self) -> str:
        days, found = self.data
        if days["above"].isna().all():
            return "It takes six weeks of a model before a day of it can be called unusual."
        what = "The grey range is where four days of five are to be expected, by the weeks before. "
        shown = what if self.asked.unit == "day" else ""
        if not found:
            return f"{shown}No day was unusual."
        named = "; ".join(episode.told() for episode in found[:MOST_NAMED])
        if len(found) > MOST_NAMED:
            named = f"{counted(len(found), 'episode')}, the largest first: {named}"
        return f"{shown}Unusual: {named}."

    def table(self) -> Table | None:
        found = self.data.episodes
        if not found:
            return None
        seen, wanted = zip(*map(_figures, found), strict=True)
        columns = [
            Column("From", map(str, _column(found, "first_day"))),
            Column("To", map(str, _column(found, "last_day"))),
            Column("Model", self.asked.names(episode.model for episode in found)),
            Column("What", [REASONS[episode.reason] for episode in found]),
            Column("Seen", seen),
            Column("Expected", wanted),
            Column("Credits", [episode.impact for episode in found], lambda impact: exact(impact, "+", 2)),
        ]
        if any(episode.cost_impact is not None for episode in found):
            columns.append(Column("Cost", [money(each.cost_impact, each.currency) for each in found], str))
        return Table("What was unusual, the largest first", columns)


def _column(found: list[Episode], name: str) -> list[date]:
    return [getattr(episode, name) for episode in found]


def _figures(episode: Episode) -> tuple[str, str]:
    """Return what was seen of the model and what was expected, in the unit that is meant."""
    if episode.kind in SPEND:
        return f"{about(episode.actual)} credits", f"{about(episode.expected)} credits"
    return f"{counted(int(episode.actual), 'job')} failed", f"{number(float(episode.expected), 1)} failed"
