"""What a result costs, in credits, by model."""

from functools import partial

from pipelines.pages import Column, Section, Table
from pipelines.wording import exact, label, missing, number, share


class ResultCosts(Section):
    """Credits by model, and per job and file; data: summary by model."""

    pages = ("report", "credit_spend")
    place = 30
    heading = "Spend"
    question = "What a result costs, in credits"
    by = ("model",)

    def sentence(self) -> str:
        return "Credits per finished job and per file are means over finished jobs whose cost is known."

    def table(self) -> Table:
        data, mean = self.data, partial(number, digits=2)
        total = sum(cost for cost in data["credits"] if not missing(cost))
        shares = [float(cost) / float(total) if total and not missing(cost) else None for cost in data["credits"]]
        return Table(
            "Spend by model",
            [
                Column("Model", self.asked.names(data["model"])),
                Column("Kind", map(label, data["modality"])),
                Column("Jobs", data["jobs"], number),
                Column("Credits", data["credits"], exact),
                Column("Share (%)", shares, share),
                Column("Credits per finished job", data["credits_per_finished_job"], mean),
                Column("Credits per file", data["credits_per_asset"], mean),
                Column("Pending (credits)", data["credits_pending"], exact),
                Column("Cost unknown (jobs)", data["jobs_cost_unknown"], number),
            ],
        )
