"""What a warehouse holds and how fresh it is. Reads, never writes, and waits for nobody."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from pipelines.apiframe.records import moment
from pipelines.apiframe.settled import IS_OPEN
from pipelines.errors import BusyError, ConfigurationError
from pipelines.settings import Settings
from pipelines.warehouse import SCHEMA, Run, Warehouse, connect_readonly, warehouse_for


def run_facts(run: Run) -> dict[str, Any]:
    """Return a row of `sync_runs` with times as ISO text (UTC)."""
    facts = run._asdict()
    for name in ("started_at", "finished_at", "high_water_mark", "since"):
        facts[name] = moment(facts[name]).isoformat() if facts[name] is not None else None
    return facts


def facts(path: Path, now: int) -> dict[str, Any]:
    """Return what `status` says, by name; `now` in microseconds since 1970.

    Raises ConfigurationError where there is no warehouse and no first load on its way to one.
    """
    warehouse = Warehouse(path)
    if not warehouse.path.exists():
        return {"path": str(path), "first_load": _first_load(warehouse)}
    connection = connect_readonly(warehouse.path)
    try:
        return {"path": str(path), "size_bytes": warehouse.path.stat().st_size, **_published(connection, path, now)}
    finally:
        connection.close()


def facts_there(chosen: Settings, now: int) -> dict[str, Any]:
    """Return what `status` says of a warehouse that is no DuckDB file."""
    warehouse = warehouse_for(chosen)
    with contextlib.closing(warehouse.connect_readonly()) as connection:
        size = warehouse.size_bytes(connection)
        place = str(warehouse.place)
        return {"path": place, "place": place, "size_bytes": size, **_published(connection, place, now)}


def _published(connection: duckdb.DuckDBPyConnection, place: Path | str, now: int) -> dict[str, Any]:
    def rows(sql: str) -> list[tuple[Any, ...]]:
        return connection.execute(sql).fetchall()

    run = Warehouse.over(connection, place).last_run()
    if run is None:
        raise ConfigurationError(f"{place} holds no sync yet: run apiframe-warehouse sync")
    by_status = rows(f"select coalesce(status, '?'), count(*) from {SCHEMA}.jobs group by 1 order by 2 desc, 1")
    newest = rows(f"select epoch_us(max(created_at)) from {SCHEMA}.jobs")[0][0]
    oldest_open = rows(
        f"select id, status, model, epoch_us(created_at) from {SCHEMA}.jobs where {IS_OPEN} order by created_at limit 1"
    )
    return {
        "last_sync": run_facts(run),
        "age_seconds": max(0, round((now - run.finished_at) / 1e6)),
        "jobs": sum(count for _, count in by_status),
        "jobs_by_status": dict(by_status),
        "newest_job": newest and moment(newest).isoformat(),
        "open_jobs": run.open_jobs,
        "oldest_open_job": _open_job(oldest_open[0], now) if oldest_open else None,
        "high_water_mark": run.high_water_mark and moment(run.high_water_mark).isoformat(),
    }


def _open_job(row: tuple[Any, ...], now: int) -> Mapping[str, Any]:
    identity, status, model, created_at = row
    return {
        "id": identity,
        "status": status,
        "model": model,
        "created_at": moment(created_at).isoformat(),
        "age_seconds": max(0, round((now - created_at) / 1e6)),
    }


def _first_load(warehouse: Warehouse) -> dict[str, Any]:
    if not warehouse.load_file.exists():
        raise ConfigurationError(f"there is no warehouse at {warehouse.path} yet: run apiframe-warehouse sync")
    try:
        with warehouse.lock(0):
            connection = connect_readonly(warehouse.load_file)
            try:
                loaded = Warehouse.over(connection, warehouse.load_file)
                if not loaded.has("jobs"):
                    return {"running": False, "jobs": 0, "back_to": None}
                jobs, oldest = loaded.query(f"select count(*), epoch_us(min(created_at)) from {SCHEMA}.jobs")[0]
            finally:
                connection.close()
    except BusyError:
        return {"running": True, "jobs": None, "back_to": None}
    return {"running": False, "jobs": jobs, "back_to": oldest and moment(oldest).isoformat()}
