"""Since when jobs fail more often."""

import duckdb
import pandas as pd

from pipelines import charts
from pipelines.charts import Chart, Width
from pipelines.pages import Asked, Section
from pipelines.palette import RED
from pipelines.wording import number, percent


class FailureRateOverTime(Section):
    """Failure rate per unit with its interval; data: summary by unit, where jobs ended."""

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
        unit = self.asked.unit
        worst = self.data.sort_values("failure_rate_low", ascending=False).iloc[0]
        rate = self.data["failed"].sum() / self.data["ended"].sum()
        if worst["failure_rate_low"] <= rate:
            found = f"No {unit}'s interval lies wholly above the {percent(rate)} of the whole period."
        else:
            found = (
                f"The {unit} {'of' if unit == 'day' else 'from'} {worst[unit]} stands out: "
                f"{percent(worst['failure_rate'])} of {number(worst['ended'])} ended jobs, against "
                f"{percent(rate)} over the whole period."
            )
        return found + " The thin bars are 95 % intervals: few jobs, long bar."
