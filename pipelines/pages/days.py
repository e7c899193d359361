"""What is behind the bars: each day, week or month in figures."""

from pipelines.pages import Column, Section, Table
from pipelines.wording import exact, money, number, share


class Days(Section):
    """Figures per unit, the newest first; data: summary by unit."""

    pages = ("report", "credit_spend")
    place = 22
    heading = "Spend"
    question = "What is behind the bars?"
    by = ("{unit}",)

    def table(self) -> Table:
        unit, data = self.asked.unit, self.data.iloc[::-1]
        priced = bool(data["currency"].notna().any())
        costs = [money(cost, currency) for cost, currency in zip(data["cost"], data["currency"], strict=True)]
        figures = [
            Column("Jobs", data["jobs"], number),
            Column("Finished", data["finished"], number),
            Column("Failed", data["failed"], number),
            Column("Failed (%)", data["failure_rate"], share),
            Column("Files", data["assets"], number),
            Column("Credits", data["credits"], exact),
            *([Column("Cost", costs, str)] if priced else []),
        ]
        title = {"day": "Day", "week": "Week from", "month": "Month from"}[unit]
        caption = f"Each {unit} in figures"
        return Table(caption, [Column(title, map(str, data[unit])), *figures], self._total(priced), most=31)

    def _total(self, priced: bool) -> tuple[object, ...]:
        total = self.asked.total
        names = ("jobs", "finished", "failed", "failure_rate", "assets", "credits")
        cost = [money(total["cost"], total["currency"])] if priced else []
        return ("All", *(total[name] for name in names), *cost)
