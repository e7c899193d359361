"""Whose jobs fail, where the user says who they were for."""

import duckdb
import pandas as pd

from pipelines.pages import Asked, Column, Section, Table
from pipelines.reports import queries
from pipelines.wording import labels, number, share


class FailuresByLabel(Section):
    """Failure rate by label and value; data: label, value (missing: what has none), finished, failed and the rates.

    Each label tells of every job. None without labels.
    """

    pages = ("report", "failure_rates")
    place = 55
    heading = "Reliability"
    question = "Whose jobs fail?"

    @classmethod
    def load(cls, connection: duckdb.DuckDBPyConnection, asked: Asked) -> pd.DataFrame | None:
        data = queries.frame(
            connection,
            f"""
            with counted as (
                select
                    label, value,
                    count(*) filter (where outcome = 'finished') as finished,
                    count(*) filter (where outcome = 'failed') as failed
                from reports.labelled_jobs
                where {queries.IN_PERIOD}
                group by label, value
            )
            select label, value, finished, {queries.RATES}, failed from counted where finished + failed > 0
            order by label, failure_rate desc, failed + finished desc, value nulls last
            """,
            asked.period,
        )
        return None if data.empty else data

    def sentence(self) -> str:
        return "Of the jobs that finished or failed, with what chance leaves open; a rate of few jobs says little."

    def table(self) -> Table:
        data = self.data
        ends = zip(data["failure_rate_low"], data["failure_rate_high"], strict=True)
        return Table(
            "Outcomes by label (jobs)",
            [
                Column("Label", labels(data["label"])),
                Column("Value", labels(data["value"])),
                Column("Finished", data["finished"], number),
                Column("Failed", data["failed"], number),
                Column("Failed (%)", data["failure_rate"], share),
                Column("95 % interval (%)", [f"{share(low)} to {share(high)}" for low, high in ends], str),
            ],
        )
