"""Which jobs are stuck, of any date."""

from functools import partial

import duckdb
import pandas as pd

from pipelines.pages import Asked, Column, Section, Table
from pipelines.reports import queries
from pipelines.wording import clock, label, unit_of_time


class StuckJobs(Section):
    """Open jobs that are late; data: id, model, status, created_at, stuck_after_s, oldest first."""

    pages = ("report", "failure_rates")
    place = 80
    heading = "Stuck jobs"
    question = "Which jobs are stuck?"

    @classmethod
    def load(cls, connection: duckdb.DuckDBPyConnection, asked: Asked) -> pd.DataFrame:
        return queries.frame(
            connection,
            "select id, model, status, created_at, stuck_after_s from reports.open_jobs where extract(epoch from "
            f"timestamptz '{asked.now.isoformat()}' - created_at) > stuck_after_s "
            f"and {queries.OF_JOBS} order by created_at",
            asked.period,
        )

    def sentence(self) -> str:
        return (
            "Open jobs of any date, older than 15 minutes and than three times the 95th percentile of their "
            f"model's turnaround{': none.' if self.data.empty else '.'}"
        )

    def table(self) -> Table | None:
        if self.data.empty:
            return None
        data, zone = self.data, self.asked.period.timezone
        ages = list(map(self.asked.since, data["created_at"]))
        (old, write_age), (late, write_late) = unit_of_time(ages), unit_of_time(data["stuck_after_s"])
        return Table(
            "Stuck jobs",
            [
                Column("Job", [label(job, 40) for job in data["id"]]),
                Column("Model", self.asked.names(data["model"])),
                Column("Status", map(label, data["status"])),
                Column(f"Created ({zone})", map(partial(clock, timezone=zone), data["created_at"])),
                Column(f"Age ({old})", ages, write_age),
                Column(f"Stuck after ({late})", data["stuck_after_s"], write_late),
            ],
        )
