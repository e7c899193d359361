"""Whether the credits of jobs and the account's balance add up."""

from functools import partial
from typing import Any

import duckdb
import pandas as pd

from pipelines.pages import Asked, Column, Section, Table
from pipelines.reports import engine_of, macros, queries, render
from pipelines.wording import books, clock, exact, label, missing


class Reconciliation(Section):
    """Pairs of readings that end in the period; data: columns of reports.reconciliation, newest first."""

    pages = ("report", "credit_spend")
    place = 39
    heading = "Jobs and balance"
    question = "Do jobs and balance add up?"
    of_account = True

    def __init__(self, asked: Asked, data: Any) -> None:
        super().__init__(asked, data)
        if data.empty:  # nothing to ask about
            self.question = ""

    @classmethod
    def load(cls, connection: duckdb.DuckDBPyConnection, asked: Asked) -> pd.DataFrame:
        period = asked.period
        query = (
            "select opened_at, closed_at, verdict, residual, refund_jobs, why from reports.reconciliation where "
            f"{{local_day(closed_at)}} between date '{period.first}' and date '{period.last}' order by closed_at desc"
        )
        return queries.frame(connection, render(query, macros(period.timezone, [], engine_of(connection))))

    def sentence(self) -> str:
        if self.data.empty:
            return ""
        last = self.data.iloc[0]
        came_in = self.data["verdict"] == "top-up"
        lost = self.data[~self.data["verdict"].isin(["balances", "top-up"])]
        told = books(len(self.data), len(lost), lost["residual"].sum(), self.data.loc[came_in, "residual"].sum())
        first, until = self._clock(self.data["opened_at"].iloc[-1]), self._clock(last["closed_at"])
        return f"From {first} to {until} {told}. The last pair: {last['verdict']}."

    def table(self) -> Table | None:
        off = self._off
        if off.empty:
            return None
        zone = self.asked.period.timezone
        return Table(
            "Readings between which credits came or went without a job",
            [
                Column(f"From ({zone})", map(self._clock, off["opened_at"])),
                Column(f"To ({zone})", map(self._clock, off["closed_at"])),
                Column("Verdict", off["verdict"]),
                Column("Credits", off["residual"], partial(exact, sign="+")),
                Column("Jobs that explain it", ["" if missing(ids) else label(ids, 400) for ids in off["refund_jobs"]]),
                Column("Why", [label(why, 160) for why in off["why"]]),
            ],
        )

    @property
    def _off(self) -> pd.DataFrame:
        return self.data[self.data["verdict"] != "balances"]

    def _clock(self, moment: Any) -> str:
        return clock(moment, self.asked.period.timezone)
