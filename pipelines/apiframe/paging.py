"""Goes through the pages that plans ask for, and keeps what they have shown."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator

from pipelines.apiframe.chain import End
from pipelines.apiframe.client import Client, Page
from pipelines.apiframe.evidence import is_searchable
from pipelines.apiframe.fetch import Searches, read
from pipelines.apiframe.frontier import Unsettled
from pipelines.apiframe.slices import ListLoopsError, Slices
from pipelines.apiframe.stretches import Slice

EMPTY_PAGES = 100  # a list that brings nothing new for so many pages does not end


class Paging:
    """The pages of one reading, and what is known by them. `walks`: the list is long, its ids are not kept."""

    def __init__(
        self,
        client: Client,
        *,
        workers: int,
        walks: bool,
        doubts: Callable[[End], bool],
        on_page: Callable[[Paging], None],
    ) -> None:
        self.client = client
        self.quick = False  # the API answers at once: nothing is gained by asking ahead
        self.high_water_mark: int | None = None
        self.jobs_read = 0
        self.oldest: int | None = None  # createdAt that paging has come down to
        self.remaining: dict[str, Unsettled] = {}  # unsettled jobs that were not met yet
        self.end: End | None = None  # of the list, where it was come to
        self.reaches: int | None = None  # createdAt down to which the API lists at all; None: there is no such
        self.beyond: list[str] = []  # jobs that were listed beyond it
        self.met: set[str] = set()  # on the list, where it is not walked
        self.listed: str | None = None  # a job that can be searched for and must be found
        self.found: set[str] = set()  # by id
        self.absent: set[str] = set()  # though searched for twice
        self.plan = Slices([], workers=1)
        self._at_end: set[tuple[int, str]] = set()  # on the last pages, which are asked for twice
        self._workers = workers
        self.walks = walks
        self._doubts = doubts
        self._on_page = on_page

    def plan_for(self, *stretches: Slice) -> None:
        """Plan to read these stretches of the list."""
        self.plan = Slices(stretches, workers=1 if self.quick else self._workers, doubts=self._doubts)

    def walk(self) -> Iterator[Page]:
        """Read what the plan asks for."""
        barren = 0
        ids: set[str] = set()
        for page in read(self.client, self.plan, 0 if self.quick else self._workers):
            found = {identity for _, identity in page.positions}
            barren = 0 if found - ids else barren + 1
            if not self.plan.disordered:
                ids.clear()  # without order nothing but jobs never seen shows that the list goes on
            ids |= found
            if not self.walks:
                self.met |= found
            if barren >= EMPTY_PAGES:
                self.plan.start_over()
                raise ListLoopsError(
                    f"the list brought nothing new for {EMPTY_PAGES} pages and says that it goes on; run again later"
                )
            yield self.seen(page)
        self.end = self.plan.end or self.end
        self.beyond += self.plan.beyond

    def search(self, ids: Iterable[str]) -> Generator[Page, None, Searches]:
        """Read jobs by id; returns what came of it."""
        searches = Searches(ids, self.listed)
        for page in read(self.client, searches, 0 if self.quick else self._workers):
            yield self.seen(page)
        if searches.honoured:
            self.found |= searches.found
            self.absent |= searches.absent
        return searches

    def should_have_shown(self, created_at: int) -> bool:
        """Tell whether the list, which was read to its end, should have gone on to a job of this createdAt."""
        end = None if self.plan.disordered else self.end
        return end is not None and (end.last is None or created_at < end.last) and self.may_show(created_at)

    def may_show(self, created_at: int) -> bool:
        """Tell whether the API lists jobs of this createdAt at all."""
        return self.reaches is None or created_at > self.reaches

    def seen(self, page: Page) -> Page:
        """Keep what a page shows."""
        self.jobs_read += len(page.jobs)
        if page.next_cursor is None:
            self.jobs_read -= len(self._at_end.intersection(page.positions))
            self._at_end.update(page.positions)
        if page.positions:  # the first page may have been an end that was none
            self.high_water_mark = max(self.high_water_mark or page.positions[0][0], page.positions[0][0])
        if self.listed is None:
            self.listed = next((job for _, job in page.positions if is_searchable(job)), None)
        if self.remaining:
            for _, identity in page.positions:
                self.remaining.pop(identity, None)
        bottom = self.plan.slices[-1] if self.plan.slices else self.plan.bottom
        if bottom is not None and bottom.last is not None:
            self.oldest = bottom.last
        self._on_page(self)
        return page
