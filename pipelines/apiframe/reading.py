"""The reading of one sync: everything that the frontier says has to be asked for, as batches of rows.

Promises that it either ends having read all of it, or raises: an end of the list above known jobs is a
contradiction, not a fact. Leaves storing to others, who find here what to keep with it: `started_at`,
`high_water_mark`, `progress` and the jobs that the API no longer lists.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipelines.apiframe import clock, evidence, frontier, reader, slices
from pipelines.apiframe.client import REFUSED, ApiError, Client, CursorRefusedError, Page
from pipelines.apiframe.frontier import Known, Unsettled
from pipelines.apiframe.records import OPEN, Row, to_rows

BATCH_ROWS = 5_000  # smaller Arrow tables cost dlt more than twice the time
BATCH_SECONDS = 1.0  # but what was read from a slow API should be stored soon
#: Seconds. Where answers come as quickly as rows can be made, more connections and threads only cost requests and time:
#: Python runs one at a time. A first load without latency takes a seventh less in a single thread.
QUICK_ANSWER = 0.01
EMPTY_PAGES = 100  # a list that brings nothing new for so many pages does not end


@dataclass(frozen=True)
class Batch:
    """Rows in the order they were read, and the progress once they are stored (None: nothing left to go on with)."""

    rows: list[Row]
    progress: list[dict[str, Any]] | None


class Reading:
    """Reads what one sync needs. Iterate over `batches()`, then look at the rest.

    `known` is None where this scope was never read; `whole` reads everything again. `since` is the oldest
    createdAt wanted (None: all). `is_known` tells whether the warehouse holds all these jobs: while it does, the
    first page of a quiet account is enough. `unsettled` returns the jobs that can still change; it is told the time,
    since what was recorded by a clock that was ahead counts as now. `on_new` is called when the first page shows that
    there is something new. `older_than` returns the jobs that the warehouse holds as listed below a createdAt (None:
    all), newest first; `lately_delisted` those that are to be looked at again at a time, `delisted_with` all that were
    delisted when some of them were. Where the list is walked, only `gone` asks the warehouse anything, so that it may
    load meanwhile.
    """

    def __init__(
        self,
        client: Client,
        *,
        known: Known | None,
        unsettled: Callable[[int], Iterable[Unsettled]] = lambda _: (),
        newer_than: Callable[[int], int] = lambda _: 0,
        open_jobs: Mapping[str, int] | None = None,
        is_known: Callable[[Sequence[tuple[int, str]]], bool] = lambda _: False,
        older_than: Callable[[int | None], Sequence[str]] = lambda _: (),
        lately_delisted: Callable[[int], Sequence[str]] = lambda _: (),
        delisted_with: Callable[[Collection[str]], Iterable[Unsettled]] = lambda _: (),
        on_new: Callable[[], None] = lambda: None,
        settle_after: int,
        workers: int,
        since: int | None = None,
        whole: bool = False,
        modalities: Mapping[str, str] | None = None,
        on_page: Callable[[Reading], None] = lambda _: None,
    ) -> None:
        self.client = client
        self.known = known
        self.settle_after = settle_after
        self.workers = workers
        self.since = since
        self.modalities = dict(modalities or {})
        self.started_at = client.now()
        self.clock_note: str | None = None
        self.high_water_mark: int | None = None
        self.jobs_read = 0
        self.oldest: int | None = None  # createdAt that paging has come down to
        self.delisted: list[str] = []
        self._resumes = known is not None and known.progress is not None
        self._walks = known is None or self._resumes or whole
        self._unsettled = unsettled
        self._remaining: dict[str, Unsettled] = {}
        self._newer_than = newer_than
        self._open_jobs = open_jobs or {}
        self._is_known = is_known
        self._older_than = older_than
        self._lately_delisted = lately_delisted
        self._delisted_with = delisted_with
        self._whole = whole
        self._end: slices.End | None = None  # of the list, where it was come to
        self._beyond: list[str] = []  # jobs that were listed beyond it
        self._met: set[str] = set()  # on the list, where it is not walked
        self._at_end: set[tuple[int, str]] = set()  # on the last pages, which are asked for twice
        self._listed: str | None = None  # a job that can be searched for and must be found
        self._found: set[str] = set()  # by id
        self._absent: set[str] = set()  # though searched for twice
        self._delisted_before: set[str] = set()
        self._on_new = on_new
        self._on_page = on_page
        self._plan = slices.Slices([], workers=1)
        self._begun: list[Page | ApiError] = []
        self.quick = False  # the API answers at once: nothing is gained by asking ahead

    @property
    def walks(self) -> bool:
        """Tell whether this is a long reading: a first load, the rest of one, or everything again."""
        return self._walks

    @property
    def disordered(self) -> bool:
        """Tell whether jobs did not come newest first, so that the whole list was read."""
        return self._plan.disordered

    def begin(self) -> None:
        """Read the first page, for those who want to know before the rest is read how `quick` the API is.

        Where the whole list is wanted and the answer was slow, the second page decides.
        """
        first = self._at_the_time(self.client.page())
        self._begun = [first]
        self.quick = self.client.answered_after <= QUICK_ANSWER
        if not self.quick and self.known is None and first.next_cursor:  # the first answer also paid for the connection
            try:
                self._begun.append(self.client.page(cursor=first.next_cursor))
                self.quick = self.client.answered_after <= QUICK_ANSWER
            except CursorRefusedError:
                pass  # dealt with where it is asked for again
            except ApiError as problem:
                self._begun.append(problem)
        newest = max((time for time, _ in first.positions), default=None)
        self.high_water_mark = newest
        if self.known and self.known.high_water_mark is not None:
            self.high_water_mark = max(newest or 0, self.known.high_water_mark)
        top = slices.Slice(None, None)
        self._set_floor(top, first)
        if self.high_water_mark != newest:  # the newest job was deleted, or this is not the top of the list
            top.least_pages = 2
        stretches = [top]
        if self.known and self.known.progress:
            stretches += slices.restore(self.known.progress, self.since)
        self._plan = slices.Slices(stretches, workers=1 if self.quick else self.workers, doubts=self._doubts)

    def _at_the_time(self, first: Page) -> Page:
        """Decide what time it is, for all that this sync records, and which jobs were unsettled until now."""
        decided = clock.decide(first.read_at, clock.machine_time(), [time for time, _ in first.positions])
        self.client.set_clock(decided.now)
        self.started_at, self.clock_note = decided.now, decided.note
        if self.known:
            self.known = replace(self.known, started_at=min(self.known.started_at, decided.now))
        since = self.since
        self._remaining = {
            job.id: job for job in self._unsettled(decided.now) if since is None or job.created_at >= since
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
        knows what its list left out.
        """
        if unseen is None:
            unseen = self._unmet(self._end) if self._end else []
        evidence.require_gone(
            self.client,
            [*unseen, *self._beyond],
            found=self._found,
            absent=self._absent,
            listed=self._listed,
            whole=self._whole,
        )
        self.delisted = [job for job in dict.fromkeys([*self.delisted, *unseen]) if job not in self._delisted_before]
        return self.delisted

    def _doubts(self, end: slices.End) -> bool:
        """Tell whether an end of the list has to be asked for again: not where it lies below all that is known."""
        if self._walks or self.disordered or self.known is None or self._unmet(end):
            return True
        return end.last is not None and end.last > (self.known.high_water_mark or end.last - 1)

    def _unmet(self, end: slices.End) -> list[str]:
        """Return the jobs that are held as listed, but that a list with this end did not show."""
        if self.disordered and self._walks:
            return []  # where one of them belongs is not known
        return [job for job in self._older_than(None if self.disordered else end.last) if job not in self._met]

    def _progress(self) -> list[dict[str, Any]] | None:
        return self._plan.progress(self.since) if self._walks else None

    def _rows(self, page: Page) -> list[Row]:
        rows = to_rows(
            page.jobs,
            page.positions,
            scope=self.client.scope,
            synced_at=page.read_at,
            modalities=self.modalities,
        )
        return rows if self.since is None else [row for row in rows if row.created_at >= self.since]

    def _pages(self) -> Iterator[Page]:
        if not self._begun:
            self.begin()
        for page in self._begun:
            if isinstance(page, ApiError):
                raise page
            if (task := self._plan.next_task()) is None:  # the range ends with the first page
                break
            self._met |= {identity for _, identity in page.positions}
            self._plan.apply(task, page.positions, reader.kinds(page), page.next_cursor)
            yield self._seen(page)
        yield from self._walk()
        yield from self._look_up_the_rest()

    def _set_floor(self, top: slices.Slice, first: Page) -> None:
        known = self.known
        top.floor = self.since
        if known is None or (self._walks and not self._resumes):
            return
        floor = frontier.floor(known, self.settle_after)
        if not self._walks and first.positions:
            wanted = [position for position in first.positions if position[0] >= (self.since or position[0])]
            # A sync that failed may have stored the first page of what is new, so that its jobs are known.
            newer = first.positions[0][0] > (known.high_water_mark or 0)
            if newer or not self._is_known(wanted):
                self._on_new()
            elif frontier.was_quiet(known, self.settle_after):  # nothing new on the first page: it is enough
                floor = max(floor, first.positions[-1][0] + 1)
                top.below = slices.BELOW
        if known.high_water_mark is not None:  # otherwise the list was never seen: an empty one may have been a lie
            top.floor = floor if self.since is None else max(floor, self.since)

    def _walk(self) -> Iterator[Page]:
        barren = 0
        ids: set[str] = set()
        for page in reader.read(self.client, self._plan, 0 if self.quick else self.workers):
            found = {identity for _, identity in page.positions}
            barren = 0 if found - ids else barren + 1
            if not self._plan.disordered:
                ids.clear()  # without order nothing but jobs never seen shows that the list goes on
            ids |= found
            if not self._walks:
                self._met |= found
            if barren >= EMPTY_PAGES:
                self._plan.start_over()
                raise slices.ListLoopsError(
                    f"the list brought nothing new for {EMPTY_PAGES} pages and says that it goes on; run again later"
                )
            yield self._seen(page)
        self._end = self._plan.end or self._end
        self._beyond += self._plan.beyond

    def _seen(self, page: Page) -> Page:
        self.jobs_read += len(page.jobs)
        if page.next_cursor is None:
            self.jobs_read -= len(self._at_end.intersection(page.positions))
            self._at_end.update(page.positions)
        if page.positions:  # the first page may have been an end that was none
            self.high_water_mark = max(self.high_water_mark or page.positions[0][0], page.positions[0][0])
        if self._listed is None:
            self._listed = next((job for _, job in page.positions if evidence.is_searchable(job)), None)
        if self._remaining:
            for _, identity in page.positions:
                self._remaining.pop(identity, None)
        bottom = self._plan.slices[-1] if self._plan.slices else self._plan.bottom
        if bottom is not None and bottom.last is not None:
            self.oldest = bottom.last
        self._on_page(self)
        return page

    def _look_up_the_rest(self) -> Iterator[Page]:
        """Look up the unsettled jobs that paging has not met: deeper ones, and those that should have come."""
        can_list = can_search = True
        if not self._walks:
            yield from self._look_again()
        while self._remaining:
            bottom = self._plan.bottom
            can_page = not self._resumes and bottom is not None and bottom.cursor is not None
            if self._plan.disordered or (bottom is not None and bottom.cursor is None and not self._resumes):
                deeper = []  # the list was read to its end
            elif can_page and bottom is not None and bottom.last is not None:
                deeper = [job for job in self._remaining.values() if job.created_at <= bottom.last]
            else:
                deeper = list(self._remaining.values())
            if not deeper:  # neither on the pages where they belong nor, if so, found by id
                if can_search:
                    yield from self._search([job.id for job in self._remaining.values() if job.searchable])
                self.delisted += self._remaining
                return
            if not can_page and not (can_search and any(job.searchable for job in deeper)):
                # What a resumed load has read already has no end to go on from: from the top, then.
                self._resumes = False
                yield from self._page_down(slices.Slice(None, None, floor=min(job.created_at for job in deeper)))
                continue
            step = frontier.next_step(
                deeper,
                reached=self._newer_than(bottom.last) if can_page and bottom and bottom.last else None,
                open_jobs=self._open_jobs,
                can_list=can_list,
                can_search=can_search,
            )
            if step.action == "lists":
                can_list = False
                yield from self._read_lists()
            elif step.action == "search":
                searches = yield from self._search(step.ids)
                can_search = searches.honoured
                for identity in searches.absent if can_search else ():
                    if self._remaining.pop(identity, None):
                        self.delisted.append(identity)
            else:
                assert bottom is not None  # noqa: S101 - there is something to go on from
                part = slices.Slice(None, bottom.cursor, floor=step.down_to, last=bottom.last, pages=1)
                yield from self._page_down(part)

    def _page_down(self, part: slices.Slice) -> Iterator[Page]:
        self._plan = slices.Slices([part], workers=self.workers, doubts=self._doubts)
        yield from self._walk()

    def _search(self, ids: Iterable[str]) -> Generator[Page, None, reader.Searches]:
        """Read jobs by id; returns what came of it."""
        searches = reader.Searches(ids, self._listed)
        for page in reader.read(self.client, searches, 0 if self.quick else self.workers):
            yield self._seen(page)
        if searches.honoured:
            self._found |= searches.found
            self._absent |= searches.absent
        return searches

    def _look_again(self) -> Iterator[Page]:
        """Look whether jobs that were delisted of late have come back; where one has, at all that went with it."""
        if ids := [job for job in self._lately_delisted(self.started_at) if evidence.is_searchable(job)]:
            searches = yield from self._search(ids)
            if back := searches.found & set(ids):
                others = [job for job in self._delisted_with(back) if job.id not in searches.found]
                self._delisted_before = {job.id for job in others}
                self._remaining |= {job.id: job for job in others}

    def _read_lists(self) -> Iterator[Page]:
        """Read the lists of open jobs, QUEUED first: a job that moves on meanwhile is on both, never on neither."""
        most = frontier.LIST_HANDICAP * frontier.list_pages(self._open_jobs) + len(OPEN)
        for status in OPEN:
            cursor = None
            while most > 0:
                most -= 1
                try:
                    page = self.client.page(status=status, cursor=cursor)
                except ApiError as problem:
                    if problem.status not in REFUSED:
                        raise
                    return
                yield self._seen(page)
                cursor = page.next_cursor
                if cursor is None or any(job.get("status") != status for job in page.jobs):
                    break
