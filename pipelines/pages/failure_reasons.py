"""Why jobs fail, as the rules in error_classes.csv sort their messages."""

import duckdb
import pandas as pd

from pipelines import charts
from pipelines.charts import Chart, Tip, Width
from pipelines.pages import Asked, Column, Section, Table
from pipelines.reports import UNKNOWN_REASON, queries
from pipelines.wording import counted, label, labels, number, percent, share


class FailureReasons(Section):
    """Failed jobs by reason; data: reason, jobs, share (0 to 1), models, day last seen, newest message."""

    pages = ("report", "failure_rates")
    place = 60
    heading = "Why jobs fail"
    title = "Failed jobs by reason"
    question = "Why do jobs fail?"

    @classmethod
    def load(cls, connection: duckdb.DuckDBPyConnection, asked: Asked) -> pd.DataFrame:
        return queries.frame(
            connection,
            queries.PERIOD
            + """
            select
                failure_reason, count(*) as jobs, {double(count(*))} / sum(count(*)) over () as share,
                count(distinct coalesce(model, '')) as models, max(local_day) as last_seen,
                {newest(error)} as example_error
            from period where is_failed group by failure_reason order by jobs desc, failure_reason
            """,
            asked.period,
        )

    def chart(self, width: Width) -> Chart | None:
        if self.data.empty:
            return None
        data = self.data.head(charts.MOST_BARS)
        data = data.assign(reason=data["failure_reason"], text=data["share"].map(percent))[["reason", "jobs", "text"]]
        tips = [Tip("jobs", "failed jobs", ","), Tip("text", "share")]
        return charts.bars(data, "reason", "jobs", "failed jobs", tips, width)

    def sentence(self) -> str:
        if self.data.empty:
            return "No job failed in this period."
        known = self.data[self.data["failure_reason"] != UNKNOWN_REASON]
        unknown = 1 - known["share"].sum()
        first = (
            f"Most failures are put down to {label(known['failure_reason'].iloc[0])}: "
            f"{number(known['jobs'].iloc[0])} of {counted(self.data['jobs'].sum(), 'failed job')}. "
            if len(known)
            else ""
        )
        return first + (
            f"No rule in error_classes.csv explains {percent(unknown)}."
            if unknown > 1e-9
            else "Every failure is explained by a rule in error_classes.csv."
        )

    def table(self) -> Table | None:
        if self.data.empty:
            return None
        return Table(
            "Failure reasons",
            [
                Column("Reason", labels(self.data["failure_reason"], 60)),
                Column("Newest message", [label(error, 160) for error in self.data["example_error"]]),
                Column("Jobs", self.data["jobs"], number),
                Column("Share (%)", self.data["share"], share),
                Column("Models", self.data["models"], number),
                Column("Last seen", self.data["last_seen"], str),
            ],
        )
