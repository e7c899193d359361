"""The figures at the top of the notebook on credits."""

from typing import Any

import duckdb

from pipelines.pages import Asked, Card, Section
from pipelines.wording import exact, number


class CreditsAtAGlance(Section):
    """Credits and what they bought; data: the totals."""

    pages = ("credit_spend",)
    place = 10

    @classmethod
    def load(cls, connection: duckdb.DuckDBPyConnection, asked: Asked) -> Any:
        """Return the totals."""
        return asked.summary(connection).iloc[0]

    def cards(self) -> list[Card]:
        """Spent, still open, and per result."""
        return [
            Card("Credits spent", exact(self.data["credits"])),
            Card("Credits pending", exact(self.data["credits_pending"])),
            Card("Jobs created", number(self.data["jobs"])),
            Card("Credits per finished job", number(self.data["credits_per_finished_job"], 2)),
            Card("Credits per file", number(self.data["credits_per_asset"], 2)),
            Card("Jobs of unknown cost", number(self.data["jobs_cost_unknown"])),
        ]
