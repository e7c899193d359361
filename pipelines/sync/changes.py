"""What a reading has brought that differs from the warehouse: batches of rows in, batches of rows to write out."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

from pipelines.apiframe.answers import ApiError
from pipelines.apiframe.catalogue import Catalogue
from pipelines.apiframe.reading import Batch, Reading
from pipelines.apiframe.records import FINAL, OPEN, Row, differences, unread_fields
from pipelines.exact import one_line
from pipelines.stores import Store
from pipelines.sync.memory import WarehouseMemory
from pipelines.tables.job_changes import Change, between
from pipelines.tables.jobs import SERVED
from pipelines.warehouse import SEEN, Warehouse

DELISTED_ROWS = 125_000


class Changes:
    """The changes of one sync, and what is to be said of them.

    `problem` is an error of the reading: what was read before it is a change all the same.
    """

    def __init__(
        self, reading: Reading, memory: WarehouseMemory, catalogue: Catalogue, store: Store, warehouse: Warehouse
    ) -> None:
        self.finished: set[str] = set()
        self.drift: Counter[str] = Counter()  # full sync: column -> in how many known jobs it had become different
        self.drifted: set[str] = set()
        self.problem: ApiError | None = None
        self.seen: dict[str, list[Change]] = {}  # id -> what changed in a job that is about to be stored
        self._spent_before: Decimal | None = None  # None: nothing was found to have changed
        self._unread: dict[str, str] = {}  # id -> fields of a job that could not be read, as it was written just now
        self._reading = reading
        self._memory = memory
        self._catalogue = catalogue
        self._store = store
        self._warehouse = warehouse

    def among(self, batches: Iterator[Batch], scope: str) -> Iterator[Batch]:
        """Yield the rows of each batch that differ from the warehouse, and at the end those no longer listed."""
        for batch in self._among(batches, scope):
            if batch.rows and self._spent_before is None:
                self._spent_before = self._warehouse.spent()
            yield batch

    @property
    def are_none(self) -> bool:
        """Tell whether there was nothing to store."""
        return self._spent_before is None

    def credits_added(self) -> Decimal:
        """Return by how much what was stored has changed what the jobs have cost, less what was given back."""
        return Decimal(0) if self._spent_before is None else self._warehouse.spent() - self._spent_before

    def _among(self, batches: Iterator[Batch], scope: str) -> Iterator[Batch]:
        try:
            for batch in batches:
                rows = self._changed(self._store.storable(batch.rows))
                yield Batch(self._catalogue.completed(rows), batch.progress)
            unseen = self._warehouse.not_seen(scope, self._memory.since) if self._memory.full else None
            delisted = self._reading.gone(unseen)
            if self._reading.left_out:
                rows = self._changed(self._store.storable(self._reading.left_out))
                yield Batch(self._catalogue.completed(rows), None)
        except ApiError as problem:
            self.problem = problem
            return
        now = self._reading.client.now()  # one for all: where one comes back, the others are looked at
        for start in range(0, len(delisted), DELISTED_ROWS):
            rows = []
            for kept in self._warehouse.rows(delisted[start : start + DELISTED_ROWS]):
                rows.append(kept._replace(delisted_at=now, synced_at=now))
                self.seen[kept.id] = between(kept, rows[-1])
            yield Batch(rows, None)

    @property
    def note(self) -> str | None:
        """What could not be read of a job, if anything."""
        if not self._unread:
            return None
        identity, names = next(iter(self._unread.items()))
        more = f", and {len(self._unread) - 1} more" if len(self._unread) > 1 else ""
        return f"not read in full: {names} of job {one_line(identity, 80)}{more}; see its extra"

    def _changed(self, rows: list[Row]) -> list[Row]:
        if self._memory.full:
            self._store.write(SEEN, [(row.id,) for row in rows])
        changed = rows
        if self._memory.before.jobs:
            kept = self._warehouse.kept(rows)
            changed = [row for row in (self._compare(row, kept.get(row.id)) for row in rows) if row]
        self._unread.update((row.id, names) for row in changed if row.extra and (names := unread_fields(row.extra)))
        return changed

    def _compare(self, row: Row, kept: Row | None) -> Row | None:
        """Return the row to write, None where the warehouse has it already."""
        if kept is None:
            return row
        if kept.scope == "user" and kept.delisted_at is None:
            row = row._replace(scope="user")
        if _served(row) == _served(kept) and kept.delisted_at is None and kept.scope == row.scope:
            return None
        different = differences(row, kept)
        if not different and kept.delisted_at is None and kept.scope == row.scope:
            return None
        self.seen[row.id] = between(kept, row)
        if kept.status not in FINAL and row.status in FINAL:
            self.finished.add(row.id)
        # What an open job goes on to do is no drift: every sync would have seen it.
        is_alive = kept.status in OPEN and kept.delisted_at is None
        if self._memory.full and not is_alive and row.id not in self.drifted:
            self.drifted.add(row.id)
            self.drift.update(different)
        return row


_served = operator.itemgetter(*(Row._fields.index(name) for name in SERVED))
