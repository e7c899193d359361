"""Since when jobs fail more often."""

import duckdb
import pandas as pd

from pipelines import charts
from pipelines.charts import Chart, Span, Tip, Width
from pipelines.pages import Asked, Section
from pipelines.wording import number, percent


class FailureRateOverTime(Section):
    """Failure rate per unit with its interval; data: summary by unit, where jobs ended."""

    pages = ("report", "failure_rates")
    place = 50
    heading = "Reliability"
    title = "Failure rate per {unit}"

    @classmethod
    def load(cls, connection: duckdb.DuckDBPyConnection, asked: Asked) -> pd.DataFrame:
        """Return outcomes per unit."""
        data = asked.summary(connection, asked.unit)
        return data[data["ended"] > 0]

    def chart(self, width: Width) -> Chart:
        """A line over time."""
        unit, span = self.asked.unit, Span("failure_rate_low", "failure_rate", "failure_rate_high")
        data = self.data[[unit, "ended", *span]].assign(**{name: 100 * self.data[name] for name in span})
        tips = [
            Tip("ended", "ended jobs", ","),
            Tip(span.at, "failed (%)", ".1f"),
            Tip(span.low, "from (%)", ".1f"),
            Tip(span.high, "to (%)", ".1f"),
        ]
        return charts.over_time(data, unit, span, "failed (%)", charts.RED, tips, width)

    def sentence(self) -> str:
        """Where the rate was highest, if any lies above the whole."""
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
        return found + " The pale bars are 95 % intervals: few jobs, long bar."
