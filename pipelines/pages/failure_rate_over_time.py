"""Since when jobs fail more often."""

import duckdb
import pandas as pd

from pipelines import charts
from pipelines.charts import Chart, Width
from pipelines.pages import Asked, Section
from pipelines.palette import RED
from pipelines.significance import above
from pipelines.wording import counted, percent

MOST_NAMED = 3


class FailureRateOverTime(Section):
    """Failure rate per unit with its interval; data: summary by unit, where jobs ended.

    A unit "stands out" where it fails more often than the rest of the period, beyond chance: `significance` says how
    that is told.
    """

    pages = ("report", "failure_rates")
    place = 50
    heading = "Reliability"
    title = "Failure rate per {unit}"

    @classmethod
    def load(cls, connection: duckdb.DuckDBPyConnection, asked: Asked) -> pd.DataFrame:
        return asked.summary(connection, asked.unit).query("ended > 0")

    def chart(self, width: Width) -> Chart:
        unit = self.asked.unit
        data = charts.failed_percent(self.data, unit)
        return charts.over_time(data, unit, charts.FAILED, "failed (%)", RED, charts.FAILED_TIPS, width)

    def sentence(self) -> str:
        if self.data.empty:
            return "No job has finished or failed in this period."
        return f"{self.found()} The thin bars are 95 % intervals: few jobs, long bar."

    def found(self) -> str:
        """Say what stands out against the rate of the whole period, the worst first. Needs jobs that ended."""
        unit, rate = self.asked.unit, percent(self.data["failed"].sum() / self.data["ended"].sum())
        found = self.data[above(zip(self.data["failed"], self.data["ended"], strict=True))]
        if found.empty:
            return f"No {unit} stands out against the {rate} of the whole period."
        worst = found.sort_values("failure_rate_low", ascending=False).head(MOST_NAMED)
        rates = [
            f"{percent(failing)} of {counted(ended, 'ended job')}"
            for failing, ended in zip(worst["failure_rate"], worst["ended"], strict=True)
        ]
        if len(found) == 1:
            which = f"{'of' if unit == 'day' else 'from'} {worst[unit].iloc[0]}"
            return f"The {unit} {which} stands out: {rates[0]}, against {rate} over the whole period."
        named = "; ".join(f"{start}, {told}" for start, told in zip(worst[unit], rates, strict=True))
        which = "beginning with the worst" if len(found) > MOST_NAMED else "the worst first"
        return f"{len(found)} {unit}s stand out against the {rate} of the whole period, {which}: {named}."
