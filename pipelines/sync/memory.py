"""The warehouse as the memory of a reading."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Sequence

from pipelines.apiframe.frontier import Unsettled
from pipelines.apiframe.memory import Memory
from pipelines.sync.loading import prepare_dlt
from pipelines.sync.plan import Plan
from pipelines.warehouse import Warehouse


class WarehouseMemory(Memory):
    """What a warehouse holds of the list of one scope."""

    def __init__(self, warehouse: Warehouse, scope: str, planned: Plan, settle_after: int) -> None:
        self.known = planned.known
        self.since = planned.since
        self.whole = planned.whole
        self.full = planned.mode == "full"  # what is known and not seen again is no longer listed
        self.reach = planned.reach
        self.complete_since = planned.complete_since
        self.before = warehouse.totals()
        self.open_jobs = warehouse.open_jobs() if self.before.open_jobs else {}
        self._warehouse = warehouse
        self._scope = scope
        self._seen_at = planned.seen_at
        self._settle_after = settle_after

    def unsettled(self, now: int) -> Iterable[Unsettled]:
        """Return what the last sync left unsettled; one that began later than now had a clock that was ahead."""
        if self._seen_at is None or not self._warehouse.has("jobs"):
            return ()
        return self._warehouse.unsettled(self._scope, min(self._seen_at, now), self._settle_after)

    def unsettled_before(self, now: int) -> Iterable[Unsettled]:
        """Ask the warehouse."""
        if self.complete_since is None:
            return ()
        return self._warehouse.unsettled(self._scope, min(self.complete_since, now), self._settle_after)

    def is_known(self, positions: Sequence[tuple[int, str]]) -> bool:
        """Ask the warehouse."""
        return self._warehouse.knows(self._scope, positions)

    def expect(self) -> None:
        """Have dlt imported while the pages come."""
        threading.Thread(target=prepare_dlt, daemon=True, name="import dlt").start()

    def newer_than(self, created_at: int) -> int:
        """Ask the warehouse."""
        return self._warehouse.newer_than(self._scope, created_at)

    def older_than(self, created_at: int | None) -> Sequence[tuple[int, str]]:
        """Ask the warehouse."""
        return self._warehouse.older_than(self._scope, created_at)

    def lately_delisted(self, now: int) -> Sequence[str]:
        """Ask the warehouse for those that have come to an age since the last sync."""
        known = self.known
        return self._warehouse.lately_delisted(self._scope, known.started_at, now) if known else ()

    def delisted_with(self, ids: Collection[str]) -> Iterable[Unsettled]:
        """Ask the warehouse."""
        return self._warehouse.delisted_with(self._scope, ids)
