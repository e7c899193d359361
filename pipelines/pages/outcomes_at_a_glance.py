"""The figures at the top of the notebook on failures."""

from pipelines.pages import Card, Section
from pipelines.wording import number, percent


class OutcomesAtAGlance(Section):
    """How jobs ended; data: the totals."""

    pages = ("failure_rates",)
    place = 10
    question = "In figures"

    def cards(self) -> list[Card]:
        total = self.data.iloc[0]
        outcomes = {
            "failed": "Failed jobs",
            "finished": "Finished jobs",
            "cancelled": "Cancelled jobs",
            "open": "Open jobs",
            "unknown": "Outcome unknown",
        }
        rate = Card("Failed, of ended jobs", percent(total["failure_rate"]))
        return [rate, *(Card(title, number(total[name])) for name, title in outcomes.items())]
