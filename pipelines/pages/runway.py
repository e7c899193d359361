"""What is left of the account's credits, and how long it lasts."""

from __future__ import annotations

from datetime import date, timedelta
from typing import NamedTuple

import duckdb
import pandas as pd

from pipelines import charts
from pipelines.charts import Chart, Width
from pipelines.pages import Asked, Card, Column, Section, Table
from pipelines.reports import engine_of, macros, queries, render, spending
from pipelines.runway import Runway, sentence
from pipelines.wording import clock, exact, number

DAYS = 28  # of readings that are shown
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class Left(NamedTuple):
    """Readings of the last four weeks (read_at by the clocks of the zone, credits), and what follows from them."""

    readings: pd.DataFrame
    runway: Runway


class CreditsLeft(Section):
    """The balance and its runway, whatever the period; data: readings and runway, None where nothing was read."""

    pages = ("report", "credit_spend")
    place = 36
    heading = "Credits left"
    title = "Credits left, and for how long"
    question = "How long do the credits last?"
    of_account = True

    @classmethod
    def load(cls, connection: duckdb.DuckDBPyConnection, asked: Asked) -> Left | None:
        found = spending.runway(connection, asked.period.timezone)
        if found is None:
            return None
        since = (found.at - timedelta(days=DAYS)).isoformat()
        query = (
            "select {local_time(read_at)} as read_at, credits from reports.balance where credits is not null "
            f"and read_at >= timestamptz '{since}' order by balance.read_at"
        )
        readings = queries.frame(connection, render(query, macros(asked.period.timezone, [], engine_of(connection))))
        return Left(readings, found)

    def cards(self) -> list[Card]:
        found = self.data.runway
        if found.credits_left is None:
            return []
        told = {"ends": _day(found.ends_on), "ended": "no credits are left", "not within a year": "beyond a year"}
        latest = _day(found.latest) or "beyond a year"
        span = f"80 % range: {_day(found.earliest)} to {latest}" if found.verdict == "ends" else ""
        basis = f"mean of the last {found.days} days" if found.credits_per_day is not None else ""
        return [
            Card("Credits left", exact(found.credits_left), f"read {clock(found.read_at, self.asked.period.timezone)}"),
            Card("Credits a day", number(found.credits_per_day, 1), basis),
            Card("They last until", told.get(found.verdict, found.verdict), span),
        ]

    def chart(self, width: Width) -> Chart | None:
        found = self.data.runway
        if found.credits_left is None:
            return None
        known = [(at, float(left)) for at, left in self.data.readings.itertuples(index=False)]
        known.append((found.at, float(found.credits_left)))
        until = found.latest or found.ends_on or found.at.date() + timedelta(days=DAYS)
        return charts.ahead(known, [day for day in found.path if day.day <= until], "credits left", width)

    def sentence(self) -> str:
        found = self.data.runway
        said = f"How long the credits last: {sentence(found)}."
        if found.path:
            said += " The line goes on as expected, in its 80 % range, without top-ups and renewals to come."
        if found.scope == "user" and found.days:
            said += " If others of your team spend the same credits, they end sooner."
        return said

    def table(self) -> Table | None:
        if not self.data.runway.by_weekday:
            return None
        return Table(
            "Expected credits by weekday",
            [Column("Weekday", WEEKDAYS), Column("Credits a day", self.data.runway.by_weekday, exact)],
        )


def _day(day: date | None) -> str:
    """Write a day so that a narrow card breaks it between words."""
    return f"{day.day} {day:%b %Y}" if day else ""
