"""What settled jobs were asked for: each is read once in its life, and only where `inputs` is set.

Rows are stored as they come, and never again: a sync that is cut short goes on with the jobs that have none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pipelines.apiframe.inputs import Input, Kept, read
from pipelines.exact import microseconds
from pipelines.tables import Column, Table

if TYPE_CHECKING:
    from pipelines.stores import Store
    from pipelines.tables._sync import Sync

CHUNK = 16  # rows stored at once: a kill loses these at most, and one more for each connection
ATTEMPTS = 2  # inputs are no reason to hold a sync up: the next one asks for those that are missing
LONGEST_WAIT = 5.0  # seconds between them


def rows(sync: Sync) -> None:
    """Read and store the inputs that are missing, at most `inputs_per_sync`."""
    settings = sync.settings
    if not settings.inputs:
        return
    settle_after = microseconds(settings.settle_after)
    ids = sync.warehouse.without_input(settings.scope, sync.started_at, settle_after, settings.inputs_per_sync)
    kept = Kept(settings.inputs_keep, settings.inputs_drop)
    found = read(sync.client, ids, kept, workers=settings.workers, attempts=ATTEMPTS, longest_wait=LONGEST_WAIT)
    fill(sync.store, found)


def fill(store: Store, inputs: Iterable[Input]) -> None:
    """Store inputs as they come; what came before an error or an interrupt is stored too."""
    store.prepare(TABLE)
    waiting: list[Input] = []
    try:
        for found in inputs:
            waiting.append(found)
            if len(waiting) == CHUNK:
                chunk, waiting = waiting, []
                _store(store, chunk)
    finally:
        if waiting:
            _store(store, waiting)


def _store(store: Store, chunk: list[Input]) -> None:
    with store.transaction():
        store.write(TABLE, chunk)


TABLE = Table(
    "job_inputs",
    "One row per job whose input was asked for; none where sources.apiframe.inputs is not set.",
    (
        Column("id", "VARCHAR", "The job's id."),
        Column("input", "JSON", "What it was asked for, as served, less what inputs_keep and inputs_drop leave out."),
        Column("read_at", "TIMESTAMPTZ", "When it was read."),
        Column("problem", "VARCHAR", "Why there is no input; null where it was read."),
    ),
    rows=rows,
)
