"""Looks up the unsettled jobs that paging has not met: deeper ones, and those that should have come."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from pipelines.apiframe.answers import REFUSED, ApiError
from pipelines.apiframe.client import Page
from pipelines.apiframe.evidence import SAMPLE, is_searchable, spread
from pipelines.apiframe.frontier import LIST_HANDICAP, Step, Unsettled, list_pages, next_step
from pipelines.apiframe.memory import Memory
from pipelines.apiframe.paging import Paging
from pipelines.apiframe.records import OPEN
from pipelines.apiframe.stretches import Slice


class Rest:
    """What is left of a reading, once its list was read; `delisted` are the jobs that it did not find.

    `resumes` tells that what an earlier reading has read has no end to page on from.
    """

    def __init__(self, paging: Paging, memory: Memory, *, resumes: bool) -> None:
        self.delisted: list[str] = []
        self.delisted_before: set[str] = set()
        self._paging = paging
        self._memory = memory
        self._resumes = resumes
        self._can_list = self._can_search = True

    def pages(self) -> Iterator[Page]:
        """Read them, by whichever way costs fewer requests."""
        remaining = self._paging.remaining
        while remaining:
            deeper, bottom = self._deeper(), self._bottom()
            if not deeper:  # neither on the pages where they belong nor, if so, found by id
                searchable = [job for job in remaining.values() if self._can_search and job.searchable]
                if not (yield from self._is_cut(searchable)):
                    self.delisted += remaining
                return
            if bottom is None and not (self._can_search and any(job.searchable for job in deeper)):
                # What a resumed load has read already has no end to go on from: from the top, then.
                self._resumes = False
                yield from self._page_down(Slice(None, None, floor=min(job.created_at for job in deeper)))
                continue
            step = next_step(
                deeper,
                reached=self._memory.newer_than(bottom.last) if bottom and bottom.last else None,
                open_jobs=self._memory.open_jobs,
                can_list=self._can_list,
                can_search=self._can_search,
            )
            yield from self._take(step, bottom)

    def look_again(self, now: int) -> Iterator[Page]:
        """Look whether jobs that were delisted of late have come back; where one has, at all that went with it."""
        if ids := [job for job in self._memory.lately_delisted(now) if is_searchable(job)]:
            searches = yield from self._paging.search(ids)
            if back := searches.found & set(ids):
                others = [job for job in self._memory.delisted_with(back) if job.id not in searches.found]
                self.delisted_before = {job.id for job in others}
                self._paging.remaining |= {job.id: job for job in others}

    def _bottom(self) -> Slice | None:
        """Return where paging stands, if it can go on from there."""
        bottom = self._paging.plan.bottom
        return None if self._resumes or bottom is None or bottom.cursor is None else bottom

    def _deeper(self) -> list[Unsettled]:
        """Return those that lie below what was read."""
        plan, jobs = self._paging.plan, list(self._paging.remaining.values())
        ended = plan.bottom is not None and plan.bottom.cursor is None and not self._resumes
        if plan.disordered or ended:
            return []  # the list was read to its end
        bottom = self._bottom()
        last = bottom.last if bottom else None
        return jobs if last is None else [job for job in jobs if job.created_at <= last]

    def _take(self, step: Step, bottom: Slice | None) -> Iterator[Page]:
        if step.action == "lists":
            self._can_list = False
            yield from self._read_lists()
        elif step.action == "search":
            searches = yield from self._paging.search(step.ids)
            self._can_search = searches.honoured
            for identity in searches.absent if searches.honoured else ():
                if self._paging.remaining.pop(identity, None):
                    self.delisted.append(identity)
        else:
            assert bottom is not None  # noqa: S101 - there is something to go on from
            yield from self._page_down(Slice(None, bottom.cursor, floor=step.down_to, last=bottom.last, pages=1))

    def _is_cut(self, jobs: list[Unsettled]) -> Generator[Page, None, bool]:
        """Search for jobs that the list should have shown; tell whether it was cut short.

        A few prove that, and no more are searched for then: what it means is decided once all that was read is stored.
        """
        jobs.sort(key=lambda job: job.created_at)
        sample = spread(jobs, SAMPLE)
        searches = yield from self._paging.search([job.id for job in sample])
        listed = [job for job in sample if job.id not in self.delisted_before]
        if any(job.id in searches.found and self._paging.should_have_shown(job.created_at) for job in listed):
            return True
        if searches.honoured:
            yield from self._paging.search([job.id for job in jobs if job not in sample])
        return False

    def _page_down(self, part: Slice) -> Iterator[Page]:
        self._paging.plan_for(part)
        yield from self._paging.walk()

    def _read_lists(self) -> Iterator[Page]:
        """Read the lists of open jobs, QUEUED first: a job that moves on meanwhile is on both, never on neither."""
        most = LIST_HANDICAP * list_pages(self._memory.open_jobs) + len(OPEN)
        for status in OPEN:
            cursor = None
            while most > 0:
                most -= 1
                try:
                    page = self._paging.client.page(status=status, cursor=cursor)
                except ApiError as problem:
                    if problem.status not in REFUSED:
                        raise
                    return
                yield self._paging.seen(page)
                cursor = page.next_cursor
                if cursor is None or any(job.get("status") != status for job in page.jobs):
                    break
