"""What a reading asks of whoever remembers what was read before. Times are microseconds since 1970."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from pipelines.apiframe.frontier import Known, Unsettled


class Memory:
    """This one remembers nothing, so that everything is read; others answer what they can.

    Where the list is walked, a reading asks before its first page and at its end alone: what it reads may be stored
    meanwhile.
    """

    known: Known | None = None  # None: this list was never read
    since: int | None = None  # the oldest createdAt wanted; None: all
    whole: bool = False  # everything is to be read again, and an end that was asked for twice is believed
    reach: int | None = None  # microseconds: how old the jobs are that the API lists; None: of any age
    complete_since: int | None = None  # when the last sync began that saw all that is new; None: there was none
    open_jobs: Mapping[str, int] = {}

    def unsettled(self, now: int) -> Iterable[Unsettled]:
        """Return the jobs that can still change; what a clock that was ahead has recorded counts as of now."""
        return ()

    def unsettled_before(self, now: int) -> Iterable[Unsettled]:
        """Return the jobs that could still change for the last sync that ended well, whatever this one goes on with."""
        return ()

    def is_known(self, positions: Sequence[tuple[int, str]]) -> bool:
        """Tell whether all these jobs are held: while they are, the first page of a quiet account is enough."""
        return False

    def expect(self) -> None:
        """Take notice that the first page shows something new."""

    def newer_than(self, created_at: int) -> int:
        """Return how many jobs are newer."""
        return 0

    def older_than(self, created_at: int | None) -> Sequence[tuple[int, str]]:
        """Return where the jobs stand that are held as listed below a createdAt (None: all), newest first."""
        return ()

    def lately_delisted(self, now: int) -> Sequence[str]:
        """Return the delisted jobs that are to be looked at again now."""
        return ()

    def delisted_with(self, ids: Collection[str]) -> Iterable[Unsettled]:
        """Return all jobs that were delisted when one of these was."""
        return ()
