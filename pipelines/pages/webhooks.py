"""Whether results reach our systems."""

import duckdb
import pandas as pd

from pipelines.pages import Asked, Column, Section, Table
from pipelines.reports import queries
from pipelines.wording import clock, counted, label, number, percent, share


class Webhooks(Section):
    """Webhooks by state; data: webhook_status, jobs, share (0 to 1), newest job and when it was created.

    Without webhooks there is nothing to see.
    """

    pages = ("report", "failure_rates")
    place = 78
    heading = "Webhooks"
    question = "Do results reach our systems?"

    @classmethod
    def load(cls, connection: duckdb.DuckDBPyConnection, asked: Asked) -> pd.DataFrame | None:
        found = queries.frame(
            connection,
            queries.PERIOD
            + """
            select
                webhook_status, count(*) as jobs, {double(count(*))} / sum(count(*)) over () as share,
                {newest(id)} as newest, max(created_at) as newest_at
            from period where webhook_status is not null group by webhook_status order by jobs desc, webhook_status
            """,
            asked.period,
        )
        return None if found.empty else found

    def sentence(self) -> str:
        jobs, failed = self.data["jobs"].sum(), self.data[self.data["webhook_status"] == "failed"]
        if failed.empty:
            return f"None of {counted(jobs, 'webhook')} failed."
        return f"{percent(failed['share'].iloc[0])} of {counted(jobs, 'webhook')} failed."

    def table(self) -> Table:
        data, zone = self.data, self.asked.period.timezone
        return Table(
            "Webhooks by state",
            [
                Column("State", map(label, data["webhook_status"])),
                Column("Jobs", data["jobs"], number),
                Column("Share (%)", data["share"], share),
                Column("Newest job", [label(job, 40) for job in data["newest"]]),
                Column(f"Created ({zone})", [clock(created_at, zone) for created_at in data["newest_at"]]),
            ],
        )
