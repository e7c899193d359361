"""What report and notebooks ask of the views: figures of a period, in any time zone, as pandas frames.

They count exactly as the views do (reports/README.md), so the same period gives the same totals everywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import duckdb

from pipelines.errors import ApiframeWarehouseError, ConfigurationError
from pipelines.exact import moment
from pipelines.reports import engine_of, macros, render
from pipelines.tables import SCHEMA
from pipelines.warehouse import Warehouse, in_scope

if TYPE_CHECKING:
    import pandas as pd

NO_VIEWS = "the warehouse has no views, or those of another version: run apiframe-warehouse sync"
UNITS = ("day", "week", "month")
#: In which order jobs may be listed: which of them, and by what.
ORDERS = {
    "newest": ("true", "created_at desc"),
    "dearest": ("true", "credits desc nulls last"),
    "newest failures": ("is_failed", "created_at desc"),
}
Labels = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Period:
    """Days from `first` to `last`, both included, in `timezone`, and which of their jobs count.

    `models` None is all, "" the null one. `scope` is user or team, None where there is nothing to choose; the list of
    the team holds the user's own jobs too. `labels` are pairs of a label and values: a job counts that has one of the
    values of each label, where "" is that it has none. `until` cuts it off behind that moment, on the clocks of the
    zone.
    """

    first: date
    last: date
    timezone: str = "UTC"
    models: tuple[str, ...] | None = None
    scope: str | None = None
    labels: Labels = ()
    until: datetime | None = None

    @property
    def is_part(self) -> bool:
        """Tell whether some of the jobs are left out, by their model or label."""
        return self.models is not None or bool(self.labels)

    @property
    def days(self) -> int:
        """Days it covers."""
        return (self.last - self.first).days + 1

    def before(self, known_until: datetime | None = None) -> Period:
        """Return as many days just before it, up to the hour to which this one is known, where that is not its end."""
        back, day = timedelta(days=self.days), timedelta(days=1)
        cut = known_until - back if known_until and known_until.date() <= self.last else None
        return replace(self, first=self.first - back, last=self.first - day, until=cut)

    def holds(self, model: str) -> bool:
        """Tell whether jobs of a model count."""
        return self.models is None or model in self.models

    def starts(self, unit: str) -> list[date]:
        """Return the first day of each day, week or month that it touches."""
        return list(dict.fromkeys(_start(day, unit) for day in self._days()))

    def part(self, unit: str, start: date | None, model: str | None) -> Period:
        """Return what of it lies in the day, week or month that begins at `start`, and is of a model; None is all."""
        days = [day for day in self._days() if start is None or _start(day, unit) == start]
        return replace(self, first=days[0], last=days[-1], models=self.models if model is None else (model,))

    def _days(self) -> Iterator[date]:
        return (self.first + timedelta(days=place) for place in range(self.days))

    def unit(self) -> str:
        """Return the unit that leaves bars wide enough to be told apart."""
        return UNITS[(self.days > 120) + (self.days > 840)]


def _start(day: date, unit: str) -> date:
    back = {"day": 0, "week": day.weekday(), "month": day.day - 1}[unit]
    return day - timedelta(days=back)


@dataclass(frozen=True)
class Extent:
    """What there is to choose from; days are those of the views, models the most used first.

    `appeared` has the same models by their first job: one that comes is the last.
    `scopes` are those that are held, with when each was last read, as `synced`.
    """

    oldest: date
    newest: date
    synced: str | None
    models: pd.Series[Any]
    appeared: pd.Series[Any]
    zones: list[str]
    scopes: Mapping[str, str | None]


#: Conditions on a table or view of jobs: that they are those that count, of any day, and that they are of the period.
OF_JOBS = """
    (cast($models as varchar[]) is null or coalesce(model, '') = any(cast($models as varchar[])))
    and {is_chosen(id)}
"""
IN_PERIOD = f"""
    {{local_day(created_at)}} between $first and $last
    and (cast($until as timestamp) is null or {{local_time(created_at)}} <= cast($until as timestamp))
    and {OF_JOBS}
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
    models = frame(
        connection,
        "select model, row_number() over (order by min(created_at), model) as place "
        "from reports.jobs group by model order by count(*) desc, model",
    )
    zones = frame(connection, "select name from pg_timezone_names() order by name")
    synced = fresh["synced"][0]
    scopes = Warehouse.over(connection).scopes()
    return Extent(
        bounds["oldest"],
        bounds["newest"],
        synced[:16] if isinstance(synced, str) else None,
        models["model"],
        models.sort_values("place")["model"],
        zones["name"].tolist(),
        {scope: None if at is None else f"{moment(at):%Y-%m-%d %H:%M}" for scope, at in scopes.items()},
    )


def scope_shown(held: Collection[str], asked: str | None, configured: str) -> str | None:
    """Return the scope whose jobs count: the one that is asked for, else the one that is configured.

    None where there are not two to choose from. Raises ConfigurationError where the one asked for is not held.
    """
    if asked is not None and held and asked not in held:
        raise ConfigurationError(
            f"no jobs of scope {asked} are held, those of scope {' and '.join(held)} alone: "
            f"sources.apiframe.scope = {asked!r} and a sync bring them"
        )
    return (asked or configured) if len(held) > 1 else None


def label_values(connection: duckdb.DuckDBPyConnection, most: int | None = None) -> dict[str, list[str]]:
    """Return the values of each label that there is, at most so many, of most jobs first; "" is none, and the last."""
    found = frame(
        connection,
        "select label, value from reports.spend_by_label group by label, value "
        "order by label, value is null, sum(jobs) desc, value",
    )
    return {name: [*group["value"].dropna()[:most], ""] for name, group in found.groupby("label")}


def labels_asked(connection: duckdb.DuckDBPyConnection, asked: Sequence[str]) -> Labels:
    """Return the labels of a period as `label=value` says them, the values of one label together.

    Raises ConfigurationError for a text that is none and for a label, or a value of one, that no job has.
    """
    known = label_values(connection) if asked else {}
    chosen: dict[str, list[str]] = {}
    for text in asked:
        name, sign, value = (part.strip() for part in text.partition("="))
        if not sign:
            raise ConfigurationError(f"--label {text!r}: must be like customer=acme, or customer= for jobs without")
        if name not in known:
            there = f"there are {', '.join(known)}" if known else "no job has a label"
            raise ConfigurationError(f"--label {text!r}: there is no label {name!r}, {there}")
        if value and value not in known[name]:
            raise ConfigurationError(f"--label {text!r}: no job has this value of {name}")
        chosen.setdefault(name, []).append(value)
    return tuple((name, tuple(values)) for name, values in chosen.items())


def held_since(connection: duckdb.DuckDBPyConnection, period: Period, known: Extent) -> date:
    """Return the oldest day of which the jobs of a period's scope are held: the team's may go back less far."""
    if period.scope != "team":
        return known.oldest
    query = "select min(day) as oldest from reports.jobs where scope = 'team' and day >= $oldest"
    oldest = connection.execute(query, {"oldest": known.oldest}).fetchall()[0][0]
    return oldest or known.oldest


def price(connection: duckdb.DuckDBPyConnection, day: date) -> tuple[Decimal, str] | None:
    """Return what a credit costs on a day, and in which currency; None without a price."""
    query = (
        "select price_per_credit, currency from reports.prices "
        "where $day >= valid_from and ($day < valid_until or valid_until is null)"
    )
    return next(iter(connection.execute(query, {"day": day}).fetchall()), None)


def known_until(
    connection: duckdb.DuckDBPyConnection, now: datetime, timezone: str, scope: str | None = None
) -> datetime:
    """Return up to when jobs are known, on the clocks of a zone: `now`, or the last good sync where that is earlier.

    Of the team's jobs one with scope team knows alone. A job that was created while it ran, and that it has brought,
    shows that it knows a little more.
    """
    query = f"""
        with syncs as (
            select
                max(started_at) as started_at,
                least(cast($now as timestamptz), max(finished_at)) as finished_at
            from apiframe.sync_runs
            where {"scope = 'team'" if scope == "team" else "true"}
        )
        select {{local_time(least(
            cast($now as timestamptz),
            greatest(
                (select started_at from syncs),
                (select max(created_at) from apiframe.jobs where created_at <= (select finished_at from syncs))
            )
        ))}}
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


def listed(connection: duckdb.DuckDBPyConnection, period: Period, order: str, most: int) -> tuple[pd.DataFrame, int]:
    """Return at most so many jobs of a period, in an order of ORDERS, and of how many they are the first."""
    condition, by = ORDERS[order]
    found = frame(
        connection,
        f"{PERIOD} select id, created_at, model, outcome, credits, credits_pending, turnaround_s, failure_reason, "
        f"count(*) over () as jobs from period where {condition} order by {by}, created_at desc, id limit {most}",
        period,
    )
    return found, int(found["jobs"].iloc[0]) if len(found) else 0


def frame(connection: duckdb.DuckDBPyConnection, query: str, period: Period | None = None) -> pd.DataFrame:
    """Run a query, its macros replaced, and return its rows; `period` gives what IN_PERIOD needs."""
    given: dict[str, Any] = {}
    if period:
        words = macros(period.timezone, [], engine_of(connection))
        query = render(query, {**words, "is_chosen": partial(_is_chosen, period)})
        values: dict[str, Any] = {
            "first": period.first,
            "last": period.last,
            "until": period.until,
            "models": None if period.models is None else list(period.models),
        }
        for place, (label, chosen) in enumerate(period.labels):
            values |= {f"label_{place}": label, f"values_{place}": list(chosen)}
        given = {name: value for name, value in values.items() if f"${name}" in query}
    # Through Arrow: DuckDB's own way to pandas warns on times with a zone.
    try:
        rows: pd.DataFrame = connection.sql(query, params=given).to_arrow_table().to_pandas()
    except (duckdb.CatalogException, duckdb.BinderException):
        raise ApiframeWarehouseError(NO_VIEWS) from None
    return rows


def _is_chosen(period: Period, identity: str) -> str:
    """Return the condition that the job of this id is of the scope and has the labels of a period."""
    of_scope = (
        [f"{identity} in (select id from {SCHEMA}.jobs where {in_scope('user')})"] if period.scope == "user" else []
    )
    of_labels = [
        f"{identity} in (select id from reports.labelled_jobs where label = $label_{place} "
        f"and coalesce(value, '') = any(cast($values_{place} as varchar[])))"
        for place in range(len(period.labels))
    ]
    return " and ".join([*of_scope, *of_labels]) or "true"
