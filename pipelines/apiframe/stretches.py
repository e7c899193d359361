"""A stretch of the jobs list, and a page of it to fetch. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from pipelines.apiframe.frontier import PAGE

Position = tuple[int, str]  # createdAt in microseconds, id
Kind = tuple[Any, Any]  # model, status, as served: not always text

TAIL = 5  # jobs of a page by which it is known again
BELOW = 2  # jobs below the floor that end a slice: one alone may be misdated
TAIL = 5  # jobs of a page by which it is known again


def matches(kind: Kind, filters: Mapping[str, str]) -> bool:
    """Tell whether a job of this kind belongs on a filtered list."""
    model, status = kind
    return bool(filters.get("model", model) == model and filters.get("status", status) == status)


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

    def is_proven(self, ids: Sequence[str]) -> bool:
        """Tell whether it is where it was: one that an earlier reading left must show jobs of its last page."""
        if not self.proven and set(self.tail) & set(ids):
            self.proven, self.last = True, None
        return self.proven

    def is_followed_by(self, times: Sequence[int]) -> bool:
        """Tell whether a page goes on in order, newest first."""
        before = [] if self.last is None else [self.last]
        return all(later <= earlier for earlier, later in pairwise([*before, *times]))

    def take(self, times: Sequence[int], ids: Sequence[str]) -> None:
        """Take a page as read."""
        self.end, self.end_answers = None, 0
        if ids:
            self.last, self.read_with, self.tail = times[-1], self.cursor, list(ids[:: max(1, len(ids) // TAIL)])

    def ends_again(self, last: int | None, identity: str | None) -> bool:
        """Tell whether the list ends where it did when it was last asked."""
        before, self.end = self.end, (last, identity)
        self.end_answers += 1
        return before == self.end

    def is_at_floor(self, times: Sequence[int]) -> bool:
        """Tell whether it has come down to its floor. A list out of order must not look as if it had."""
        if self.floor is None:
            return False
        before, self.below = self.below, self.below + sum(time < self.floor for time in times)
        if not before and self.below == len(times):  # nothing on it was asked for: has a page come too soon?
            self.least_pages = self.pages + 1
        return self.below >= BELOW and self.pages >= self.least_pages

    def is_plausible(self, positions: Sequence[Position], kinds: Sequence[Kind]) -> bool:
        """Tell whether its first page, behind a foreign cursor, can be what follows there, unfiltered."""
        if not self.start or self.pages or not positions:
            return True
        newest, first = positions[0]
        still_filtered = len(kinds) >= PAGE // 2 and all(matches(kind, self.via) for kind in kinds)
        return newest <= self.start[0] and first != self.start[1] and not (self.via and still_filtered)

    def saved(self) -> dict[str, Any]:
        """Return it as plain values; `restore` takes them.

        It begins with the page that was read last: its cursor led to jobs that are known, the one that the page gave
        may lead anywhere.
        """
        cursor = self.read_with if self.pages else self.cursor
        return {"start": self.start, "cursor": cursor, "tail": self.tail, "last": self.last, "head": self.head}


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
