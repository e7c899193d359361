"""How long one waits for a result."""

import duckdb
import pandas as pd

from pipelines import charts
from pipelines.charts import Chart, Span, Tip, Width
from pipelines.pages import Asked, Column, Section, Table
from pipelines.reports import queries
from pipelines.wording import label, number, seconds, unit_of_time

PERCENTILES = (50, 90, 95, 99)


class Turnaround(Section):
    """Seconds from created_at to completed_at of finished jobs; data: model, jobs, p50_s to p99_s, slowest first."""

    pages = ("report", "failure_rates")
    place = 70
    heading = "Turnaround"
    title = "Turnaround by model"
    question = "How long does one wait for a result?"

    @classmethod
    def load(cls, connection: duckdb.DuckDBPyConnection, asked: Asked) -> pd.DataFrame:
        percentiles = ", ".join(
            f"percentile_cont(0.{p}) within group (order by turnaround_s) as p{p}_s" for p in PERCENTILES
        )
        return queries.frame(
            connection,
            f"{queries.PERIOD} select model, count(*) as jobs, {percentiles} from period "
            "where is_finished and turnaround_s is not null group by model order by p50_s desc, model nulls last",
            asked.period,
        )

    def chart(self, width: Width) -> Chart | None:
        if self.data.empty:
            return None
        data = self.data.nlargest(charts.MOST_BARS, "jobs").sort_values("p50_s", ascending=False)
        tips = [
            Tip("jobs", "finished jobs", ","),
            Tip("p50_s", "half within (s)", ",.0f"),
            Tip("p95_s", "95 % within (s)", ",.0f"),
        ]
        data, span = data[["model", "jobs", "p50_s", "p95_s"]], Span("p50_s", "p50_s", "p95_s")
        colours = self.asked.colours(data["model"])
        return charts.spans(data, span, "turnaround (s), median to 95 %", colours, tips, width)

    def sentence(self) -> str:
        if self.data.empty:
            return "No job has finished in this period."
        slow = self.data.sort_values("p50_s", ascending=False).iloc[0]
        return (
            f"{label(slow['model'])} is the slowest: half of its jobs finish within {seconds(slow['p50_s'])}, "
            f"95 % within {seconds(slow['p95_s'])}. Queue and run count together: the API does not tell "
            "them apart."
        )

    def table(self) -> Table | None:
        if self.data.empty:
            return None
        titles = {f"p{p}_s": "Half within" if p == 50 else f"{p} % within" for p in PERCENTILES}
        unit, write = unit_of_time(self.data[list(titles)].to_numpy().flatten())
        return Table(
            "Time from creation to completion of finished jobs",
            [
                Column("Model", self.asked.names(self.data["model"])),
                Column("Finished jobs", self.data["jobs"], number),
                *(Column(f"{title} ({unit})", self.data[name], write) for name, title in titles.items()),
            ],
        )
