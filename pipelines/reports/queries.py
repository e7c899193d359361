"""What report and notebooks ask of the views: figures of a period, in any time zone, as pandas frames.

They count exactly as the views do (reports/README.md), so the same period gives the same totals everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb

from pipelines.errors import ApiframeWarehouseError
from pipelines.reports import engine_of, macros, render

if TYPE_CHECKING:
    import pandas as pd

NO_VIEWS = "the warehouse has no views, or those of another version: run apiframe-warehouse sync"
UNITS = ("day", "week", "month")


@dataclass(frozen=True)
class Period:
    """Days from `first` to `last`, both included, in `timezone`; `models` None is all, "" the null one.

    `until` cuts it off behind that moment, on the clocks of the zone.
    """

    first: date
    last: date
    timezone: str = "UTC"
    models: tuple[str, ...] | None = None
    until: datetime | None = None

    @property
    def days(self) -> int:
        """Days it covers."""
        return (self.last - self.first).days + 1

    def before(self, known_until: datetime | None = None) -> Period:
        """Return as many days just before it, up to the hour to which this one is known, where that is not its end."""
        back, day = timedelta(days=self.days), timedelta(days=1)
        cut = known_until - back if known_until and known_until.date() <= self.last else None
        return replace(self, first=self.first - back, last=self.first - day, until=cut)

    def unit(self) -> str:
        """Return the unit that leaves bars wide enough to be told apart."""
        return UNITS[(self.days > 120) + (self.days > 840)]


@dataclass(frozen=True)
class Extent:
    """What there is to choose from; days are those of the views, models the most used first."""

    oldest: date
    newest: date
    synced: str | None
    models: pd.Series[Any]
    zones: list[str]


IN_PERIOD = """
    {local_day(created_at)} between $first and $last
    and (cast($until as timestamp) is null or {local_time(created_at)} <= cast($until as timestamp))
    and (cast($models as varchar[]) is null or coalesce(model, '') = any(cast($models as varchar[])))
"""
PERIOD = f"""
with period as (
    select jobs.*, {{local_day(created_at)}} as local_day
    from reports.jobs
    where {IN_PERIOD}
)
"""

MEASURES = """
    max(modality) as modality,
    count(*) as jobs,
    count(*) filter (where is_finished) as finished,
    count(*) filter (where is_failed) as failed,
    count(*) filter (where is_cancelled) as cancelled,
    count(*) filter (where is_open) as open,
    count(*) filter (where is_unknown) as unknown,
    sum(credits) as credits,
    sum(credits_pending) as credits_pending,
    sum(credits_refund_due) as credits_refund_due,
    sum(credits_refunded) as credits_refunded,
    case when min(currency) = max(currency) and count(*) filter (where credits <> 0 and currency is null) = 0
        then sum(cost) end as cost,
    case when min(currency) = max(currency) then max(currency) end as currency,
    count(*) filter (where credits <> 0 and currency is null) as jobs_without_price,
    count(*) filter (where is_cost_unknown) as jobs_cost_unknown,
    coalesce(cast(sum(assets) as bigint), 0) as assets,
    {double(avg(credits) filter (where is_finished))} as credits_per_finished_job,
    {double(sum(credits) filter (where is_finished and assets is not null))}
    / nullif(sum(assets) filter (where is_finished and credits is not null), 0) as credits_per_asset
"""

RATES = """
    failed + finished as ended,
    {double(failed)} / nullif(failed + finished, 0) as failure_rate,
    {wilson_low(failed, finished)} as failure_rate_low,
    {wilson_high(failed, finished)} as failure_rate_high
"""


def extent(connection: duckdb.DuckDBPyConnection) -> Extent | None:
    """Return what the warehouse covers, or None where it holds no jobs."""
    bounds = frame(
        connection,
        "select min(day) as oldest, max(day) as newest from reports.jobs "
        # What the API misdates may fall, in a time zone, on a day that Python does not have.
        "where day between date '0001-01-01' and date '9999-12-31'",
    ).iloc[0]
    if bounds["oldest"] is None:
        return None
    fresh = frame(
        connection, "select cast(last_sync_at at time zone 'UTC' as varchar) as synced from reports.freshness"
    )
    models = frame(connection, "select model from reports.jobs group by model order by count(*) desc, model")
    zones = frame(connection, "select name from pg_timezone_names() order by name")
    synced = fresh["synced"][0]
    return Extent(
        bounds["oldest"],
        bounds["newest"],
        synced[:16] if isinstance(synced, str) else None,
        models["model"],
        zones["name"].tolist(),
    )


def known_until(connection: duckdb.DuckDBPyConnection, now: datetime, timezone: str) -> datetime:
    """Return up to when jobs are known, on the clocks of a zone: `now`, or the last good sync where that is earlier.

    A job that was created while it ran, and that it has brought, shows that it knows a little more.
    """
    query = """
        with syncs as (
            select
                max(started_at) as started_at,
                least(cast($now as timestamptz), max(finished_at)) as finished_at
            from apiframe.sync_runs
        )
        select {local_time(least(
            cast($now as timestamptz),
            greatest(
                (select started_at from syncs),
                (select max(created_at) from apiframe.jobs where created_at <= (select finished_at from syncs))
            )
        ))}
    """
    words = macros(timezone, [], engine_of(connection))
    [(until,)] = connection.execute(render(query, words), {"now": now.isoformat()}).fetchall()
    known: datetime = until
    return known


def summary(connection: duckdb.DuckDBPyConnection, period: Period, *by: str) -> pd.DataFrame:
    """Return jobs, credits, assets and failure rates of a period, one row per value of `by`.

    `by` names columns of reports.jobs, or a unit: the first day of the day, week (Monday) or month. Without
    any there is one row. Sorted by time, then by credits and jobs, most first. Rates run from 0 to 1, credits
    are Decimals, None where every cost is unknown; cost and currency are counted as in reports.monthly_spend.
    """
    keys = {key: f"cast(date_trunc('{key}', local_day) as date)" if key in UNITS else key for key in by}
    listed = "".join(f"{expression} as {key}, " for key, expression in keys.items())
    order = [key for key in by if key in UNITS]
    order += [
        "credits desc nulls last",
        "jobs desc",
        *(f"{key} nulls last" for key in by if key not in UNITS),
    ]
    return frame(
        connection,
        f"{PERIOD}, counted as (select {listed}{MEASURES} from period "
        + (f"group by {', '.join(keys.values())}" if by else "")
        + f") select *, {RATES} from counted order by {', '.join(order)}",
        period,
    )


def frame(connection: duckdb.DuckDBPyConnection, query: str, period: Period | None = None) -> pd.DataFrame:
    """Run a query, its macros replaced, and return its rows; `period` gives $first, $last, $until and $models."""
    given: dict[str, Any] = {}
    if period:
        query = render(query, macros(period.timezone, [], engine_of(connection)))
        given = {
            "first": period.first,
            "last": period.last,
            "until": period.until,
            "models": None if period.models is None else list(period.models),
        }
    # Through Arrow: DuckDB's own way to pandas warns on times with a zone.
    try:
        rows: pd.DataFrame = connection.sql(query, params=given).to_arrow_table().to_pandas()
    except (duckdb.CatalogException, duckdb.BinderException):
        raise ApiframeWarehouseError(NO_VIEWS) from None
    return rows
