"""The figures at the top of the notebook on failures."""

from typing import Any

import duckdb

from pipelines.pages import Asked, Card, Section
from pipelines.wording import number, percent


class OutcomesAtAGlance(Section):
    """How jobs ended; data: the totals."""

    pages = ("failure_rates",)
    place = 10

    @classmethod
    def load(cls, connection: duckdb.DuckDBPyConnection, asked: Asked) -> Any:
        """Return the totals."""
        return asked.summary(connection).iloc[0]

    def cards(self) -> list[Card]:
        """The rate, and the jobs by outcome."""
        outcomes = {
            "failed": "Failed jobs",
            "finished": "Finished jobs",
            "cancelled": "Cancelled jobs",
            "open": "Open jobs",
            "unknown": "Outcome unknown",
        }
        rate = Card("Failed, of ended jobs", percent(self.data["failure_rate"]))
        return [rate, *(Card(title, number(self.data[name])) for name, title in outcomes.items())]
