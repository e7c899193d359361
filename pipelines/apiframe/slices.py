"""Which page of the jobs list to read next when several connections read it at the same time. Pure: no I/O.

Promises that what was read is the whole range, whatever the server does with cursors: a slice counts as joined to
the next one only when the jobs behind the seam were seen on both sides. Where anything does not hold, the earlier
slice reads on through, which costs requests and loses nothing. An end of the list counts once it was asked for
twice, and what an earlier reading left counts once it was met again. `fetch.py` fetches, in the order given here.

A page cursor is a position in the list, so one that comes from a sparse *filtered* list (a seed) starts the
unfiltered list thousands of jobs further down.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from pipelines.apiframe.answers import ApiError
from pipelines.apiframe.frontier import PAGE
from pipelines.apiframe.records import FINAL

Position = tuple[int, str]  # createdAt in microseconds, id
Kind = tuple[Any, Any]  # model, status, as served: not always text

#: Shorter lists are read by one chain: seeds would cost more requests than they save time. One request, after
#: PROBE_FROM of these pages, shows whether the list is longer: whether a filtered page, that should reach down to
#: PROBE_TO of them, goes on.
CHAIN_PAGES = 50
PROBE_FROM = 0.4
PROBE_TO = 1.5
HEAD = 3  # jobs behind a seam that both sides must show
MAX_SHARE = 0.125  # a filter that holds more jobs than this makes seeds too close to each other
SAMPLE_PAGES = 10
LEAST_DISTANCE = 16  # pages between two seeds: each costs a request and half a page that is read twice
STRIKES = 4  # seams that may fail before cursors of other lists are distrusted
LATE_SEEDS = 6
RESTARTS = 3
BELOW = 2  # jobs below the floor that end a slice: one alone may be misdated
TAIL = 5  # jobs of a page by which it is known again
END_ANSWERS = 4  # to a page at the end of the list, before two in a row have to agree


class ListLoopsError(ApiError):
    """The list cannot be read to its end: it comes round again, is refused every time, or ends now here, now there."""


class End(NamedTuple):
    """Where the list ended: behind a job of this createdAt (None: it is empty)."""

    last: int | None


@dataclass(eq=False)
class Slice:
    """A stretch of the list that is read page by page, newest first."""

    start: Position | None  # it begins behind this job; None: at the top of the list
    cursor: str | None  # of the next page; None: the first page of the list
    floor: int | None = None  # ends below this createdAt; None: at the end of the list
    last: int | None = None  # createdAt of the last job read
    head: list[str] = field(default_factory=list)  # the first ids behind `start`
    read_with: str | None = None  # the cursor of the last page read
    tail: list[str] = field(default_factory=list)  # a few ids of that page
    proven: bool = True  # False: an earlier reading left it, and its last page has yet to be met again
    end: tuple[int | None, str | None] | None = None  # the job behind which the list ended, when it was last asked
    end_answers: int = 0
    pages: int = 0
    least_pages: int = 1  # to be read before the floor counts: two show whether pages come in order
    below: int = 0  # jobs read that lie below the floor
    busy: bool = False
    ended: bool = False  # at its end, before the slice above it has come down to it
    at_seam: tuple[Position, list[str]] | None = None  # the start of the next slice, and the ids seen behind it
    via: Mapping[str, str] = field(default_factory=dict)  # the filter whose cursor it starts with
    cursors: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Task:
    """One page to fetch: of a slice, or (with `filters`) of a filtered list, to find the start of a new slice."""

    slice: Slice
    cursor: str | None
    limit: int = PAGE
    filters: Mapping[str, str] = field(default_factory=dict)

    @property
    def foreign(self) -> bool:
        """Tell whether it takes a cursor to a list that it did not come from, which no server has to take."""
        return bool(self.filters) or (self.slice.start is not None and not self.slice.pages)


class Slices:
    """The plan of one reading of the list, newest first.

    `next_task` gives the next page to fetch (None: wait for one that is under way, or `done`), `apply` takes its
    answer, `refused` an answer that the cursor is not taken. `disordered` is set where jobs did not come newest
    first: the first slice then reads to the end of the list. `doubts` tells whether an end of the list has to be asked
    for once more before it is believed.
    """

    def __init__(
        self,
        slices: Iterable[Slice],
        *,
        workers: int,
        chain_pages: int = CHAIN_PAGES,
        doubts: Callable[[End], bool] = lambda _: True,
    ) -> None:
        self.slices = list(slices)
        self.workers = workers
        self.disordered = False
        self.end: End | None = None  # of the list, where it was come to
        self.beyond: list[str] = []  # jobs of this list that lie beyond its end: it contradicts itself
        self._doubts = doubts
        self.bottom: Slice | None = None  # the slice that went deepest, with the cursor to go on from
        self._chain_pages = chain_pages
        self._is_long = False
        self._trust = workers > 1
        self._filters: Mapping[str, str] | None = None  # of the seeds
        self._limit = PAGE
        self._seed_cursor: str | None = None
        self._seeding = False
        self._seeds_end = False  # the next seed would lie below the floor
        self._dry: set[tuple[tuple[str, str], ...]] = set()
        self._patience = 0  # pages of the tail to read before another filter is tried
        self._sample: list[Kind] = []
        self._pages = 0
        self._strikes = 0
        self._late = 0
        self._restarts = 0

    @property
    def done(self) -> bool:
        """Tell whether the whole range was read."""
        return not self.slices

    def progress(self, floor: int | None) -> list[dict[str, Any]]:
        """Return the slices that are still to be read down to `floor`, as plain values; `restore` takes them.

        Each begins with the page that it has read last: its cursor led to jobs that are known, the one that the page
        gave may lead anywhere.
        """
        return [
            {
                "start": part.start,
                "cursor": part.read_with if part.pages else part.cursor,
                "tail": part.tail,
                "last": part.last,
                "head": part.head,
            }
            for part in self.slices
            if part.floor == floor
        ]

    def start_over(self) -> None:
        """Forget what was read: it is no list."""
        self.slices = [Slice(None, None, self.slices[-1].floor)] if self.slices else []

    def next_task(self) -> Task | None:
        """Return the next page to fetch."""
        if not self.slices:
            return None
        tail = self.slices[-1]
        waiting = sum(not part.pages for part in self.slices)
        if self._filters and not self._seeding and waiting < self.workers and not tail.ended:
            self._seeding = True
            return Task(tail, self._seed_cursor, self._limit, self._filters)
        candidates = self.slices if self._trust else self.slices[:1]
        if self._trust and not self._filters and not self._seeds_end and self._pages >= PROBE_FROM * self._chain_pages:
            candidates = [tail, *candidates]  # the next filter is chosen where it will be used
        for part in candidates:
            if not part.busy and not part.ended:
                part.busy = True
                return Task(part, part.cursor)
        return None

    def apply(
        self,
        task: Task,
        positions: Sequence[Position],
        kinds: Sequence[Kind],
        next_cursor: str | None,
    ) -> None:
        """Take the answer to a task: where its jobs stand, of which kind they are, and the next cursor."""
        if task.filters:
            self._seeding = False
            self._seeded(task, positions, kinds, next_cursor)
        elif task.slice in self.slices:  # otherwise it was dropped while the page was under way
            task.slice.busy = False
            self._read(task.slice, positions, kinds, next_cursor)

    def refused(self, task: Task) -> None:
        """Take the answer that the API does not take the cursor of a task, or fails at a foreign one."""
        if task.filters:
            self._seeding = False
            self._distrust()
        elif task.slice in self.slices:
            self._distrust()
            if task.slice.start is None:
                self._restarts += 1
            if self._restarts > RESTARTS:
                raise ListLoopsError("the API refuses its own page cursors again and again; run again later")
            if task.slice is self.slices[0]:
                self.start_over()  # an expired cursor: all are
            else:
                self._again(task.slice)

    def _read(self, part: Slice, positions: Sequence[Position], kinds: Sequence[Kind], next_cursor: str | None) -> None:
        ids = [identity for _, identity in positions]
        if not self._proven(part, ids):
            self._again(part)
            return
        if part.start and not part.pages and positions and not self._plausible(part, positions, kinds):
            self._distrust()
            self._drop(part)
            return
        part.pages += 1
        self._pages += 1
        times = [time for time, _ in positions]
        if any(later > earlier for earlier, later in pairwise([*([] if part.last is None else [part.last]), *times])):
            self._read_in_disorder(part)
        if part.start and not part.head:
            part.head = ids[:HEAD]
        if part not in self.slices or self._joined(part, times, ids, next_cursor):
            return
        if next_cursor is None and not self._is_end(part, positions):
            return  # the same page is asked for again
        part.end, part.end_answers = None, 0
        if ids:
            part.last, part.read_with, part.tail = times[-1], part.cursor, ids[:: max(1, len(ids) // TAIL)]
        if next_cursor is None or self._at_floor(part, times):
            part.cursor = next_cursor
            self.bottom = part
            self._end(part, at_floor=next_cursor is not None)
            return
        self._go_on(part, kinds, next_cursor)

    def _go_on(self, part: Slice, kinds: Sequence[Kind], next_cursor: str) -> None:
        """Have the next page of a slice read."""
        if hash(next_cursor) in part.cursors:
            self._again(part)  # where it went round is not known
            raise ListLoopsError(
                "the list comes round again: the API gave the same page cursor twice; nothing was lost, run again"
            )
        part.cursors.add(hash(next_cursor))
        part.cursor = next_cursor
        if part is self.slices[-1] and self._trust and not self._filters and not self._seeds_end:
            self._sample = [*self._sample, *kinds][-SAMPLE_PAGES * PAGE :]
            self._patience -= 1
            if self._pages >= PROBE_FROM * self._chain_pages and self._patience < 0:
                self._choose(part.cursor)

    def _proven(self, part: Slice, ids: Sequence[str]) -> bool:
        """Tell whether a slice is where it was: one that an earlier reading left must show jobs of its last page."""
        if not part.proven and set(part.tail) & set(ids):
            part.proven, part.last = True, None
        return part.proven

    def _is_end(self, part: Slice, positions: Sequence[Position]) -> bool:
        """Tell whether the list ends with a page that says so; otherwise it is to be asked for again."""
        last, identity = positions[-1] if positions else (part.last, None)
        if self.end == End(last) or not self._doubts(End(last)):  # another slice has found it there too
            return True
        before, part.end = part.end, (last, identity)
        part.end_answers += 1
        if before != part.end and part.end_answers >= END_ANSWERS:
            self._again(part)
            raise ListLoopsError("the list of jobs ends now here, now there; nothing was lost, run again")
        return before == part.end

    def _again(self, part: Slice) -> None:
        """Read a slice again from its start: what it has read leads nowhere."""
        if part.start is None:
            self.slices[self.slices.index(part)] = Slice(None, None, part.floor)
        else:
            self._drop(part)

    def _at_floor(self, part: Slice, times: Sequence[int]) -> bool:
        """Tell whether a slice has come down to its floor. A list out of order must not look as if it had."""
        if part.floor is None:
            return False
        before, part.below = part.below, part.below + sum(time < part.floor for time in times)
        if not before and part.below == len(times):  # nothing on it was asked for: has a page come too soon?
            part.least_pages = part.pages + 1
        return part.below >= BELOW and part.pages >= part.least_pages

    def _plausible(self, part: Slice, positions: Sequence[Position], kinds: Sequence[Kind]) -> bool:
        """Tell whether the first page behind a foreign cursor can be what follows there, unfiltered."""
        assert part.start  # noqa: S101 - for the type checker
        newest, first = positions[0]
        still_filtered = len(kinds) >= PAGE // 2 and all(_matches(kind, part.via) for kind in kinds)
        return newest <= part.start[0] and first != part.start[1] and not (part.via and still_filtered)

    def _read_in_disorder(self, part: Slice) -> None:
        self.disordered = True
        self._distrust()
        first = self.slices[0]
        first.floor = None
        first.at_seam = None
        self.slices = [first]

    def _joined(self, part: Slice, times: Sequence[int], ids: Sequence[str], next_cursor: str | None) -> bool:
        """Join the slice to the next ones that it has reached. True where its own stretch is complete."""
        while (following := self._following(part)) is not None and following.start is not None:
            seam, part.at_seam = part.at_seam, None
            if seam and seam[0] == following.start:
                behind = [*seam[1], *ids]
            elif following.start[1] in ids:
                behind = list(ids[ids.index(following.start[1]) + 1 :])
            elif times and times[-1] < following.start[0]:
                self._strike(following)  # passed without meeting it
                continue
            else:
                return False
            if not following.head:
                self._drop(following)  # it has not begun: this slice reads on at no cost
            elif len(behind) < HEAD and next_cursor is not None:
                part.at_seam = (following.start, behind)  # the next page decides
                return False
            elif behind and behind[:HEAD] == following.head[: len(behind)]:
                if part.pages < self.workers / 2:
                    self._filters = None  # seeds come too close: choose again, where they are used
                following.start, following.head = part.start, part.head
                following.via = part.via
                self.slices.remove(part)
                if following.ended:
                    self._settle(following)
                return True
            else:
                self._strike(following)
        return False

    def _following(self, part: Slice) -> Slice | None:
        index = self.slices.index(part) + 1
        return self.slices[index] if index < len(self.slices) else None

    def _end(self, part: Slice, *, at_floor: bool) -> None:
        """End a slice, and the ones behind it that lie below: below its floor, or beyond the end of the list."""
        index = self.slices.index(part)
        rest = self.slices[index + 1 :]
        if at_floor:  # another stretch, which begins at a top of its own, is not concerned
            own = next((place for place, other in enumerate(rest) if other.floor != part.floor), len(rest))
            rest = rest[own:]
        else:
            self.end = End(part.last)
            for other in rest:
                if other.start and _is_below(other.start[0], part.last):
                    self.beyond.append(other.start[1])
                if other.last is not None and _is_below(other.last, part.last):
                    self.beyond += other.tail
            rest = []
        self.slices = [*self.slices[: index + 1], *rest]
        self._settle(part)

    def _settle(self, part: Slice) -> None:
        """Take a slice that is at its end off the list, or keep it for the one above, which has yet to join it."""
        if part.start is None or part is self.slices[0]:
            self.slices.remove(part)
        else:
            part.ended = True

    def _choose(self, cursor: str) -> None:
        """Choose a filter for seeds from the kinds of jobs at the tail: sparse, but not so sparse as to run dry.

        Seeds should lie some 2 * workers pages apart: closer than 1.25 and finding them is the bottleneck.
        """
        self._seed_cursor = cursor
        distance = max(2 * self.workers, LEAST_DISTANCE)
        if not self._is_long:
            distance = max(distance, round(PROBE_TO * self._chain_pages) - self._pages)
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
        self._filters = dict(best)
        self._limit = max(1, min(PAGE, round(usable[best] * distance * PAGE)))
        if self._is_long:
            self._sample = []

    def _seeded(
        self, task: Task, positions: Sequence[Position], kinds: Sequence[Kind], next_cursor: str | None
    ) -> None:
        if not self._trust or task.filters is not self._filters:
            return
        if not all(_matches(kind, task.filters) for kind in kinds):
            self._distrust()
            return
        if next_cursor is None or not positions:
            self._dry.add(tuple(task.filters.items()))
            self._filters = None
            self._patience = 2 ** len(self._dry) - 1  # at the end of the list every filter runs dry
            if not self._is_long:
                self._patience = max(self._patience, self._chain_pages - self._pages)
            return
        if task.slice not in self.slices or task.slice is not self.slices[-1] or task.slice.ended:
            self._filters = None
            return
        tail, found = task.slice, positions[-1]
        edge = tail.last if tail.last is not None else tail.start[0] if tail.start else None
        if edge is None or found[0] >= edge:
            self._late += 1
            self._seed_cursor = tail.cursor
            if self._late >= LATE_SEEDS:
                self._distrust()
            return
        if tail.floor is not None and found[0] < tail.floor:
            self._filters = None
            self._seeds_end = self._is_long or self._pages >= self._chain_pages  # a probe may have gone too far
            self._patience = self._chain_pages - self._pages
            return
        if not self._is_long:
            self._is_long = True
            self._choose(tail.cursor or next_cursor)  # from where the tail is by now, and closer to each other
            return
        self.slices.append(Slice(found, next_cursor, tail.floor, via=task.filters))
        self._seed_cursor = next_cursor

    def _drop(self, part: Slice) -> None:
        """Drop a slice that is not the first: the one before it reads on through, down to the same floor."""
        index = self.slices.index(part)
        self.slices[index - 1].floor, self.slices[index - 1].below = part.floor, 0
        self.slices.remove(part)

    def _strike(self, part: Slice) -> None:
        self._drop(part)
        self._strikes += 1
        if self._strikes >= STRIKES:
            self._distrust()

    def _distrust(self) -> None:
        self._trust = False
        self._filters = None


def _is_below(time: int, last: int | None) -> bool:
    return last is None or time < last


def _matches(kind: Kind, filters: Mapping[str, str]) -> bool:
    model, status = kind
    return bool(filters.get("model", model) == model and filters.get("status", status) == status)


def can_restore(progress: Sequence[Mapping[str, Any]] | None) -> bool:
    """Tell whether a reading can go on from this progress; an earlier version kept less, by which nothing is proven."""
    parts = progress or ()
    return any(part["cursor"] for part in parts) and all("tail" in part for part in parts)


def restore(progress: Iterable[Mapping[str, Any]], floor: int | None) -> list[Slice]:
    """Return the slices that `Slices.progress` told of."""
    return [
        Slice(
            start=tuple(part["start"]) if part["start"] else None,
            cursor=part["cursor"],
            floor=floor,
            last=part["last"],
            head=list(part["head"]),
            read_with=part["cursor"],
            tail=list(part["tail"]),
            proven=not part["tail"],
            pages=1 if part["tail"] else 0,
        )
        for part in progress
    ]
