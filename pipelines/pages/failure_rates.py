"""Which model fails too often, and whether that is more than chance."""

import pandas as pd

from pipelines import charts
from pipelines.charts import Chart, Width
from pipelines.pages import Column, Section, Table
from pipelines.significance import above
from pipelines.wording import counted, missing, number, percent, share


class FailureRates(Section):
    """Failure rate of each model with its interval; data: summary by model.

    A model "stands out" where it fails more often than all others together, beyond chance: `significance` says how
    that is told.
    """

    pages = ("report", "failure_rates")
    place = 40
    heading = "Reliability"
    title = "Failure rate by model"
    question = "Which model fails too often?"
    by = ("model",)

    def chart(self, width: Width) -> Chart:
        data = self._ended().head(charts.MOST_BARS).sort_values("failure_rate", ascending=False)
        data, title = charts.failed_percent(data, "model"), "failed (%), 95 % interval"
        colours, rate = self.asked.colours(data["model"]), self.asked.total["failure_rate"]
        overall = None if missing(rate) else 100 * float(rate)
        return charts.spans(data, charts.FAILED, title, colours, charts.FAILED_TIPS, width, overall)

    def sentence(self) -> str:
        data = self.data[self.data["ended"] > 0]  # the dearest first
        if data.empty:
            return "No job has finished or failed in this period."
        rate = data["failed"].sum() / data["ended"].sum()
        overall = f"{percent(rate)} of the {counted(data['ended'].sum(), 'job')} that ended failed"
        found = data[above(zip(data["failed"], data["ended"], strict=True))]
        if found.empty:
            return f"{overall}. No model stands out: the differences may be chance."
        named = ", ".join(
            f"{name} ({percent(failing)} of {number(ended)})"
            for name, failing, ended in zip(
                self.asked.names(found["model"]), found["failure_rate"], found["ended"], strict=True
            )
        )
        many = f"{len(found)} models stand out beyond chance, the dearest first"
        which = "One model stands out beyond chance" if len(found) == 1 else many
        return f"{overall}. {which}: {named}."

    def table(self) -> Table:
        data = self.data
        ends = zip(data["failure_rate_low"], data["failure_rate_high"], data["ended"], strict=True)
        intervals = [f"{share(low)} to {share(high)}" if ended else "-" for low, high, ended in ends]
        total = self.asked.total
        names = ("finished", "failed", "failure_rate", "", "cancelled", "open", "unknown")
        return Table(
            "Outcomes by model (jobs)",
            [
                Column("Model", self.asked.names(data["model"])),
                Column("Finished", data["finished"], number),
                Column("Failed", data["failed"], number),
                Column("Failed (%)", data["failure_rate"], share),
                Column("95 % interval (%)", intervals, str),
                Column("Cancelled", data["cancelled"], number),
                Column("Open", data["open"], number),
                Column("Unknown", data["unknown"], number),
            ],
            ("All", *(total[name] if name else None for name in names)),
        )

    def _ended(self) -> pd.DataFrame:
        """Models with finished or failed jobs, which alone have a rate; those of most such jobs first."""
        return self.data[self.data["ended"] > 0].sort_values("ended", ascending=False, kind="stable")
