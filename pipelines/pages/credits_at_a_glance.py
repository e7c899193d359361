"""The figures at the top of the notebook on credits."""

from pipelines.pages import Card, Section
from pipelines.wording import exact, missing, money, number, why_no_cost


class CreditsAtAGlance(Section):
    """Credits and what they bought; data: the totals."""

    pages = ("credit_spend",)
    place = 10
    question = "In figures"

    def cards(self) -> list[Card]:
        total = self.data.iloc[0]
        cost, why = money(total["cost"], total["currency"]), why_no_cost(total)
        spent = [Card("Spent", cost, why)] if why or not missing(total["cost"]) else []
        return [
            *spent,
            Card("Credits spent", exact(total["credits"])),
            Card("Credits pending", exact(total["credits_pending"])),
            Card("Jobs created", number(total["jobs"])),
            Card("Credits per finished job", number(total["credits_per_finished_job"], 2)),
            Card("Credits per file", number(total["credits_per_asset"], 2)),
            Card("Jobs of unknown cost", number(total["jobs_cost_unknown"])),
        ]
