"""What follows from where a list has ended: which jobs are gone, and how far back the API lists at all.

Promises that nothing is gone which the API still finds by id. Leaves the asking to `paging` and `evidence`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pipelines.apiframe.chain import End
from pipelines.apiframe.client import Page
from pipelines.apiframe.evidence import LeftOutError, require_gone
from pipelines.apiframe.frontier import is_reach
from pipelines.apiframe.memory import Memory
from pipelines.apiframe.paging import Paging

DAY = 86_400 * 1_000_000  # microseconds


class Ending:
    """The end of one reading's list. `kept` are jobs that it leaves out and that are not gone.

    `pages` are of those among them that were looked up.
    """

    def __init__(self, paging: Paging, memory: Memory, settle_after: int) -> None:
        self.reach = memory.reach
        self.note: str | None = None
        self.kept: set[str] = set()
        self.pages: list[Page] = []
        self._paging = paging
        self._memory = memory
        self._settle_after = settle_after
        self._now = 0

    def begin(self, now: int) -> None:
        """Take the time that counts for this reading."""
        self._now = now
        self._paging.reaches = None if self.reach is None else now - self.reach

    def contradicts(self, end: End) -> bool:
        """Tell whether a list with this end leaves out jobs that it should have shown."""
        return any(self._paging.may_show(at) for at, _ in self._below(end))

    def gone(self, unseen: Sequence[str] | None) -> list[str]:
        """Return which jobs are gone, once the list was read.

        `unseen` are those that a reading of everything has not met. Raises UndocumentedError where the API still
        knows what its list left out. Where a reading of everything has come twice to the same end though, and nothing
        new can lie below it (`is_reach`), that is how far the API lists: what lies below is kept as it is, and looked
        up by id as long as it can change. To take it for deleted would lose what becomes of it.
        """
        end = self._paging.end
        below = self._below(end) if end else []
        if end and not below and not self._paging.plan.disordered:
            self.reach = None  # all that is known is listed (again)
        if unseen is None:
            unseen = [job for at, job in below if self._paging.may_show(at)]
        try:
            self._require_gone(unseen)
        except LeftOutError:
            left_out = set(unseen)
            below = [(at, job) for at, job in below if job in left_out]
            if not (end and below):
                raise
            # As far as it has just listed: the job behind the end may be much older than that.
            reach = self._now - (below[0][0] if end.last is None else end.last)
            if not self._is_reach(end, reach):
                raise
            return self._believe([job for _, job in below], reach, unseen)
        return list(unseen)

    def _believe(self, kept: list[str], reach: int, unseen: Sequence[str]) -> list[str]:
        """Keep these jobs, which are older than `reach`; returns which of all `unseen` ones are gone."""
        others = [job for job in unseen if job not in set(kept)]
        self._require_gone(others)
        self.reach = reach
        self.note = (
            f"the API lists no job that is older than {reach // DAY} days, though it finds some by id: {len(kept):,} "
            "are kept as they are, and looked up as long as they can change"
        )
        gone = self._look_up(kept)
        self.kept = set(kept).difference(gone)
        return [*others, *gone]

    def _is_reach(self, end: End, reach: int) -> bool:
        since = self._memory.complete_since
        complete_until = None if since is None else since - self._settle_after
        return self._memory.whole and is_reach(reach, end.last, complete_until)

    def _require_gone(self, unseen: Sequence[str]) -> None:
        paging = self._paging
        require_gone(
            paging.client,
            [*unseen, *paging.beyond],
            found=paging.found,
            absent=paging.absent,
            listed=paging.listed,
            whole=self._memory.whole,
        )

    def _look_up(self, kept: Collection[str]) -> list[str]:
        """Look up those of these jobs that could still change; returns those that are gone."""
        wanted = set(kept)
        changing = self._memory.unsettled_before(self._now)
        ids = [job.id for job in changing if job.id in wanted and job.searchable]
        self.pages += self._paging.search(ids)
        return [job for job in ids if job in self._paging.absent]

    def _below(self, end: End) -> list[tuple[int, str]]:
        """Return where the jobs stand that are held as listed, but that a list with this end did not show."""
        paging = self._paging
        if paging.plan.disordered and paging.walks:
            return []  # where one of them belongs is not known
        older = self._memory.older_than(None if paging.plan.disordered else end.last)
        return [(at, job) for at, job in older if job not in paging.met]
