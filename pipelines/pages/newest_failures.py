"""What failed last, by its id."""

import duckdb
import pandas as pd

from pipelines.pages import Asked, Column, Section, Table
from pipelines.reports import queries
from pipelines.wording import clock, label

MOST = 10


class NewestFailures(Section):
    """The ten newest failed jobs of the period; data: id, model, created_at, failure_reason, error."""

    pages = ("report", "failure_rates")
    place = 65
    heading = "Why jobs fail"
    question = "What failed last?"

    @classmethod
    def load(cls, connection: duckdb.DuckDBPyConnection, asked: Asked) -> pd.DataFrame | None:
        found = queries.frame(
            connection,
            f"{queries.PERIOD} select id, model, created_at, failure_reason, error from period "
            f"where is_failed order by created_at desc, id limit {MOST}",
            asked.period,
        )
        return None if found.empty else found

    def table(self) -> Table:
        data, zone = self.data, self.asked.period.timezone
        return Table(
            "The newest failures",
            [
                Column("Job", [label(job, 40) for job in data["id"]]),
                Column("Model", self.asked.names(data["model"])),
                Column(f"Created ({zone})", [clock(created_at, zone) for created_at in data["created_at"]]),
                Column("Reason", [label(reason, 40) for reason in data["failure_reason"]]),
                Column("Message", [label(error, 160) for error in data["error"]]),
            ],
        )
