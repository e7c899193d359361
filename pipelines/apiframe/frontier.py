"""What a sync has to ask for, decided from what the warehouse knows. Pure: values in, a plan out, no I/O.

Promises that every job which can have changed is asked for, by whichever way costs fewer requests. Times are
microseconds since 1970 by the API's clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

from pipelines.apiframe.records import OPEN
from pipelines.apiframe.settled import WEEK

PAGE = 100
#: Lists of open jobs may have to be followed up by other look-ups, so they must save at least half.
LIST_HANDICAP = 2


@dataclass(frozen=True)
class Known:
    """What the last sync of this scope left: when it began and the newest job it saw.

    `progress` is what a first load or a full sync has still to read, where it was cut short.
    """

    started_at: int
    high_water_mark: int | None
    progress: Sequence[Mapping[str, Any]] | None = None


@dataclass(frozen=True)
class Unsettled:
    """A job that can still change. `rank` is the number of known jobs that are newer."""

    id: str
    created_at: int
    status: str | None
    rank: int
    searchable: bool = True


def floor(known: Known, settle_after: int) -> int:
    """Return the createdAt down to which the list is read again.

    It lies `settle_after` below the newest job seen and below the start of the last good sync, whichever is
    earlier: a job that became visible late lies above it.
    """
    newest = known.started_at if known.high_water_mark is None else known.high_water_mark
    return min(newest, known.started_at) - settle_after


def was_quiet(known: Known, settle_after: int) -> bool:
    """Tell whether the newest job had been settled for long when the last sync began.

    Whatever became visible late has been seen by then: while nothing newer appears, the first page is enough.
    """
    return known.high_water_mark is None or known.high_water_mark < known.started_at - settle_after


def is_reach(reach: int, end: int | None, complete_until: int | None) -> bool:
    """Tell whether an end that was asked for twice may be how far the API lists: to jobs as old as `reach`.

    It lies at a createdAt (None: the list is empty) above jobs that the API finds by id. They are known: nothing is
    lost by not seeing them. A job that is not known would be, so that none may lie there: all were seen that were
    created before `complete_until` (None: not even those). An empty list is read as a whole at each sync until it is
    none. A list of less than a week is a fault: little of what is known would be held against later ones.
    """
    return reach >= WEEK and (end is None or (complete_until is not None and end < complete_until))


@dataclass(frozen=True)
class Step:
    """The next thing to do for old unsettled jobs: read on down to a createdAt, read the lists, or search ids."""

    action: Literal["page", "lists", "search"]
    down_to: int | None = None
    ids: tuple[str, ...] = ()


def list_pages(open_jobs: Mapping[str, int]) -> int:
    """Return how many pages the lists of open jobs will take: at least one for each status."""
    return sum(max(1, math.ceil(open_jobs.get(status, 0) / PAGE)) for status in OPEN)


def next_step(
    unsettled: Sequence[Unsettled],
    *,
    reached: int | None,
    open_jobs: Mapping[str, int],
    can_list: bool,
    can_search: bool,
) -> Step:
    """Decide how to look up the unsettled jobs (at least one) that lie deeper than paging has gone.

    `reached` is the number of known jobs that are newer than where paging stands (None: it cannot go on): the
    density of jobs between it and an unsettled one tells what paging costs.
    """
    jobs = sorted(unsettled, key=lambda job: job.rank)
    pages: list[float] = [
        math.inf if reached is None else max(1.0, math.ceil((job.rank + 1 - reached) / PAGE)) for job in jobs
    ]
    alone = [1.0 if can_search and job.searchable else math.inf for job in jobs]
    rest = [*accumulate(reversed(alone), initial=0.0)][::-1]  # rest[k]: the jobs k, k+1, ... searched one by one
    cost, depth = min(((pages[k - 1] if k else 0) + rest[k], k) for k in range(len(jobs) + 1))
    if can_list:
        listed: float = LIST_HANDICAP * list_pages(open_jobs)
        listed += sum(each for job, each in zip(jobs, alone, strict=True) if job.status not in OPEN)
        if listed < cost:
            return Step("lists")
    if depth:
        return Step("page", down_to=jobs[depth - 1].created_at)
    return Step("search", ids=tuple(job.id for job in jobs if job.searchable))
