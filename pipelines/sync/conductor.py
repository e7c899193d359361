"""One sync: lock, read, load, record, publish. Ends whole, or raises and leaves the published file as it was.

What to do is decided in `plan`, what differs in `changes`, how it is stored in `loading`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from pipelines.apiframe.account import Account, verify
from pipelines.apiframe.catalogue import Catalogue
from pipelines.apiframe.client import Client, client_of
from pipelines.apiframe.evidence import require_ours
from pipelines.apiframe.frontier import PAGE
from pipelines.apiframe.paging import Paging
from pipelines.apiframe.reading import Batch, Reading
from pipelines.exact import microseconds
from pipelines.settings import Settings
from pipelines.stores import Store, first_line, store_for
from pipelines.sync.changes import Changes
from pipelines.sync.loading import Ahead, load_changes, prepare_dlt
from pipelines.sync.memory import WarehouseMemory
from pipelines.sync.plan import Facts, plan
from pipelines.sync.progress import Progress, understood
from pipelines.tables import Table, job_changes, tables
from pipelines.tables.sync_runs import TABLE as SYNC_RUNS
from pipelines.tables.sync_runs import Run
from pipelines.warehouse import SEEN, Totals, Warehouse

BATCHES_AHEAD = 8


@dataclass(frozen=True)
class Outcome:
    """What a sync did. `credits_added` is by how much it changed what the jobs have cost, less what was given back."""

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
    on_page: Callable[[Paging], None] = lambda _: None,
) -> Outcome:
    """Bring the warehouse up to date and publish it.

    `full` reads everything again; `since` (microseconds since 1970) limits a first load. `on_page` is called for
    every page. Raises the errors of `pipelines.errors` and of the client; the next sync then makes it whole. Leaves
    the process that calls as it was: its environment, dlt's configuration, signals and imports.
    """
    store = store_for(settings)
    client = client_of(settings)
    with contextlib.closing(client), store.lock(wait), store.open() as warehouse:
        begun = time.monotonic()
        views = store.checked_views()  # what is wrong with them is said before anything is read
        given = {name: table.check(settings) for name, table in tables().items() if table.check}
        outcome = _Sync(settings, client, store, warehouse, full, since, on_page, given).run(begun)
        outcome.notes.extend(views.notes + store.create_views(views))
        store.publish()
    return outcome


class _Sync:
    def __init__(
        self,
        settings: Settings,
        client: Client,
        store: Store,
        warehouse: Warehouse,
        full: bool,
        since: int | None,
        on_page: Callable[[Paging], None],
        given: Mapping[str, Any],
    ) -> None:
        self.given = given
        self.settings = settings
        self.client = client
        self.store = store
        self.warehouse = warehouse
        self.filled: list[tuple[Table, list[Any]]] = []
        self.plan = plan(beforehand(settings, store, warehouse, full, since))
        self.notes = list(self.plan.notes)
        self.account = whose(settings, client, store, warehouse)
        settle_after = microseconds(settings.settle_after)
        self.memory = WarehouseMemory(warehouse, settings.scope, self.plan, settle_after)
        self.catalogue = Catalogue(client, warehouse.models())
        self.reading = Reading(
            client,
            self.memory,
            settle_after=settle_after,
            workers=settings.workers,
            modalities=self.catalogue.modalities,
            on_page=on_page,
        )
        self.changes = Changes(self.reading, self.memory, self.catalogue, store, warehouse)

    @property
    def started_at(self) -> int:
        """The sync's own time, in microseconds since 1970."""
        return self.reading.started_at

    def run(self, begun: float) -> Outcome:
        """Read, load and record."""
        job_changes.recover(self.store, self.warehouse)
        if self.memory.full:
            if self.plan.progress is None:
                self.store.empty(SEEN)
            self.store.prepare(SEEN)
        self._fill(before=True)
        self.reading.begin()
        self._note(self.reading.clock_note)
        told = self._load()
        self._note(
            self.catalogue.note,
            self.reading.disordered and "the jobs did not come newest first, so the whole list was read",
            self.client.throttled and f"the API asked to slow down {self.client.throttled} times",
            self.changes.note,
            self.reading.reach_note,
        )
        after = self.memory.before if self.changes.are_none else self.warehouse.totals()
        return Outcome(
            run=self._record(after, told, begun),
            jobs=after.jobs,
            credits_added=self.changes.credits_added(),
            seconds=time.monotonic() - begun,
            path=self.store.place,
            drifted=len(self.changes.drifted),
            drift=dict(self.changes.drift.most_common()),
            delisted=len(self.reading.delisted),
            throttled=self.client.throttled,
            notes=self.notes,
        )

    def _note(self, *notes: Any) -> None:
        self.notes.extend(filter(None, notes))

    def _load(self) -> list[job_changes.Change]:
        """Have pages read, changes found in them, and these loaded; what was read before an error is stored first.

        Returns what jobs that were known have changed.
        """
        with contextlib.ExitStack() as stack:
            batches = self.reading.batches()
            if self.reading.walks:
                if not self.reading.paging.quick:
                    batches = iter(stack.enter_context(contextlib.closing(Ahead(batches, BATCHES_AHEAD))))
                prepare_dlt()  # while the first pages come
            changes = self.changes.among(batches, self.settings.scope)
            told = load_changes(
                self.store, self.warehouse, changes, self.changes.seen, self._progress, self.settings.scope
            )
        if self.changes.problem is not None:
            raise self.changes.problem
        return told

    def _progress(self, batch: Batch) -> dict[str, Any] | None:
        """Return what to keep with a batch, for a sync that goes on where this one may be cut short."""
        if not batch.progress:
            return None
        known = self.reading.known
        return asdict(
            Progress(
                mode=self.plan.mode,
                since=self.plan.since,
                base_url=self.settings.base_url,
                number=self.plan.number,
                user_id=self.account.user_id,
                team_id=self.account.team_id,
                started_at=known.started_at if self.plan.progress and known else self.started_at,
                high_water_mark=self.reading.paging.high_water_mark,
                slices=batch.progress,
            )
        )

    def _record(self, after: Totals, told: list[job_changes.Change], begun: float) -> Run:
        self._fill(before=False)
        started_at = self.reading.started_at
        run = Run(
            started_at=started_at,
            finished_at=started_at + int((time.monotonic() - begun) * 1e6),
            mode=self.plan.mode,
            requests=self.client.requests,
            retries=self.client.retries,
            jobs_read=self.reading.paging.jobs_read,
            jobs_new=after.jobs - self.warehouse.counted_jobs(),
            jobs_finished=len(self.changes.finished),
            open_jobs=after.open_jobs,
            high_water_mark=self.reading.paging.high_water_mark,
            scope=self.settings.scope,
            since=self.plan.since,
            base_url=self.settings.base_url,
            number=self.plan.number,
            user_id=self.account.user_id,
            team_id=self.account.team_id,
            reach_seconds=None if self.reading.reach is None else self.reading.reach // 1_000_000,
        )
        with self.store.transaction():
            self.store.prepare(*tables().values())
            for table, rows in self.filled:
                self.store.write(table, rows)
            if told:
                self.store.write(job_changes.TABLE, told)
                self.store.empty(job_changes.BEGUN)
            self.store.empty(SEEN)
            self.store.write(SYNC_RUNS, [run])  # last: a sync of which this is there has ended well
        return run

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


def whose(settings: Settings, client: Client, store: Store, warehouse: Warehouse) -> Account:
    """Return the account of the key; refuse one that is not the warehouse's."""
    known = warehouse.account(settings.scope)
    if not known.is_known:
        for left in _left(store).values():  # by a first load
            known = known.completed(Account(left.user_id, left.team_id))
    seal = store.seal()
    account, kept = verify(client, settings.require_key(), known, seal, store.place)
    if not known.is_known and (kept is None or kept != seal) and warehouse.has("jobs"):
        newest = next(warehouse.jobs(PAGE))
        ids = [row.id for row in newest if row.delisted_at is None and settings.scope in ("team", row.scope)]
        require_ours(client, ids, store.place)
    if kept != seal:
        store.keep_seal(kept)
    return account


def beforehand(
    settings: Settings, store: Store, warehouse: Warehouse, full: bool = False, since: int | None = None
) -> Facts:
    """Return what a warehouse tells the plan of a sync."""
    found = {scope: warehouse.last_run(scope) for scope in ("user", "team")}
    runs = {scope: run for scope, run in found.items() if run}
    left = _left(store) if full or settings.scope not in runs else {}
    left_of = next((each.base_url for each in left.values() if each.base_url), None)
    return Facts(settings.scope, settings.base_url, store.place, full, since, runs, left.get(settings.scope), left_of)


def _left(store: Store) -> dict[str, Progress]:
    """Return what syncs that were cut short have left, by scope."""
    return {scope: understood(kept) for scope, kept in store.state().get("progress", {}).items() if kept}
