"""Since when one waits longer."""

import duckdb
import pandas as pd

from pipelines import charts
from pipelines.charts import Chart, Tip, Width
from pipelines.pages import Asked, Section
from pipelines.reports import queries
from pipelines.wording import label, seconds

LEAST = 20  # finished jobs in each half of a period: fewer tell nothing of the slowest twentieth


class TurnaroundOverTime(Section):
    """Turnaround per unit and model, models of most finished jobs first; data: unit, model, jobs, p50_s, p95_s.

    Counted as in reports.daily_turnaround: by the day a job was created.
    """

    pages = ("report", "failure_rates")
    place = 72
    heading = "Turnaround"
    title = "Turnaround per {unit} and model"

    @classmethod
    def load(cls, connection: duckdb.DuckDBPyConnection, asked: Asked) -> pd.DataFrame | None:
        found = queries.frame(
            connection,
            f"""{queries.PERIOD}
            select
                cast(date_trunc('{asked.unit}', local_day) as date) as {asked.unit}, model, count(*) as jobs,
                percentile_cont(0.5) within group (order by turnaround_s) as p50_s,
                percentile_cont(0.95) within group (order by turnaround_s) as p95_s,
                sum(count(*)) over (partition by model) as of_model
            from period where is_finished and turnaround_s is not null
            group by cast(date_trunc('{asked.unit}', local_day) as date), model
            order by of_model desc, model nulls last, {asked.unit}
            """,
            asked.period,
        )
        return None if found.empty else found.drop(columns="of_model")

    def chart(self, width: Width) -> Chart:
        unit = self.asked.unit
        data = pd.concat(
            self.data[[unit, "model", "jobs"]].assign(figure=self.data[name], usual=name == "p50_s")
            for name in ("p50_s", "p95_s")
        )
        tips = [Tip("jobs", "finished jobs", ","), Tip("figure", "seconds", ",.0f")]
        return charts.lines(data, unit, "turnaround (s)", self.asked.colours(data["model"]), tips, width)

    def sentence(self) -> str:
        said = "Half of the jobs finish below the whole line, 95 % below the dashed one; the models of most jobs."
        model, before, after = max(self._halves(), key=lambda each: each[2] / each[1], default=(None, 0, 0))
        if after < 1.5 * before or not before:
            return said
        return (
            f"{label(model)} has slowed down most: 95 % within {seconds(after)} in the second half of the period, "
            f"{seconds(before)} in the first. {said}"
        )

    def _halves(self) -> list[tuple[str, float, float]]:
        """Return p95 of each model in the first and the second half, where both have enough jobs: their median."""
        unit, found = self.asked.unit, []
        period = self.asked.period
        middle = period.first + (period.last - period.first) / 2
        for model, data in self.data.groupby("model", sort=False):
            halves = [data[data[unit] <= middle], data[data[unit] > middle]]
            if min(half["jobs"].sum() for half in halves) >= LEAST:
                before, after = (float(half["p95_s"].median()) for half in halves)
                if before:
                    found.append((str(model), before, after))
        return found
