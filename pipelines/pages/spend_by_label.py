"""Who the jobs were for, where the user says it: spend by label, and what carries none."""

from decimal import Decimal

import duckdb
import pandas as pd

from pipelines import charts
from pipelines.charts import Chart, Tip, Width
from pipelines.pages import Asked, Column, Section, Table
from pipelines.reports import queries
from pipelines.wording import counted, exact, label, labels, missing, number, percent, share

MOST_LABELS = charts.MOST_BARS // 2  # in chart and sentence; the table has more


class SpendByLabel(Section):
    """Credits by label and value; data: label, value (missing: what has none, always there), jobs, credits, ..., share.

    A share is of all credits of the period: each label tells of every job. Without labels there is nothing to see.
    """

    pages = ("report", "credit_spend")
    place = 32
    heading = "Spend"
    title = "Credits by label"
    question = "Who was it for?"

    def __init__(self, asked: Asked, data: pd.DataFrame) -> None:
        super().__init__(asked, data)
        if data.empty:
            self.question = ""

    @classmethod
    def load(cls, connection: duckdb.DuckDBPyConnection, asked: Asked) -> pd.DataFrame:
        return queries.frame(
            connection,
            f"""
            with counted as (
                select
                    label, value, count(*) as jobs, sum(credits) as credits, sum(credits_pending) as credits_pending,
                    count(*) filter (where is_cost_unknown) as jobs_cost_unknown,
                    count(*) filter (where other_values > 0) as jobs_in_conflict
                from reports.labelled_jobs
                where {queries.IN_PERIOD}
                group by label, value
            ),
            whole as (
                select * from counted
                union all
                select label, null, 0, 0, 0, 0, 0 from counted group by label having count(*) = count(value)
            )
            select
                *, {{double(credits)}} / nullif({{double(sum(credits) over (partition by label))}}, 0) as share
            from whole
            order by label, credits desc nulls last, jobs desc, value nulls last
            """,
            asked.period,
        )

    def chart(self, width: Width) -> Chart | None:
        if self.data.empty:
            return None
        shown = self.data["label"].unique()[:MOST_LABELS]
        most = charts.MOST_BARS // len(shown) - 1  # values of each, and what is not labelled
        is_among = (self.data.groupby("label").cumcount() < most) | self.data["value"].isna()
        data = self.data[self.data["label"].isin(shown) & is_among]
        values = labels(data["value"])
        if len(shown) > 1:
            values = [f"{name}: {value}" for name, value in zip(labels(data["label"]), values, strict=True)]
        data = data.assign(
            name=values, credits=data["credits"].astype(float).fillna(0), text=data["share"].map(percent)
        )[["name", "credits", "text", "jobs"]]
        tips = [Tip("credits", "credits", ",~r"), Tip("text", "share"), Tip("jobs", "jobs", ",")]
        return charts.bars(data, "name", "credits", "credits", tips, width)

    def sentence(self) -> str:
        if self.data.empty:
            return ""
        told = [self._told(label(name), group) for name, group in self.data.groupby("label", sort=False)]
        more = [f"{counted(len(told) - MOST_LABELS, 'more label')}."] if len(told) > MOST_LABELS else []
        return " ".join(told[:MOST_LABELS] + more)

    def _told(self, name: str, group: pd.DataFrame) -> str:
        conflicts = int(group["jobs_in_conflict"].sum())
        first = f" To {counted(conflicts, 'job')} the file gives several values: the first counts." if conflicts else ""
        spent = group["credits"].map(lambda cost: Decimal(0) if missing(cost) else cost).astype(object)
        total, none = spent.sum(), spent[group["value"].isna()].sum()
        if total <= 0:
            return f"{name}: no credits were spent in this period.{first}"
        return f"{name}: {percent(1 - none / total)} of the credits have a value, {exact(none)} have none.{first}"

    def table(self) -> Table | None:
        if self.data.empty:
            return None
        data = self.data
        return Table(
            "Spend by label",
            [
                Column("Label", labels(data["label"])),
                Column("Value", labels(data["value"])),
                Column("Jobs", data["jobs"], number),
                Column("Credits", data["credits"], exact),
                Column("Share (%)", data["share"], share),
                Column("Pending (credits)", data["credits_pending"], exact),
                Column("Cost unknown (jobs)", data["jobs_cost_unknown"], number),
            ],
        )
