"""Which refunds to ask for."""

from decimal import Decimal
from typing import NamedTuple

import duckdb
import pandas as pd

from pipelines.pages import Asked, Column, Section, Table
from pipelines.reports import queries
from pipelines.wording import clock, counted, exact, label, money

MOST = 10


class Due(NamedTuple):
    """The newest jobs (id, model, created_at, error, credits, cost, currency), and how many of all, for what."""

    newest: pd.DataFrame
    jobs: int
    credits: Decimal
    cost: Decimal | None
    currency: str | None


class RefundsDue(Section):
    """Failed jobs of any date that cost credits still; data: the ten newest, and all of them in figures."""

    pages = ("report", "credit_spend")
    place = 37
    heading = "Refunds due"
    question = "Which refunds are due?"

    @classmethod
    def load(cls, connection: duckdb.DuckDBPyConnection, asked: Asked) -> Due:
        newest = queries.frame(
            connection,
            "select id, model, created_at, error, credits, cost, currency from reports.refunds_due "
            f"where {queries.OF_JOBS} order by created_at desc, id limit {MOST}",
            asked.period,
        )
        total = queries.frame(
            connection,
            "select count(*) as jobs, coalesce(sum(credits), 0) as credits, "
            "case when count(cost) = count(*) and min(currency) = max(currency) then sum(cost) end as cost, "
            f"max(currency) as currency from reports.refunds_due where {queries.OF_JOBS}",
            asked.period,
        ).iloc[0]
        return Due(newest, int(total["jobs"]), total["credits"], total["cost"], total["currency"])

    def sentence(self) -> str:
        due = self.data
        if not due.jobs:
            return "No failed job of any date still costs credits."
        worth = money(due.cost, due.currency)
        return (
            f"{counted(due.jobs, 'failed job')} of any date still {'costs' if due.jobs == 1 else 'cost'} "
            f"{exact(due.credits)} credits{'' if worth == '-' else f', {worth}'}. The vendor promises them back: "
            "sync --full finds those that have come, and its support wants the ids of the others."
        )

    def table(self) -> Table | None:
        due, data, zone = self.data, self.data.newest, self.asked.period.timezone
        if not due.jobs:
            return None
        priced = bool(data["currency"].notna().any())
        costs = [money(cost, currency) for cost, currency in zip(data["cost"], data["currency"], strict=True)]
        return Table(
            "Refunds due" + (f", the newest {MOST} of {due.jobs:,}" if due.jobs > MOST else ""),
            [
                Column("Job", [label(job, 40) for job in data["id"]]),
                Column("Model", self.asked.names(data["model"])),
                Column(f"Created ({zone})", [clock(created_at, zone) for created_at in data["created_at"]]),
                Column("Message", [label(error, 100) for error in data["error"]]),
                Column("Credits", data["credits"], exact),
                *([Column("Cost", costs, str)] if priced else []),
            ],
            (
                f"All {due.jobs:,}",
                *[""] * 3,
                due.credits,
                *([money(due.cost, due.currency)] if priced else []),
            ),
        )
