"""The reading of one sync: everything that the frontier says has to be asked for, as batches of rows.

Promises that it either ends having read all of it, or raises: an end of the list above known jobs is a
contradiction, not a fact. Leaves storing to others, who find here what to keep with it: `started_at`,
what `paging` has shown, and the jobs that the API no longer lists.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pipelines.apiframe.clock as clock
from pipelines.apiframe.answers import ApiError, CursorRefusedError
from pipelines.apiframe.chain import End
from pipelines.apiframe.client import Client, Page
from pipelines.apiframe.ending import Ending
from pipelines.apiframe.fetch import kinds
from pipelines.apiframe.frontier import floor as lowest
from pipelines.apiframe.frontier import was_quiet
from pipelines.apiframe.memory import Memory
from pipelines.apiframe.paging import Paging
from pipelines.apiframe.records import Row, to_rows
from pipelines.apiframe.rest import Rest
from pipelines.apiframe.slices import restore
from pipelines.apiframe.stretches import BELOW, Slice

BATCH_ROWS = 5_000  # smaller Arrow tables cost dlt more than twice the time
BATCH_SECONDS = 1.0  # but what was read from a slow API should be stored soon
#: Seconds. Where answers come as quickly as rows can be made, more connections and threads only cost requests and time:
#: Python runs one at a time. A first load without latency takes a seventh less in a single thread.
QUICK_ANSWER = 0.01


@dataclass(frozen=True)
class Batch:
    """Rows in the order they were read, and the progress once they are stored (None: nothing left to go on with)."""

    rows: list[Row]
    progress: list[dict[str, Any]] | None


class Reading:
    """Reads what one sync needs, as far as `memory` does not hold it. Iterate over `batches()`, then look at the rest.

    `on_page` is called for every page. `modalities` maps model to modality and may grow meanwhile.
    """

    def __init__(
        self,
        client: Client,
        memory: Memory,
        *,
        settle_after: int,
        workers: int,
        modalities: Mapping[str, str] | None = None,
        on_page: Callable[[Paging], None] = lambda _: None,
    ) -> None:
        self.client = client
        self.known = memory.known
        self.started_at = client.now()
        self.clock_note: str | None = None
        self.delisted: list[str] = []
        self.left_out: list[Row] = []  # jobs that the API finds by id and lists no more
        self._memory = memory
        self._settle_after = settle_after
        self._modalities = {} if modalities is None else modalities
        self._resumes = memory.known is not None and memory.known.progress is not None
        self.walks = memory.known is None or self._resumes or memory.whole
        self.paging = Paging(client, workers=workers, walks=self.walks, doubts=self._doubts, on_page=on_page)
        self._ending = Ending(self.paging, memory, settle_after)
        self._rest = Rest(self.paging, memory, resumes=self._resumes)
        self._begun: list[Page | ApiError] = []

    @property
    def disordered(self) -> bool:
        """Tell whether jobs did not come newest first, so that the whole list was read."""
        return self.paging.plan.disordered

    @property
    def reach(self) -> int | None:
        """How old the jobs are that the API lists, in microseconds; None: of any age."""
        return self._ending.reach

    @property
    def reach_note(self) -> str | None:
        """What is to be said where this reading has found that."""
        return self._ending.note

    def begin(self) -> None:
        """Read the first page, for those who want to know before the rest is read how `quick` the API is.

        Where the whole list is wanted and the answer was slow, the second page decides.
        """
        first = self._at_the_time(self.client.page())
        self._begun = [first]
        self.paging.quick = self.client.answered_after <= QUICK_ANSWER
        # The first answer also paid for the connection.
        if not self.paging.quick and self.known is None and first.next_cursor:
            try:
                self._begun.append(self.client.page(cursor=first.next_cursor))
                self.paging.quick = self.client.answered_after <= QUICK_ANSWER
            except CursorRefusedError:
                pass  # dealt with where it is asked for again
            except ApiError as problem:
                self._begun.append(problem)
        newest = max((time for time, _ in first.positions), default=None)
        self.paging.high_water_mark = newest
        if self.known and self.known.high_water_mark is not None:
            self.paging.high_water_mark = max(newest or 0, self.known.high_water_mark)
        top = Slice(None, None)
        self._set_floor(top, first)
        if self.paging.high_water_mark != newest:  # the newest job was deleted, or this is not the top of the list
            top.least_pages = 2
        stretches = [top]
        if self.known and self.known.progress:
            stretches += restore(self.known.progress, self._memory.since)
        self.paging.plan_for(*stretches)

    def _at_the_time(self, first: Page) -> Page:
        """Decide what time it is, for all that this sync records, and which jobs were unsettled until now."""
        decided = clock.decide(first.read_at, clock.machine_time(), [time for time, _ in first.positions])
        self.client.set_clock(decided.now)
        self.started_at, self.clock_note = decided.now, decided.note
        if self.known:
            self.known = replace(self.known, started_at=min(self.known.started_at, decided.now))
        self._ending.begin(decided.now)
        since = self._memory.since
        self.paging.remaining = {
            job.id: job for job in self._memory.unsettled(decided.now) if since is None or job.created_at >= since
        }
        return replace(first, read_at=decided.now)

    def batches(self) -> Iterator[Batch]:
        """Yield rows in batches of some 5,000, smaller ones where pages come slowly, before an error and at the end."""
        rows: list[Row] = []
        begun = time.monotonic()
        try:
            for page in self._pages():
                rows += self._rows(page)
                if len(rows) >= BATCH_ROWS or (rows and time.monotonic() - begun > BATCH_SECONDS):
                    yield Batch(rows, self._progress())
                    rows, begun = [], time.monotonic()
        except ApiError:
            yield Batch(rows, self._progress())
            raise
        yield Batch(rows, None)

    def gone(self, unseen: Sequence[str] | None = None) -> list[str]:
        """Return the jobs that the API no longer lists, once all batches were taken.

        `unseen` are those that a reading of everything has not met. Raises UndocumentedError where the API still
        knows what its list left out. What had to be looked up for that is in `left_out` then.
        """
        gone = self._ending.gone(unseen)
        for page in self._ending.pages:
            self.left_out += self._rows(page)
        but = self._rest.delisted_before | self._ending.kept
        self.delisted = [job for job in dict.fromkeys([*self._rest.delisted, *gone]) if job not in but]
        return self.delisted

    def _doubts(self, end: End) -> bool:
        """Tell whether an end of the list has to be asked for again: not where it lies below all that is known."""
        if self.walks or self.disordered or self.known is None or self._ending.contradicts(end):
            return True
        return end.last is not None and end.last > (self.known.high_water_mark or end.last - 1)

    def _progress(self) -> list[dict[str, Any]] | None:
        return self.paging.plan.progress(self._memory.since) if self.walks else None

    def _rows(self, page: Page) -> list[Row]:
        rows = to_rows(
            page.jobs,
            page.positions,
            scope=self.client.scope,
            synced_at=page.read_at,
            modalities=self._modalities,
        )
        return rows if self._memory.since is None else [row for row in rows if row.created_at >= self._memory.since]

    def _pages(self) -> Iterator[Page]:
        if not self._begun:
            self.begin()
        for page in self._begun:
            if isinstance(page, ApiError):
                raise page
            if (task := self.paging.plan.next_task()) is None:  # the range ends with the first page
                break
            self.paging.met |= {identity for _, identity in page.positions}
            self.paging.plan.apply(task, page.positions, kinds(page), page.next_cursor)
            yield self.paging.seen(page)
        yield from self.paging.walk()
        if not self.walks:
            yield from self._rest.look_again(self.started_at)
        yield from self._rest.pages()

    def _set_floor(self, top: Slice, first: Page) -> None:
        known = self.known
        top.floor = self._memory.since
        if known is None or (self.walks and not self._resumes):
            return
        floor = lowest(known, self._settle_after)
        if not self.walks and first.positions:
            wanted = [position for position in first.positions if position[0] >= (self._memory.since or position[0])]
            # A sync that failed may have stored the first page of what is new, so that its jobs are known.
            newer = first.positions[0][0] > (known.high_water_mark or 0)
            if newer or not self._memory.is_known(wanted):
                self._memory.expect()
            elif was_quiet(known, self._settle_after):  # nothing new on the first page: it is enough
                floor = max(floor, first.positions[-1][0] + 1)
                top.below = BELOW
        if known.high_water_mark is not None:  # otherwise the list was never seen: an empty one may have been a lie
            top.floor = floor if self._memory.since is None else max(floor, self._memory.since)
