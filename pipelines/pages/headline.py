"""The figures at the top of the report, each held against the period before."""

from typing import Any

import duckdb

from pipelines.pages import Asked, Card, Section
from pipelines.reports import queries
from pipelines.wording import counted, exact, missing, money, number, percent, why_no_cost


class Headline(Section):
    """Totals of the period; data: a row of them, and that of as many days before, None where history lacks some."""

    pages = ("report",)
    place = 10

    @classmethod
    def load(cls, connection: duckdb.DuckDBPyConnection, asked: Asked) -> tuple[Any, Any]:
        period = asked.period
        total = asked.summary(connection).iloc[0]
        covered = (period.first - asked.known.oldest).days >= period.days
        return total, queries.summary(connection, period.before()).iloc[0] if covered else None

    def cards(self) -> list[Card]:
        total, _ = self.data
        mean = "credits_per_finished_job"
        failed = f"{self._points()}{number(total['failed'])} of {number(total['ended'])} ended"
        spent = Card("Credits spent", exact(total["credits"]), self._change("credits"))
        if not missing(total["cost"]):
            cost = money(total["cost"], total["currency"])
            spent = Card("Spent", cost, "; ".join(filter(None, [f"{spent.value} credits", spent.note])))
        return [
            spent,
            Card("Jobs created", number(total["jobs"]), self._change("jobs")),
            Card("Files delivered", number(total["assets"]), self._change("assets")),
            Card("Failed", percent(total["failure_rate"]), failed),
            Card("Credits per finished job", number(total[mean], 2), self._change(mean)),
            Card("Credits pending", exact(total["credits_pending"]), f"open jobs: {number(total['open'])}"),
        ]

    def sentence(self) -> str:
        total, _ = self.data
        unknown, notes = total["jobs_cost_unknown"], []
        if why := why_no_cost(total):
            notes.append(f"Credits are not given in money: {why}.")
        if unknown:
            notes.append(
                f"The cost of {number(unknown)} of {number(total['jobs'])} jobs is unknown: the API gives none. "
                "The credits shown lack them."
            )
        return " ".join(notes)

    def _change(self, name: str) -> str:
        total, before = self.data
        days = self.asked.period.days
        span = "the day before" if days == 1 else f"the {counted(days, 'day')} before"
        if before is None:
            return f"history does not cover {span}"
        if missing(before[name]) or not before[name]:
            return f"none in {span}"
        if missing(total[name]):
            return ""
        ratio = float(total[name]) / float(before[name])
        return f"{100 * (ratio - 1):+,.1f} % on {span}"

    def _points(self) -> str:
        total, before = self.data
        if before is None or missing(before["failure_rate"]) or missing(total["failure_rate"]):
            return ""
        return f"{100 * (total['failure_rate'] - before['failure_rate']):+.1f} points; "
