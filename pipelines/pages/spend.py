"""Where the credits went: per day, week or month, and by model."""

from decimal import Decimal
from typing import Any

from pipelines import charts
from pipelines.charts import Chart, Width
from pipelines.pages import Asked, Section
from pipelines.wording import exact, label, missing, percent


class Spend(Section):
    """Credits over time, stacked by model; data: summary by unit and model."""

    pages = ("report", "credit_spend")
    place = 20
    heading = "Spend"
    title = "Credits per {unit} and model"
    by = ("{unit}", "model")

    def __init__(self, asked: Asked, data: Any) -> None:
        super().__init__(asked, data)
        total = asked.total
        self.currency = None if missing(total["cost"]) or not total["cost"] else total["currency"]
        if self.currency:
            self.title = self.question = f"Spend per {asked.unit} and model, in {self.currency}"

    def chart(self, width: Width) -> Chart:
        colours = self.asked.colours(self.data["model"])
        data = self.data.rename(columns={"cost": self.currency}) if self.currency else self.data
        return charts.stacked(data, self.asked.unit, self.currency or "credits", colours, width)

    def sentence(self) -> str:
        unit = self.asked.unit
        spent = self.data["credits"].map(lambda cost: Decimal(0) if missing(cost) else cost).astype(object)
        total = spent.sum()
        if total <= 0:
            return "No credits were spent in this period."
        by_model = spent.groupby(self.data["model"], dropna=False).sum().sort_values(ascending=False)
        by_time = spent.groupby(self.data[unit]).sum().sort_values(ascending=False, kind="stable")
        which = "was" if unit == "day" else "began on"
        return (
            f"{exact(total)} credits, {label(by_model.index[0])} took {percent(by_model.iloc[0] / total)}. "
            f"The dearest {unit} {which} {by_time.index[0]}: {exact(by_time.iloc[0])} credits."
        )
