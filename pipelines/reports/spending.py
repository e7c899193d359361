"""What a warehouse tells of the account's balance and its spending, for `pipelines.runway` to judge.

Needs the tables alone, not the views. With scope user only the user's own jobs are known, though the credits are the
team's: the runway is then one "by your own jobs", and its `scope` says so.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb

from pipelines.exact import moment
from pipelines.outlook import DAYS
from pipelines.reports import engine_of, macros, render
from pipelines.runway import Runway, forecast
from pipelines.tables import SCHEMA
from pipelines.tables.balances import readings
from pipelines.warehouse import Warehouse
from pipelines.wording import label
from pipelines.zones import begins, local

Rows = Callable[..., list[tuple[Any, ...]]]


def runway(connection: duckdb.DuckDBPyConnection, timezone: str) -> Runway | None:
    """Return how long the credits last from the last sync on; None where no balance was ever asked for.

    Credits are taken when a job is created, so what an open one costs is spent, and what jobs cost that were created
    after the balance was read is no longer left.
    """
    warehouse = Warehouse.over(connection)
    run, (last, good, _) = warehouse.last_run(), readings(warehouse)
    if run is None or last is None:
        return None
    at = local(connection, moment(max(run.started_at, last.read_at)), timezone)
    if good is None or good.credits is None:
        return forecast(None, at, [])._replace(problem=label(last.problem, 200), scope=run.scope)
    words = macros(timezone, [], engine_of(connection))
    jobs = f"from {SCHEMA}.jobs where " + ("scope = 'user'" if run.scope == "user" else "true")

    def rows(query: str, **given: Any) -> list[tuple[Any, ...]]:
        return connection.execute(render(query.replace("FROM_JOBS", jobs), words), given).fetchall()

    read_at = local(connection, moment(good.read_at), timezone)
    first = at.date() - timedelta(days=DAYS)
    history = _history(rows, first, begins(connection, first, timezone), at.date())
    found = forecast(good.credits - _since(rows, read_at), at, [(day, spent) for day, spent, _ in history])
    unknown = sum(count for day, _, count in history if (at.date() - day).days <= found.days)
    return found._replace(scope=run.scope, read_at=read_at, jobs_cost_unknown=unknown)


def _since(rows: Rows, read_at: datetime) -> Decimal:
    query = "select coalesce(sum(credit_cost), 0) FROM_JOBS and created_at > cast($at as timestamptz)"
    [(spent,)] = rows(query, at=read_at.isoformat())
    return Decimal(spent)


def _history(rows: Rows, first: date, midnight: datetime, today: date) -> list[tuple[date, Decimal, int]]:
    """Return each whole day from `first` on, what was spent on it, and how many of its jobs have no known cost.

    `midnight` is when `first` begins.
    """
    found = {
        day: (spent, unknown)
        for day, spent, unknown in rows(
            "select {local_day(created_at)} as day, coalesce(sum(credit_cost), 0), "
            "count(*) filter (where credit_cost is null and status is distinct from 'FAILED') "
            "FROM_JOBS and created_at >= cast($since as timestamptz) "
            "and {local_day(created_at)} between $first and $last group by 1",
            since=(midnight - timedelta(days=1)).isoformat(),  # a range of times reads no more than it needs
            first=first,
            last=today - timedelta(days=1),
        )
    }
    # Days before the oldest job tell nothing, and its own is no whole one.
    if not rows("select 1 FROM_JOBS and created_at < cast($at as timestamptz) limit 1", at=midnight.isoformat()):
        first = min(found, default=today) + timedelta(days=1)
    days = [first + timedelta(days=number) for number in range((today - first).days)]
    return [(day, *found.get(day, (Decimal(0), 0))) for day in days]
