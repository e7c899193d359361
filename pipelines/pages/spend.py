"""Where the credits went: per day, week or month, and by model."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple

import duckdb
import pandas as pd

from pipelines import charts
from pipelines.charts import Chart, Width
from pipelines.pages import Asked, Running, Section
from pipelines.wording import exact, label, missing, percent


class Spent(NamedTuple):
    """Summary by unit and model, and the unit that still runs."""

    summary: pd.DataFrame
    running: Running | None


class Spend(Section):
    """Credits over time, stacked by model."""

    pages = ("report", "credit_spend")
    place = 20
    heading = "Spend"
    title = "Credits per {unit} and model"

    @classmethod
    def load(cls, connection: duckdb.DuckDBPyConnection, asked: Asked) -> Spent:
        return Spent(asked.summary(connection, asked.unit, "model"), asked.running(connection))

    def __init__(self, asked: Asked, data: Any) -> None:
        super().__init__(asked, data)
        total = asked.total
        self.currency = None if missing(total["cost"]) or not total["cost"] else total["currency"]
        if self.currency:
            self.title = self.question = f"Spend per {asked.unit} and model, in {self.currency}"

    def chart(self, width: Width) -> Chart:
        summary, running = self.data
        colours = self.asked.colours(summary["model"])
        if self.currency:
            summary = summary.rename(columns={"cost": self.currency})
        unit, start = self.asked.unit, running and running.start
        return charts.stacked(summary, unit, self.currency or "credits", colours, width, start)

    def sentence(self) -> str:
        unit = self.asked.unit
        summary, running = self.data
        spent = summary["credits"].map(lambda cost: Decimal(0) if missing(cost) else cost).astype(object)
        total = spent.sum()
        if total <= 0:
            return "No credits were spent in this period."
        by_model = spent.groupby(summary["model"], dropna=False).sum().sort_values(ascending=False)
        by_time = spent.groupby(summary[unit]).sum().sort_values(ascending=False, kind="stable")
        which = "was" if unit == "day" else "began on"
        return (
            f"{exact(total)} credits, {label(by_model.index[0])} took {percent(by_model.iloc[0] / total)}. "
            f"The dearest {unit} {which} {by_time.index[0]}: {exact(by_time.iloc[0])} credits."
            + (f" {running.told(by_time.get(running.start, 0) > 0)}" if running else "")
        )
