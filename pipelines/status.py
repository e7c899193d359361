"""What a warehouse holds and how fresh it is. Reads, never writes, and waits for nobody."""

import contextlib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from pipelines.apiframe.settled import IS_OPEN
from pipelines.errors import ApiframeWarehouseError, ConfigurationError
from pipelines.exact import moment
from pipelines.reports.queries import scope_shown
from pipelines.reports.spending import runway
from pipelines.runway import Runway, sentence
from pipelines.settings import Settings
from pipelines.stores import Store, first_line, store_for
from pipelines.tables import SCHEMA
from pipelines.tables.balances import Balance, readings
from pipelines.tables.sync_runs import Run
from pipelines.warehouse import Warehouse, in_scope
from pipelines.zones import local


def run_facts(run: Run) -> dict[str, Any]:
    """Return a row of `sync_runs` with times as ISO text (UTC)."""
    facts = run._asdict()
    for name in ("started_at", "finished_at", "high_water_mark", "since"):
        facts[name] = moment(facts[name]).isoformat() if facts[name] is not None else None
    return facts


def facts(chosen: Settings, now: int, scope: str | None = None) -> dict[str, Any]:
    """Return what `status` says, by name; `now` in microseconds since 1970.

    Jobs are those of `scope`, or of the configured one, where two are held.
    Raises ConfigurationError where there is no warehouse and no first load on its way to one.
    """
    store = store_for(chosen)
    if (first_load := store.first_load()) is not None:
        return {"path": str(store.place), "first_load": first_load}
    with contextlib.closing(store.connect_readonly()) as connection:
        size = store.size_bytes(connection)
        named = {} if isinstance(store.place, Path) else {"place": store.place}
        try:
            held = Warehouse.over(connection).scopes()
            shown = scope_shown(held, scope, chosen.scope)
            published = _published(connection, store, now, shown)
            published["runway"] = _runway(runway(connection, chosen.timezone))
            spent = _spent_this_month(connection, chosen.timezone, now, shown)
        except ApiframeWarehouseError:
            raise
        except duckdb.Error as problem:
            raise ApiframeWarehouseError(f"{store.place}: {first_line(problem)}") from None
    return {
        "path": str(store.place),
        **named,
        "size_bytes": size,
        "scope": shown or next(iter(held), chosen.scope),
        "scopes": list(held),
        "timezone": chosen.timezone,
        **published,
        "spent_this_month": spent,
    }


def _spent_this_month(connection: Any, timezone: str, now: int, scope: str | None) -> Mapping[str, Any] | None:
    """Return the credits of the month's jobs and their cost in money; None where the views are of another version."""
    today = local(connection, moment(now), timezone).date()
    names = ("credits", "cost", "currency", "jobs_without_price")
    unpriced = "count(case when credits <> 0 and currency is null then 1 end)"
    try:
        [row] = connection.execute(
            f"""
            select
                coalesce(sum(credits), 0),
                case when min(currency) = max(currency) and {unpriced} = 0 then sum(cost) end,
                case when min(currency) = max(currency) then max(currency) end,
                {unpriced}
            from reports.jobs where day between date '{today.replace(day=1)}' and date '{today}'
                and {in_scope(scope or "team")}
            """
        ).fetchall()
    except (duckdb.CatalogException, duckdb.BinderException):
        return None
    return {"month": f"{today:%Y-%m}", **dict(zip(names, row, strict=True))}


def _published(connection: duckdb.DuckDBPyConnection, store: Store, now: int, scope: str | None) -> dict[str, Any]:
    def rows(sql: str) -> list[tuple[Any, ...]]:
        return connection.execute(sql).fetchall()

    warehouse = Warehouse.over(connection)  # a sync of the team reads the user's own jobs too
    run = store.last_run(warehouse, "team" if scope == "team" else None) or store.last_run(warehouse)
    if run is None:
        raise ConfigurationError(f"{store.place} holds no sync yet: run apiframe-warehouse sync")
    jobs = f"from {SCHEMA}.jobs where {in_scope(scope or 'team')}"
    by_status = rows(f"select coalesce(status, '?'), count(*) {jobs} group by 1 order by 2 desc, 1")
    newest = rows(f"select epoch_us(max(created_at)) {jobs}")[0][0]
    oldest_open = rows(
        f"select id, status, model, epoch_us(created_at) {jobs} and {IS_OPEN} order by created_at limit 1"
    )
    open_jobs = rows(f"select count(*) {jobs} and {IS_OPEN}")[0][0]
    return {
        "last_sync": run_facts(run),
        "balance": _balance(readings(warehouse)[0], now),
        "reconciliation": _reconciliation(connection, now),
        "age_seconds": max(0, round((now - run.finished_at) / 1e6)),
        "jobs": sum(count for _, count in by_status),
        "jobs_by_status": dict(by_status),
        "newest_job": newest and moment(newest).isoformat(),
        "open_jobs": open_jobs,
        "oldest_open_job": _open_job(oldest_open[0], now) if oldest_open else None,
        "high_water_mark": run.high_water_mark and moment(run.high_water_mark).isoformat(),
    }


def _balance(last: Balance | None, now: int) -> Mapping[str, Any] | None:
    """Return the last reading of the account's balance, one that failed with its problem and without credits."""
    if last is None:
        return None
    age_seconds = max(0, round((now - last.read_at) / 1e6))
    return {**last._asdict(), "read_at": moment(last.read_at).isoformat(), "age_seconds": age_seconds}


def _reconciliation(connection: duckdb.DuckDBPyConnection, now: int) -> Mapping[str, Any] | None:
    """Return whether jobs and balance add up: the last verdict, and what does not in all; None without two readings."""
    try:
        last = connection.execute(
            "select count(*) over (), count(case when verdict <> 'balances' then 1 end) over (), "
            "sum(residual) over (), coalesce(sum(case when verdict = 'top-up' then residual end) over (), 0), "
            "count(case when verdict = 'top-up' then 1 end) over (), verdict, epoch_us(closed_at) "
            "from reports.reconciliation order by closed_at desc limit 1"
        ).fetchall()
    except (duckdb.CatalogException, duckdb.BinderException):  # of an older version, until the next sync
        return None
    if not last:
        return None
    pairs, off, residual, came_in, top_ups, verdict, closed_at = last[0]
    return {
        "verdict": verdict,
        "closed_at": moment(closed_at).isoformat(),
        "age_seconds": max(0, round((now - closed_at) / 1e6)),
        "pairs": pairs,
        "pairs_off": off,
        "residual": residual,
        "top_ups": top_ups,
        "topped_up": came_in,
    }


def _runway(found: Runway | None) -> Mapping[str, Any] | None:
    """Return how long the credits last, as people read it and by name; none where no balance was read."""
    if found is None:
        return None
    facts = {name: value for name, value in found._asdict().items() if name != "path"}
    times = {name: value.isoformat() for name, value in facts.items() if isinstance(value, date)}
    return {**facts, **times, "sentence": sentence(found)}


def _open_job(row: tuple[Any, ...], now: int) -> Mapping[str, Any]:
    identity, status, model, created_at = row
    return {
        "id": identity,
        "status": status,
        "model": model,
        "created_at": moment(created_at).isoformat(),
        "age_seconds": max(0, round((now - created_at) / 1e6)),
    }
