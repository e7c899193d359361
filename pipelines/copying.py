"""Bringing a warehouse over from one store to another, with its state: the next sync there goes on where it was.

Reads what the last sync left, a first load that was cut short included. Cut short itself, it is run again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from pipelines.errors import ApiframeWarehouseError, ConfigurationError
from pipelines.stores import Store
from pipelines.sync.loading import CHUNK_ROWS
from pipelines.tables import tables
from pipelines.tables.job_changes import recover
from pipelines.tables.jobs import TABLE as JOBS
from pipelines.tables.sync_runs import TABLE as SYNC_RUNS
from pipelines.warehouse import Warehouse


class Copied(NamedTuple):
    """What was brought over, and where to."""

    place: str
    jobs: int
    syncs: int


def copy(source: Store, target: Store, *, wait: float = 60) -> Copied:
    """Copy every table to an empty warehouse; the row of each sync comes last, so that half a copy is none."""
    source.first_load()  # says so where there is no warehouse; opening it would make one
    with source.lock(wait), source.open() as here, target.lock(wait), target.open() as there:
        if not here.has(JOBS.name):
            raise ConfigurationError(f"there are no jobs in {source.place} to copy")
        if there.last_run():
            raise ConfigurationError(f"{target.place} holds a warehouse already; copy goes to an empty one only")
        recover(source, here)  # what the next sync there would have done first
        _copy_jobs(source, here, target)
        if (here.totals(), here.spent()) != (there.totals(), there.spent()):
            raise ApiframeWarehouseError(f"{target.place} does not hold what {source.place} does; run copy again")
        runs = here.read(SYNC_RUNS)
        if runs:
            with target.transaction():
                others = [table for table in tables().values() if table not in (JOBS, SYNC_RUNS)]
                for table in others:
                    target.empty(table)  # what a copy that was cut short has left
                target.prepare(*tables().values())
                for table in others:
                    target.write(table, here.read(table))
                target.write(SYNC_RUNS, runs)
            target.create_views(target.checked_views())
            target.publish()
            target.keep_seal(source.seal())
        return Copied(str(target.place), here.totals().jobs, len(runs))


def _copy_jobs(source: Store, here: Warehouse, target: Store) -> None:
    # A full sync that was cut short starts anew: which jobs it has seen stays behind.
    progress = {
        scope: saved
        for scope, saved in source.state().get("progress", {}).items()
        if saved and saved["mode"] == "first"
    }
    pipeline = target.pipeline()
    for rows in here.jobs(CHUNK_ROWS):

        def chunk(rows: Any = rows) -> Iterator[Any]:
            import dlt

            dlt.current.resource_state("jobs")["progress"] = progress
            yield JOBS.to_arrow(target.storable(rows))

        target.load(pipeline, chunk)
