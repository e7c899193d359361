"""The figures at the top of the report, each held against the period before."""

import duckdb

from pipelines.comparison import Comparison, compared
from pipelines.pages import Asked, Card, Section
from pipelines.wording import exact, missing, money, number, percent, why_no_cost


class Headline(Section):
    """Totals of the period; data: a `Comparison`."""

    pages = ("report",)
    place = 10

    @classmethod
    def load(cls, connection: duckdb.DuckDBPyConnection, asked: Asked) -> Comparison:
        return compared(connection, asked)

    def cards(self) -> list[Card]:
        total, change = self.data.total, self.data.change
        mean = "credits_per_finished_job"
        failed = f"{number(total['failed'])} of {number(total['ended'])} ended"
        spent = Card("Credits spent", exact(total["credits"]), change("credits"))
        if not missing(total["cost"]):
            cost = money(total["cost"], total["currency"])
            spent = Card("Spent", cost, ", ".join(filter(None, [f"{spent.value} credits", spent.note])))
        return [
            spent,
            Card("Jobs created", number(total["jobs"]), change("jobs")),
            Card("Files delivered", number(total["assets"]), change("assets")),
            Card("Failed", percent(total["failure_rate"]), "; ".join(filter(None, [self.data.points(), failed]))),
            Card("Credits per finished job", number(total[mean], 2), change(mean)),
            Card("Credits pending", exact(total["credits_pending"]), f"open jobs: {number(total['open'])}"),
        ]

    def sentence(self) -> str:
        total, notes = self.data.total, []
        if why := why_no_cost(total):
            notes.append(f"Credits are not given in money: {why}.")
        if unknown := total["jobs_cost_unknown"]:
            notes.append(
                f"The cost of {number(unknown)} of {number(total['jobs'])} jobs is unknown: the API gives none. "
                "The credits shown lack them."
            )
        return " ".join(notes)
