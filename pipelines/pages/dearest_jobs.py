"""Which single jobs cost most."""

import duckdb
import pandas as pd

from pipelines.pages import Asked, Column, Section, Table
from pipelines.reports import queries
from pipelines.wording import clock, exact, label, money

MOST = 10


class DearestJobs(Section):
    """The ten dearest jobs of the period; data: id, model, status, created_at, credits, cost, currency."""

    pages = ("report", "credit_spend")
    place = 34
    heading = "Spend"
    question = "Which jobs cost most?"

    @classmethod
    def load(cls, connection: duckdb.DuckDBPyConnection, asked: Asked) -> pd.DataFrame | None:
        found = queries.frame(
            connection,
            f"{queries.PERIOD} select id, model, status, created_at, credits, cost, currency from period "
            f"where credits > 0 order by credits desc, created_at desc, id limit {MOST}",
            asked.period,
        )
        return None if found.empty else found

    def table(self) -> Table:
        data, zone = self.data, self.asked.period.timezone
        costs = [money(cost, currency) for cost, currency in zip(data["cost"], data["currency"], strict=True)]
        return Table(
            "The dearest jobs",
            [
                Column("Job", [label(job, 40) for job in data["id"]]),
                Column("Model", self.asked.names(data["model"])),
                Column("Status", map(label, data["status"])),
                Column(f"Created ({zone})", [clock(created_at, zone) for created_at in data["created_at"]]),
                Column("Credits", data["credits"], exact),
                *([Column("Cost", costs, str)] if data["currency"].notna().any() else []),
            ],
        )
