"""What a warehouse has to hold: worked out from the API's answers and the contract, not by the code under test."""

import contextlib
import json
import math
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from pipelines.sandbox import Sandbox

#: The contract: column -> type, in order.
JOBS = {
    "id": "VARCHAR",
    "status": "VARCHAR",
    "model": "VARCHAR",
    "modality": "VARCHAR",
    "progress": "DOUBLE",
    "credit_cost": "DECIMAL(18,4)",
    "error": "VARCHAR",
    "webhook_status": "VARCHAR",
    "created_at": "TIMESTAMP WITH TIME ZONE",
    "completed_at": "TIMESTAMP WITH TIME ZONE",
    "expired": "BOOLEAN",
    "asset_count": "INTEGER",
    "result": "JSON",
    "extra": "JSON",
    "scope": "VARCHAR",
    "synced_at": "TIMESTAMP WITH TIME ZONE",
    "delisted_at": "TIMESTAMP WITH TIME ZONE",
    "_dlt_load_id": "VARCHAR",
}
#: What the API says of a job, by column.
NAMES = {
    "status": "status",
    "model": "model",
    "progress": "progress",
    "creditCost": "credit_cost",
    "error": "error",
    "webhookStatus": "webhook_status",
    "createdAt": "created_at",
    "completedAt": "completed_at",
    "expired": "expired",
    "result": "result",
}


def connect(path: Path) -> Any:
    """A connection for readers; the fixture `destination` puts another in its place."""
    return duckdb.connect(str(path), read_only=True)


def query(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """Rows of the warehouse; times have to be asked for as text or numbers."""
    with contextlib.closing(connect(path)) as connection:
        return list(connection.execute(sql).fetchall())


def stored(path: Path) -> dict[str, dict[str, Any]]:
    """Every row of jobs by id; times in microseconds since 1970, JSON decoded."""
    columns = [f"epoch_us({name})" if "TIME ZONE" in kind else name for name, kind in JOBS.items()]
    rows = query(path, f"select {', '.join(columns)} from apiframe.jobs")
    jobs = [dict(zip(JOBS, row, strict=True)) for row in rows]
    for job in jobs:
        for name in ("result", "extra"):
            job[name] = None if job[name] is None else json.loads(job[name])
    by_id = {job["id"]: job for job in jobs}
    assert len(by_id) == len(jobs), "a job is in the warehouse twice"
    return by_id


def served(job: dict[str, Any]) -> dict[str, Any]:
    """The columns that follow from what the API serves, for a job whose fields fit their columns."""
    row = {column: job.get(name) for name, column in NAMES.items()}
    for column in ("created_at", "completed_at"):
        row[column] = None if row[column] is None else microseconds(row[column])
    if row["credit_cost"] is not None:
        row["credit_cost"] = Decimal(str(row["credit_cost"])).quantize(Decimal("0.0001"))
    extra = {name: value for name, value in job.items() if name != "id" and name not in NAMES}
    return {**row, "extra": extra or None}


def microseconds(moment: str | datetime) -> int:
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def stale(path: Path, api: Sandbox, scope: str = "user", but: Iterable[str] = ()) -> dict[str, str]:
    """How the warehouse differs from what the API lists, by id; empty where it converged. `but` is not looked at."""
    rows, left_out = stored(path), set(but)
    found: dict[str, str] = {}
    for job in api.listing(scope):
        if job["id"] in left_out:
            continue
        row = rows.get(job["id"])
        if row is None:
            found[job["id"]] = "missing"
            continue
        wrong = [
            f"{name}: {row[name]!r}, served {value!r}" for name, value in served(job).items() if row[name] != value
        ]
        if row["delisted_at"] is not None:
            wrong.append("delisted")
        if wrong:
            found[job["id"]] = "; ".join(wrong)
    return found


def runs(path: Path) -> list[dict[str, Any]]:
    """The rows of sync_runs in order; times in microseconds since 1970."""
    times = ("started_at", "finished_at", "high_water_mark", "since")
    names = ["mode", "requests", "retries", "jobs_read", "jobs_new", "jobs_finished", "open_jobs", "scope"]
    columns = [f"epoch_us({name})" for name in times] + names
    rows = query(path, f"select {', '.join(columns)} from apiframe.sync_runs order by number")
    return [dict(zip((*times, *names), row, strict=True)) for row in rows]


def pages(jobs: int) -> int:
    """Pages that hold so many jobs; the list's first page always has to be read."""
    return max(1, math.ceil(jobs / 100))


#: Processes that start fast: forked from one that has imported what a sync needs, and that has no threads.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(
    ["dlt", "dlt.destinations.impl.duckdb.duck", "dlt.common.libs.pyarrow", "pipelines.sync"]
)


@contextlib.contextmanager
def running(target: Callable[..., None], *arguments: Any) -> Iterator[multiprocessing.Process]:
    """Run a function in a process of its own, in this environment, that does not outlive the block."""
    process = processes.Process(target=_in_environment, args=(dict(os.environ), target, *arguments))
    process.start()
    try:
        yield process
    finally:
        if process.is_alive():
            process.kill()
        process.join()
        process.close()


def _in_environment(environment: dict[str, str], target: Callable[..., None], *arguments: Any) -> None:
    # Processes are forked from a server that was started before this test set its environment.
    os.environ.clear()
    os.environ.update(environment)
    target(*arguments)
