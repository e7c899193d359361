"""A period held against as many days before: like with like, where today still runs up to the same hour."""

from __future__ import annotations

from typing import Any, NamedTuple

import duckdb

from pipelines.pages import Asked
from pipelines.reports import queries
from pipelines.reports.queries import Period
from pipelines.wording import counted, missing


class Comparison(NamedTuple):
    """Totals of a period, and of the one before: None where history lacks some of its days."""

    total: Any
    before: Any
    days: int
    cut: str = ""  # up to when those before count, where not to their end

    @property
    def span(self) -> str:
        """Say what it is held against."""
        return ("the day before" if self.days == 1 else f"the {counted(self.days, 'day')} before") + self.cut

    def change(self, name: str) -> str:
        """Say by how much a figure has changed; nothing where it is not known."""
        if self.before is None:
            return f"history does not cover {self.span}"
        total, before = self.total[name], self.before[name]
        if missing(before) or not before:
            return f"none in {self.span}"
        return "" if missing(total) else f"{100 * (float(total) / float(before) - 1):+,.1f} % on {self.span}"

    def points(self) -> str:
        """Say by how many points the failure rate has changed; nothing where one of both is not known."""
        if self.before is None or missing(self.before["failure_rate"]) or missing(self.total["failure_rate"]):
            return ""
        return f"{100 * (self.total['failure_rate'] - self.before['failure_rate']):+.1f} points"


def earlier(connection: duckdb.DuckDBPyConnection, asked: Asked) -> Period | None:
    """Return the period before, None where the warehouse lacks some of its days."""
    period, until = asked.period, asked.until(connection)
    oldest = queries.held_since(connection, period, asked.known)
    held = (period.first - oldest).days >= period.days and until.date() >= period.first
    return period.before(until) if held else None


def compared(connection: duckdb.DuckDBPyConnection, asked: Asked) -> Comparison:
    """Hold the totals of a period against those of the one before."""
    before, days = earlier(connection, asked), asked.period.days
    total = asked.summary(connection).iloc[0]
    if before is None:
        return Comparison(total, None, days)
    return Comparison(total, queries.summary(connection, before).iloc[0], days, _cut(before))


def _cut(before: Period) -> str:
    if before.until is None:
        return ""
    if before.until.date() < before.last:
        return f", up to {before.until:%Y-%m-%d %H:%M}"
    return f", {'' if before.days == 1 else 'the last of them '}up to {before.until:%H:%M}"
