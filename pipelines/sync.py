"""One sync: lock, read, load, record, publish. Ends whole, or raises and leaves the published file as it was.

What to ask for is decided in `apiframe.frontier`, how to page in `apiframe.slices`; where it lies is `warehouse`'s.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import operator
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Generic, TypeVar

from pipelines.apiframe import connect, microseconds, modalities, records
from pipelines.apiframe.account import Account, verify
from pipelines.apiframe.client import ApiError, Client
from pipelines.apiframe.evidence import require_ours
from pipelines.apiframe.frontier import PAGE, Known, Unsettled
from pipelines.apiframe.reading import Batch, Reading
from pipelines.apiframe.records import FINAL, Row, unread_fields
from pipelines.apiframe.slices import can_restore
from pipelines.errors import ConfigurationError
from pipelines.settings import Settings
from pipelines.stores import Store, first_line, store_for
from pipelines.tables import Table, tables
from pipelines.tables.jobs import SERVED
from pipelines.tables.jobs import TABLE as JOBS
from pipelines.tables.sync_runs import TABLE as SYNC_RUNS
from pipelines.tables.sync_runs import Run
from pipelines.warehouse import SEEN, Totals, Warehouse

#: A killed first load loses at most a chunk; each costs dlt a third of a second.
CHUNK_ROWS = 125_000
CHUNK_SECONDS = 8.0
BATCHES_AHEAD = 8
CATALOGUE_AGE = microseconds(timedelta(days=1))

Item = TypeVar("Item")


@dataclass(frozen=True)
class Outcome:
    """What a sync did. `credits_added` is by how much it changed what the jobs have cost, refunds subtracted."""

    run: Run
    jobs: int
    credits_added: Decimal
    seconds: float
    path: Path | str
    drifted: int = 0  # full sync: known jobs that had become different
    drift: dict[str, int] = field(default_factory=dict)  # column -> in how many of them
    delisted: int = 0
    throttled: int = 0
    notes: list[str] = field(default_factory=list)


def sync(
    settings: Settings,
    *,
    full: bool = False,
    since: int | None = None,
    wait: float = 60,
    on_page: Callable[[Reading], None] = lambda _: None,
) -> Outcome:
    """Bring the warehouse up to date and publish it.

    `full` reads everything again; `since` (microseconds since 1970) limits a first load. `on_page` is called for
    every page. Raises the errors of `pipelines.errors` and of the client; the next sync then makes it whole. Leaves
    the process that calls as it was: its environment, dlt's configuration, signals and imports.
    """
    store = store_for(settings)
    client = connect(settings)
    with contextlib.closing(client), store.lock(wait), store.open() as warehouse:
        begun = time.monotonic()
        views = store.checked_views()  # what is wrong with them is said before anything is read
        outcome = _Sync(settings, client, store, warehouse, full, since, on_page).run(begun)
        outcome.notes.extend(views.notes + store.create_views(views))
        store.publish()
    return outcome


def _prepare_dlt() -> None:
    import pipelines.confined  # noqa: F401 - dlt, so that it is loaded when it is needed


class _Sync:
    def __init__(
        self,
        settings: Settings,
        client: Client,
        store: Store,
        warehouse: Warehouse,
        full: bool,
        since: int | None,
        on_page: Callable[[Reading], None],
    ) -> None:
        self.settings = settings
        self.client = client
        self.store = store
        self.warehouse = warehouse
        self.scope = settings.scope
        self.settle_after = microseconds(settings.settle_after)
        self.notes: list[str] = []
        self.finished: set[str] = set()
        self.drift: Counter[str] = Counter()
        self.drifted: set[str] = set()
        self.unread: dict[str, str] = {}  # id -> fields of a job that could not be read, as it was written just now
        self.problem: BaseException | None = None
        self.before = warehouse.totals()
        self.models = warehouse.models()
        self.catalogue: list[dict[str, Any]] | None = None
        self.catalogue_asked = False
        self.filled: list[tuple[Table, list[Any]]] = []
        self._plan(full, since)
        self.account = self._whose()
        known = self.known
        self.reading = Reading(
            client,
            known=known,
            unsettled=self._unsettled,
            newer_than=lambda created_at: warehouse.newer_than(self.scope, created_at),
            open_jobs=warehouse.open_jobs() if self.before.open_jobs else {},
            is_known=lambda positions: warehouse.knows(self.scope, positions),
            older_than=lambda created_at: warehouse.older_than(self.scope, created_at),
            lately_delisted=lambda now: warehouse.lately_delisted(self.scope, known.started_at, now) if known else (),
            delisted_with=lambda ids: warehouse.delisted_with(self.scope, ids),
            on_new=lambda: threading.Thread(target=_prepare_dlt, daemon=True, name="import dlt").start(),
            settle_after=self.settle_after,
            workers=settings.workers,
            since=self.since,
            whole=self.mode == "full",
            modalities={model: modality for model, (modality, _) in self.models.items() if modality},
            on_page=on_page,
        )

    def _plan(self, full: bool, since: int | None) -> None:
        """Decide the mode, and what of an earlier sync to go on from."""
        last = self.warehouse.last_run(self.scope)
        latest = self.warehouse.last_run()
        self.number = latest.number + 1 if latest else 1
        state = self.store.state() if full or last is None else {}
        progress = state.get("progress", {})
        saved = progress.get(self.scope)
        belongs_to = latest.base_url if latest else next((each["base_url"] for each in progress.values() if each), None)
        if belongs_to not in (None, self.settings.base_url):
            raise ConfigurationError(
                f"{self.store.place} belongs to {belongs_to}; for {self.settings.base_url} set another warehouse.path"
            )
        if last and since is not None and not full and (last.since is None or last.since <= since):
            self.notes.append("--since has no effect: the warehouse goes back further already")
        if full and last:  # where nothing was read yet, a first load reads everything
            self.mode, self.since = "full", since
        elif last is None or (since is not None and last.since is not None and since < last.since):
            self.mode, self.since = "first", since
        else:
            self.mode, self.since = "incremental", last.since
        self.progress: dict[str, Any] | None = None
        self.known: Known | None = None
        self.seen_at: int | None = None  # what was unsettled then is met, or looked up
        if last and self.mode == "incremental":
            self.known, self.seen_at = Known(last.started_at, last.high_water_mark), last.started_at
            return
        if self.mode == "first" and latest:  # what the other scope has brought may be gone since
            runs = [self.warehouse.last_run(scope) for scope in ("user", "team")]
            self.seen_at = min(run.started_at for run in runs if run)
        if (
            saved
            and (saved["mode"], saved["since"]) == (self.mode, self.since)
            and can_restore(saved["slices"])
            and (last is None or saved["number"] > last.number)  # not its time: clocks can be set back
            # What a full sync has seen is forgotten at the end of any other.
            and (self.mode == "first" or saved["number"] == self.number)
        ):
            self.progress = saved
            self.known = Known(saved["started_at"], saved["high_water_mark"], progress=saved["slices"])
            self.seen_at = min(saved["started_at"], self.seen_at or saved["started_at"])
            self.notes.append("went on where an earlier sync was cut short")

    def _whose(self) -> Account:
        """Return the account of the key; refuse one that is not the warehouse's."""
        known = self.warehouse.account(self.scope)
        if not known.is_known:
            for saved in self.store.state().get("progress", {}).values():
                if saved:  # what a first load left
                    known = known.completed(Account(saved.get("user_id"), saved.get("team_id")))
        seal = self.store.seal()
        account, kept = verify(self.client, self.settings.require_key(), known, seal, self.store.place)
        if self.before.jobs and not known.is_known and (kept is None or kept != seal):
            newest = next(self.warehouse.jobs(PAGE))
            ids = [row.id for row in newest if row.delisted_at is None and self.scope in ("team", row.scope)]
            require_ours(self.client, ids, self.store.place)
        if kept != seal:
            self.store.keep_seal(kept)
        return account

    def _unsettled(self, now: int) -> Sequence[Unsettled]:
        """Return what the last sync left unsettled; one that began later than now had a clock that was ahead."""
        if self.seen_at is None or not self.warehouse.has("jobs"):
            return ()
        return self.warehouse.unsettled(self.scope, min(self.seen_at, now), self.settle_after)

    def run(self, begun: float) -> Outcome:
        """Read, load and record."""
        if self.mode == "full":
            if self.progress is None:
                self.store.empty(SEEN)
            self.store.prepare(SEEN)
        self._fill(before=True)
        self.reading.begin()
        if self.reading.clock_note:
            self.notes.append(self.reading.clock_note)
        with contextlib.ExitStack() as stack:
            batches = self.reading.batches()
            if self.reading.walks:
                if not self.reading.quick:
                    batches = iter(stack.enter_context(contextlib.closing(_Ahead(batches, BATCHES_AHEAD))))
                _prepare_dlt()  # while the first pages come
            self._load(batches)
        if self.reading.disordered:
            self.notes.append("the jobs did not come newest first, so the whole list was read")
        if self.client.throttled:
            self.notes.append(f"the API asked to slow down {self.client.throttled} times")
        for identity, fields in list(self.unread.items())[:1]:
            more = f", and {len(self.unread) - 1} more" if len(self.unread) > 1 else ""
            self.notes.append(
                f"not read in full: {fields} of job {records.one_line(identity, 80)}{more}; see its extra"
            )
        after = self.warehouse.totals()
        return Outcome(
            run=self._record(after, begun),
            jobs=after.jobs,
            credits_added=after.credits - self.before.credits,
            seconds=time.monotonic() - begun,
            path=self.store.place,
            drifted=len(self.drifted),
            drift=dict(self.drift.most_common()),
            delisted=len(self.reading.delisted),
            throttled=self.client.throttled,
            notes=self.notes,
        )

    def _record(self, after: Totals, begun: float) -> Run:
        started_at = self.reading.started_at
        run = Run(
            started_at=started_at,
            finished_at=started_at + int((time.monotonic() - begun) * 1e6),
            mode=self.mode,
            requests=self.client.requests,
            retries=self.client.retries,
            jobs_read=self.reading.jobs_read,
            jobs_new=after.jobs - self.warehouse.counted_jobs(),
            jobs_finished=len(self.finished),
            open_jobs=after.open_jobs,
            high_water_mark=self.reading.high_water_mark,
            scope=self.scope,
            since=self.since,
            base_url=self.settings.base_url,
            number=self.number,
            user_id=self.account.user_id,
            team_id=self.account.team_id,
        )
        self._fill(before=False)
        with self.store.transaction():
            self.store.prepare(*tables().values())
            for table, rows in self.filled:
                self.store.write(table, rows)
            self.store.empty(SEEN)
            self.store.write(SYNC_RUNS, [run])  # last: a sync of which this is there has ended well
        return run

    @property
    def started_at(self) -> int:
        """The sync's own time, in microseconds since 1970."""
        return self.reading.started_at

    def _fill(self, *, before: bool) -> None:
        """Let the tables that have rows of their own ask for them."""
        for table in tables().values():
            if table.rows is None or table.before is not before:
                continue
            try:
                rows = table.rows(self)
                if rows is not None:
                    self.filled.append((table, list(rows)))
            except Exception as problem:
                self.notes.append(f"{table.name} could not be read: {first_line(problem)}")

    # Loading

    def _load(self, batches: Iterator[Batch]) -> None:
        """Load what differs from the warehouse, chunk by chunk. Where nothing does, dlt is not even imported."""
        changes = self._changes(batches)
        stored = time.monotonic()
        pipeline = None
        for first in changes:
            if not first.rows and self.warehouse.has("jobs"):
                continue
            if pipeline is None:
                pipeline = self.store.pipeline()
            else:
                gc.collect()  # what dlt leaves of a chunk goes round in circles, and holds its ids
            self._load_chunk(pipeline, itertools.chain([first], changes), stored + CHUNK_SECONDS)
            stored = time.monotonic()
        if self.problem is not None:
            raise self.problem

    def _load_chunk(self, pipeline: Any, changes: Iterator[Batch], until: float) -> None:
        def chunk() -> Iterator[Any]:
            import dlt

            loaded: set[str] = set()
            for batch in changes:
                # Slices overlap, and a job may be on a page and on a list: any copy is what the API served just now.
                rows = {row.id: row for row in batch.rows if row.id not in loaded}
                yield JOBS.to_arrow(list(rows.values()))
                loaded |= rows.keys()
                self._keep_progress(dlt.current.resource_state("jobs"), batch)
                if len(loaded) >= CHUNK_ROWS or time.monotonic() > until:
                    return

        self.store.load(pipeline, chunk)

    def _keep_progress(self, state: dict[str, Any], batch: Batch) -> None:
        known = self.reading.known
        state.setdefault("progress", {})[self.scope] = batch.progress and {
            "mode": self.mode,
            "since": self.since,
            "base_url": self.settings.base_url,
            "number": self.number,
            "user_id": self.account.user_id,
            "team_id": self.account.team_id,
            "started_at": known.started_at if self.progress and known else self.reading.started_at,
            "high_water_mark": self.reading.high_water_mark,
            "slices": batch.progress,
        }

    def _changes(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yield the rows of each batch that differ from the warehouse, and at the end those no longer listed.

        What was read before an error is kept: the error is raised once it is stored.
        """
        try:
            for batch in batches:
                yield Batch(self._changed(self.store.storable(batch.rows)), batch.progress)
            delisted = self._delisted()
        except ApiError as problem:
            self.problem = problem
            return
        now = self.client.now()  # one for all: where one comes back, the others are looked at
        for start in range(0, len(delisted), CHUNK_ROWS):
            ids = delisted[start : start + CHUNK_ROWS]
            rows = [row._replace(delisted_at=now, synced_at=now) for row in self.warehouse.rows(ids)]
            yield Batch(rows, None)

    def _delisted(self) -> list[str]:
        return self.reading.gone(self.warehouse.not_seen(self.scope, self.since) if self.mode == "full" else None)

    def _changed(self, rows: list[Row]) -> list[Row]:
        if self.mode == "full":
            self.store.write(SEEN, [(row.id,) for row in rows])
        changed = rows
        if self.before.jobs:
            kept = self.warehouse.kept(rows)
            changed = [row for row in (self._compare(row, kept.get(row.id)) for row in rows) if row]
        self.unread.update((row.id, fields) for row in changed if row.extra and (fields := unread_fields(row.extra)))
        return self._with_modality(changed)

    def _compare(self, row: Row, kept: Row | None) -> Row | None:
        """Return the row to write, None where the warehouse has it already."""
        if kept is None:
            return row
        if kept.scope == "user" and kept.delisted_at is None:
            row = row._replace(scope="user")
        if _served(row) == _served(kept) and kept.delisted_at is None and kept.scope == row.scope:
            return None
        different = records.differences(row, kept)
        if not different and kept.delisted_at is None and kept.scope == row.scope:
            return None
        if kept.status not in FINAL and row.status in FINAL:
            self.finished.add(row.id)
        if self.mode == "full" and row.id not in self.drifted:
            self.drifted.add(row.id)
            self.drift.update(different)
        return row

    def _with_modality(self, rows: list[Row]) -> list[Row]:
        """Ask for the catalogue of models where a job names one that is not in it, at most once a day otherwise."""
        unknown = {row.model for row in rows if row.model is not None} - self.models.keys()
        now = self.client.now()
        oldest = min((asked for _, asked in self.models.values()), default=0)
        if rows and not self.catalogue_asked and (unknown or now - oldest > CATALOGUE_AGE):
            self.catalogue_asked = True
            try:
                self.catalogue = self.client.models()
            except ApiError as problem:
                self.notes.append(f"the catalogue of models could not be read: {problem}")
            else:
                found = modalities(self.catalogue)
                self.models = {model["id"]: (found.get(model["id"]), now) for model in self.catalogue}
                self.reading.modalities.update(found)
                rows = [row._replace(modality=found.get(row.model or "", row.modality)) for row in rows]
        # A model that the catalogue does not list is remembered too, so as not to ask for it at every sync.
        self.models |= dict.fromkeys(unknown - self.models.keys(), (None, now))
        return rows


class _Ahead(Generic[Item]):
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


_served = operator.itemgetter(*(Row._fields.index(name) for name in SERVED))
