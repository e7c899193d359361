"""What a result costs, in credits, by model."""

from functools import partial

from pipelines.pages import Column, Section, Table
from pipelines.wording import exact, label, missing, money, number, share


class ResultCosts(Section):
    """Credits by model, and per job and file; data: summary by model."""

    pages = ("report", "credit_spend")
    place = 30
    heading = "Spend"
    question = "What a result costs, in credits"
    by = ("model",)

    @property
    def _is_priced(self) -> bool:
        return bool(self.data["currency"].notna().any())

    def sentence(self) -> str:
        means = "Credits per finished job and per file are means over finished jobs whose cost is known."
        if not self._is_priced:
            return means
        return (
            f"{means} Cost is credits at the prices in prices.csv; a model has none where one is missing or the "
            "currency has changed."
        )

    def table(self) -> Table:
        data, mean = self.data, partial(number, digits=2)
        total = sum(cost for cost in data["credits"] if not missing(cost))
        shares = [float(cost) / float(total) if total and not missing(cost) else None for cost in data["credits"]]
        costs = [money(cost, currency) for cost, currency in zip(data["cost"], data["currency"], strict=True)]
        return Table(
            "Spend by model",
            [
                Column("Model", self.asked.names(data["model"])),
                Column("Kind", map(label, data["modality"])),
                Column("Jobs", data["jobs"], number),
                Column("Credits", data["credits"], exact),
                *([Column("Cost", costs, str)] if self._is_priced else []),
                Column("Share (%)", shares, share),
                Column("Credits per finished job", data["credits_per_finished_job"], mean),
                Column("Credits per file", data["credits_per_asset"], mean),
                Column("Pending (credits)", data["credits_pending"], exact),
                Column("Cost unknown (jobs)", data["jobs_cost_unknown"], number),
            ],
            self._total(),
        )

    def _total(self) -> tuple[object, ...]:
        total = self.asked.total
        return (
            "All",
            "",
            total["jobs"],
            total["credits"],
            *([money(total["cost"], total["currency"])] if self._is_priced else []),
            1.0 if total["credits"] else None,
            total["credits_per_finished_job"],
            total["credits_per_asset"],
            total["credits_pending"],
            total["jobs_cost_unknown"],
        )
