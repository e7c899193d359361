"""Which page of the jobs list to read next when several connections read it at the same time. Pure: no I/O.

Promises that what was read is the whole range, whatever the server does with cursors: a slice counts as joined to
the next one only when the jobs behind the seam were seen on both sides. Where anything does not hold, the earlier
slice reads on through, which costs requests and loses nothing. An end of the list counts once it was asked for
twice, and what an earlier reading left counts once it was met again. `fetch.py` fetches, in the order given here.

A page cursor is a position in the list, so one that comes from a sparse *filtered* list (a seed) starts the
unfiltered list thousands of jobs further down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pipelines.apiframe.answers import ApiError
from pipelines.apiframe.seeds import CHAIN_PAGES, Seeds
from pipelines.apiframe.stretches import Kind, Position, Slice, Task

HEAD = 3  # jobs behind a seam that both sides must show
STRIKES = 4  # seams that may fail before cursors of other lists are distrusted
RESTARTS = 3
END_ANSWERS = 4  # to a page at the end of the list, before two in a row have to agree


class ListLoopsError(ApiError):
    """The list cannot be read to its end: it comes round again, is refused every time, or ends now here, now there."""


class End(NamedTuple):
    """Where the list ended: behind a job of this createdAt (None: it is empty)."""

    last: int | None


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
        self._seeds = Seeds(workers, chain_pages)
        self._strikes = 0
        self._restarts = 0

    @property
    def done(self) -> bool:
        """Tell whether the whole range was read."""
        return not self.slices

    def progress(self, floor: int | None) -> list[dict[str, Any]]:
        """Return the slices that are still to be read down to `floor`, as plain values; `restore` takes them."""
        return [part.saved() for part in self.slices if part.floor == floor]

    def start_over(self) -> None:
        """Forget what was read: it is no list."""
        self.slices = [Slice(None, None, self.slices[-1].floor)] if self.slices else []

    def next_task(self) -> Task | None:
        """Return the next page to fetch."""
        if not self.slices:
            return None
        tail = self.slices[-1]
        if task := self._seeds.next_task(tail, sum(not part.pages for part in self.slices)):
            return task
        candidates = self.slices if self._seeds.trust else self.slices[:1]
        if self._seeds.is_choosing and self._seeds.is_due:
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
            tail = self.slices[-1] if self.slices else None
            if seed := self._seeds.answered(task, tail, positions, kinds, next_cursor):
                self.slices.append(seed)
        elif task.slice in self.slices:  # otherwise it was dropped while the page was under way
            task.slice.busy = False
            self._read(task.slice, positions, kinds, next_cursor)

    def refused(self, task: Task) -> None:
        """Take the answer that the API does not take the cursor of a task, or fails at a foreign one."""
        if task.filters:
            self._seeds.distrust()
        elif task.slice in self.slices:
            self._seeds.distrust()
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
        if not part.is_proven(ids):
            self._again(part)
            return
        if not part.is_plausible(positions, kinds):
            self._seeds.distrust()
            self._drop(part)
            return
        part.pages += 1
        self._seeds.pages += 1
        times = [time for time, _ in positions]
        if not part.is_followed_by(times):
            self._read_in_disorder()
        if part.start and not part.head:
            part.head = ids[:HEAD]
        if part not in self.slices or self._joined(part, times, ids, next_cursor):
            return
        if next_cursor is None and not self._is_end(part, positions):
            return  # the same page is asked for again
        part.take(times, ids)
        if next_cursor is None or part.is_at_floor(times):
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
        if part is self.slices[-1]:
            self._seeds.take_sample(kinds, part.cursor)

    def _is_end(self, part: Slice, positions: Sequence[Position]) -> bool:
        """Tell whether the list ends with a page that says so; otherwise it is to be asked for again."""
        last, identity = positions[-1] if positions else (part.last, None)
        if self.end == End(last) or not self._doubts(End(last)):  # another slice has found it there too
            return True
        if part.ends_again(last, identity):
            return True
        if part.end_answers >= END_ANSWERS:
            self._again(part)
            raise ListLoopsError("the list of jobs ends now here, now there; nothing was lost, run again")
        return False

    def _again(self, part: Slice) -> None:
        """Read a slice again from its start: what it has read leads nowhere."""
        if part.start is None:
            self.slices[self.slices.index(part)] = Slice(None, None, part.floor)
        else:
            self._drop(part)

    def _read_in_disorder(self) -> None:
        self.disordered = True
        self._seeds.distrust()
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
                    self._seeds.filters = None  # seeds come too close: choose again, where they are used
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

    def _drop(self, part: Slice) -> None:
        """Drop a slice that is not the first: the one before it reads on through, down to the same floor."""
        index = self.slices.index(part)
        self.slices[index - 1].floor, self.slices[index - 1].below = part.floor, 0
        self.slices.remove(part)

    def _strike(self, part: Slice) -> None:
        self._drop(part)
        self._strikes += 1
        if self._strikes >= STRIKES:
            self._seeds.distrust()


def _is_below(time: int, last: int | None) -> bool:
    return last is None or time < last


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
