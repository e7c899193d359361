"""The real view over series: what `reports.daily_expected` says of each of their days."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from worlds import Series

from pipelines.reports import definitions
from pipelines.settings import WORTH_SAYING, Impact

LAST = date(2025, 12, 31)  # of all series, wherever they lay: a week has seven days in every year
ALL = Impact(WORTH_SAYING.amount * 0, is_share=False)  # whatever is beyond its range is said
TABLES = """
create schema reports; create schema apiframe;
create table apiframe.sync_runs (started_at timestamptz);
create table reports.daily_spend
    (day date, model varchar, credits decimal(18, 4), jobs bigint, jobs_cost_unknown bigint);
create table reports.daily_reliability (day date, model varchar, finished bigint, failed bigint);
create table reports.jobs (day date, model varchar, credits decimal(18, 4), created_at timestamptz);
create table reports.prices (valid_from date, valid_until date, price_per_credit decimal(18, 10), currency varchar);
create table reports.prices_paid (model varchar, credits decimal(18, 4), first_day date, last_day date);
"""


@contextmanager
def account(series: Sequence[Series], worth: Impact = WORTH_SAYING) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database in which the views find the days of these series; each is a model, by its place among them.

    They end together, and the last good sync was at the end of their last day.
    """
    with duckdb.connect() as connection:
        connection.execute(f"set timezone = 'UTC'; {TABLES}")
        connection.register("given", pa.Table.from_pandas(_rows(series)))
        connection.execute(
            """
            insert into reports.daily_spend
                select day, model, cast(credits as decimal(18, 4)), jobs, 0 from given where jobs > 0;
            insert into reports.daily_reliability select day, model, jobs - failed, failed from given where jobs > 0;
            """
        )
        connection.execute("insert into apiframe.sync_runs values (?)", [f"{LAST + timedelta(days=1)} 00:00:00+00"])
        views = definitions("UTC", worth=worth)
        for name in ("daily_expected", "unusual"):
            if name in views.queries:
                connection.execute(f"create view reports.{name} as {views.queries[name]}")
        yield connection


def _rows(series: Iterable[Series]) -> pd.DataFrame:
    parts = []
    for place, each in enumerate(series):
        days = pd.date_range(end=LAST, periods=len(each.jobs)).date
        figures = {"jobs": each.jobs, "failed": each.failed, "credits": each.credits}
        parts.append(pd.DataFrame({"day": days, "model": str(place), **figures}))
    return pd.concat(parts, ignore_index=True)


def expected(series: Sequence[Series], worth: Impact = ALL) -> list[pd.DataFrame]:
    """Return what the view says of each day of each series, from its first on; where it has no row, there is none."""
    with account(series, worth) as connection:
        found = connection.sql(
            """
            select
                day, model, is_unusual, is_failing,
                cast(low as double) as low, cast(high as double) as high, cast(impact as double) as impact
            from reports.daily_expected where not is_running
            """
        ).to_arrow_table()
    frame = found.to_pandas()
    by_model = dict(iter(frame.groupby("model")))
    answers = []
    for place, each in enumerate(series):
        days = pd.date_range(end=LAST, periods=len(each.jobs)).date
        answers.append(by_model[str(place)].set_index("day").reindex(days))
    return answers


def episodes(series: Sequence[Series], worth: Impact = WORTH_SAYING) -> pd.DataFrame:
    """Return what `reports.unusual` says of an account."""
    with account(series, worth) as connection:
        return connection.sql("select * from reports.unusual order by first_day").to_arrow_table().to_pandas()


def day_of(series: Series, place: int) -> date:
    """Return the day on which a day of a series lies here."""
    return LAST - timedelta(days=len(series.jobs) - 1 - place)


def as_array(answers: Iterable[pd.DataFrame], column: str) -> list[npt.NDArray[np.float64]]:
    """Return a column of each answer as floats; what is not told is nan."""
    return [answer[column].to_numpy(dtype=float, na_value=np.nan) for answer in answers]


def as_flags(answers: Iterable[pd.DataFrame], column: str) -> list[npt.NDArray[np.bool_]]:
    """Return a column of each answer as flags; what is not told is false."""
    return [answer[column].to_numpy(dtype=bool, na_value=False) for answer in answers]
