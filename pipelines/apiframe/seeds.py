"""Where new slices of the list may begin: found on sparse filtered lists, whose cursors lie far apart. Pure: no I/O."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from pipelines.apiframe.frontier import PAGE
from pipelines.apiframe.records import FINAL
from pipelines.apiframe.stretches import Kind, Position, Slice, Task, matches

#: Shorter lists are read by one chain: seeds would cost more requests than they save time. One request, after
#: PROBE_FROM of these pages, shows whether the list is longer: whether a filtered page, that should reach down to
#: PROBE_TO of them, goes on.
CHAIN_PAGES = 50
PROBE_FROM = 0.3
PROBE_TO = 1.5
MAX_SHARE = 0.125  # a filter that holds more jobs than this makes seeds too close to each other
SAMPLE_PAGES = 10
LEAST_DISTANCE = 16  # pages between two seeds: each costs a request and half a page that is read twice
LATE_SEEDS = 6


class Seeds:
    """Chooses the filtered list to walk, and makes slices of what it shows, until cursors of it cannot be trusted."""

    def __init__(self, workers: int, chain_pages: int) -> None:
        self.trust = workers > 1
        self.filters: Mapping[str, str] | None = None
        self.pages = 0  # of the list itself that were read
        self._workers = workers
        self._chain_pages = chain_pages
        self._is_long = False
        self._limit = PAGE
        self._cursor: str | None = None
        self._under_way = False
        self._end = False  # the next seed would lie below the floor
        self._dry: set[tuple[tuple[str, str], ...]] = set()
        self._patience = 0  # pages of the tail to read before another filter is tried
        self._sample: list[Kind] = []
        self._late = 0

    @property
    def is_choosing(self) -> bool:
        """Tell whether a filter is to be chosen, from what the tail shows."""
        return self.trust and not self.filters and not self._end

    @property
    def is_due(self) -> bool:
        """Tell whether enough was read for that."""
        return self.pages >= PROBE_FROM * self._chain_pages

    def next_task(self, tail: Slice, waiting: int) -> Task | None:
        """Return the next page of the filtered list, while fewer slices than workers are waiting to be begun."""
        if not self.filters or self._under_way or waiting >= self._workers or tail.ended:
            return None
        self._under_way = True
        return Task(tail, self._cursor, self._limit, self.filters)

    def take_sample(self, kinds: Sequence[Kind], cursor: str) -> None:
        """Take what a page of the tail shows; `cursor` is of its next one."""
        if not self.is_choosing:
            return
        self._sample = [*self._sample, *kinds][-SAMPLE_PAGES * PAGE :]
        self._patience -= 1
        if self.is_due and self._patience < 0:
            self._choose(cursor)

    def answered(
        self,
        task: Task,
        tail: Slice | None,
        positions: Sequence[Position],
        kinds: Sequence[Kind],
        next_cursor: str | None,
    ) -> Slice | None:
        """Take an answer; returns the slice that begins behind it, if one does."""
        self._under_way = False
        if not self.trust or task.filters is not self.filters:
            return None
        if not all(matches(kind, task.filters) for kind in kinds):
            self.distrust()
        elif next_cursor is None or not positions:
            self._run_dry(task)
        elif tail is None or task.slice is not tail or tail.ended:
            self.filters = None
        else:
            return self._seed(tail, positions[-1], next_cursor)
        return None

    def distrust(self) -> None:
        """Begin no more slices."""
        self._under_way = False
        self.trust = False
        self.filters = None

    def _run_dry(self, task: Task) -> None:
        self._dry.add(tuple(task.filters.items()))
        self.filters = None
        self._patience = 2 ** len(self._dry) - 1  # at the end of the list every filter runs dry
        if not self._is_long:
            self._patience = max(self._patience, self._chain_pages - self.pages)

    def _seed(self, tail: Slice, found: Position, next_cursor: str) -> Slice | None:
        edge = tail.last if tail.last is not None else tail.start[0] if tail.start else None
        if edge is None or found[0] >= edge:
            self._late += 1
            self._cursor = tail.cursor
            if self._late >= LATE_SEEDS:
                self.distrust()
            return None
        if tail.floor is not None and found[0] < tail.floor:
            self.filters = None
            self._end = self._is_long or self.pages >= self._chain_pages  # a probe may have gone too far
            self._patience = self._chain_pages - self.pages
            return None
        if not self._is_long:
            self._is_long = True
            self._choose(tail.cursor or next_cursor)  # from where the tail is by now, and closer to each other
            return None
        assert self.filters is not None  # noqa: S101 - for the type checker
        self._cursor = next_cursor
        return Slice(found, next_cursor, tail.floor, via=self.filters)

    def _choose(self, cursor: str) -> None:
        """Choose a filter for seeds from the kinds of jobs at the tail: sparse, but not so sparse as to run dry.

        Seeds should lie some 2 * workers pages apart: closer than 1.25 and finding them is the bottleneck.
        """
        self._cursor = cursor
        distance = max(2 * self._workers, LEAST_DISTANCE)
        if not self._is_long:
            distance = max(distance, round(PROBE_TO * self._chain_pages) - self.pages)
        counts: Counter[tuple[tuple[str, str], ...]] = Counter()
        for model, status in self._sample:
            if type(model) is str:
                counts[(("model", model),)] += 1
            if status in FINAL:
                counts[(("status", status),)] += 1
                if type(model) is str:
                    counts[("model", model), ("status", status)] += 1
        total = len(self._sample)
        usable = {
            filters: count / total
            for filters, count in counts.items()
            if filters not in self._dry and count / total <= MAX_SHARE and (count > 1 or total <= PAGE)
        }
        if not usable:
            return
        best = min(usable, key=lambda filters: (abs(math.log(usable[filters] * distance)), filters))
        self.filters = dict(best)
        self._limit = max(1, min(PAGE, round(usable[best] * distance * PAGE)))
        if self._is_long:
            self._sample = []
