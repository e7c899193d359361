"""Chunks of rows to dlt. Where nothing differs, dlt is not even imported."""

from __future__ import annotations

import contextlib
import gc
import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from pipelines.apiframe.reading import Batch
from pipelines.stores import Store
from pipelines.tables.job_changes import BEGUN, Change
from pipelines.tables.jobs import TABLE as JOBS
from pipelines.warehouse import Warehouse

#: A killed first load loses at most a chunk; each costs dlt a third of a second.
CHUNK_ROWS = 125_000
CHUNK_SECONDS = 8.0

Item = TypeVar("Item")


def prepare_dlt() -> None:
    """Import dlt, so that it is there when it is needed."""
    import pipelines.confined  # noqa: F401


def load(
    store: Store,
    warehouse: Warehouse,
    changes: Iterator[Batch],
    seen: dict[str, list[Change]],
    kept: Callable[[Batch], Any],
    scope: str,
) -> list[Change]:
    """Load batches chunk by chunk; `kept` tells what to keep as the progress of a scope once a batch is stored.

    What was `seen` to change in the jobs of a chunk is noted before they are; returns what is stored of it.
    """
    stored = time.monotonic()
    told: list[Change] = []
    pipeline = None
    for first in changes:
        if not first.rows and warehouse.has("jobs"):
            continue
        if pipeline is None:
            pipeline = store.pipeline()
        else:
            gc.collect()  # what dlt leaves of a chunk goes round in circles, and holds its ids
        rest = itertools.chain([first], changes)
        until = stored + CHUNK_SECONDS
        begun: list[Change] = []

        def chunk(rest: Iterator[Batch] = rest, until: float = until, begun: list[Change] = begun) -> Iterator[Any]:
            import dlt

            progress = dlt.current.resource_state("jobs").setdefault("progress", {})
            loaded: set[str] = set()
            for batch in rest:
                # Slices overlap, and a job may be on a page and on a list: any copy is what the API served just now.
                rows = {row.id: row for row in batch.rows if row.id not in loaded}
                yield JOBS.to_arrow(list(rows.values()))
                loaded |= rows.keys()
                progress[scope] = kept(batch)
                begun.extend(change for identity in rows for change in seen.pop(identity, ()))
                if len(loaded) >= CHUNK_ROWS or time.monotonic() > until:
                    break
            if begun:
                store.prepare(BEGUN)
                store.write(BEGUN, begun)

        store.load(pipeline, chunk)
        told += begun
        stored = time.monotonic()
    return told


class Ahead(Generic[Item]):
    """Runs an iterator in a thread of its own, at most `most` items ahead, so that it goes on while dlt loads."""

    def __init__(self, items: Iterator[Item], most: int) -> None:
        self._ready: queue.Queue[tuple[bool, Any]] = queue.Queue(maxsize=most)
        self._stopped = threading.Event()
        threading.Thread(target=self._work, args=(items,), daemon=True, name="reading").start()

    def __iter__(self) -> Iterator[Item]:
        while True:
            more, item = self._ready.get()
            if more:
                yield item
            elif item is not None:
                raise item
            else:
                return

    def close(self) -> None:
        """Let the thread end at its next item."""
        self._stopped.set()

    def _work(self, items: Iterator[Item]) -> None:
        try:
            for item in items:
                self._put((True, item))
                if self._stopped.is_set():
                    return
        except BaseException as problem:  # raised again in the consumer
            self._put((False, problem))
        else:
            self._put((False, None))

    def _put(self, entry: tuple[bool, Any]) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Full):
                self._ready.put(entry, timeout=0.1)
                return
