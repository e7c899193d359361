"""The slices of the list in their order, newest first, and how they end. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from pipelines.apiframe.stretches import Slice


class End(NamedTuple):
    """Where the list ended: behind a job of this createdAt (None: it is empty)."""

    last: int | None


class Chain:
    """Slices that are still to be read; where one is dropped, the one before it reads on through."""

    def __init__(self, slices: Iterable[Slice]) -> None:
        self.slices = list(slices)
        self.end: End | None = None  # of the list, where it was come to
        self.beyond: list[str] = []  # jobs of this list that lie beyond its end: it contradicts itself

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

    def again(self, part: Slice) -> None:
        """Read a slice again from its start: what it has read leads nowhere."""
        if part.start is None:
            self.slices[self.slices.index(part)] = Slice(None, None, part.floor)
        else:
            self.drop(part)

    def following(self, part: Slice) -> Slice | None:
        """Return the slice behind one, if there is one."""
        index = self.slices.index(part) + 1
        return self.slices[index] if index < len(self.slices) else None

    def close(self, part: Slice, *, at_floor: bool) -> None:
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
        self.settle(part)

    def settle(self, part: Slice) -> None:
        """Take a slice that is at its end off the list, or keep it for the one above, which has yet to join it."""
        if part.start is None or part is self.slices[0]:
            self.slices.remove(part)
        else:
            part.ended = True

    def drop(self, part: Slice) -> None:
        """Drop a slice that is not the first: the one before it reads on through, down to the same floor."""
        index = self.slices.index(part)
        self.slices[index - 1].floor, self.slices[index - 1].below = part.floor, 0
        self.slices.remove(part)


def _is_below(time: int, last: int | None) -> bool:
    return last is None or time < last
