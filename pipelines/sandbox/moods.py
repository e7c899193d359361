"""For tests alone: how else an API may behave. The command and the demo leave all of it as it is.

Faults, a rate limit, other orders of the list, what other servers make of cursors and filters, and what an account
should not live through: refunds that come late or never, charges without a job.
"""

import threading
import time
from bisect import bisect
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from pipelines.sandbox.faults import OVERSIZE_BYTES, Fault, Faults
from pipelines.sandbox.ledger import Entry
from pipelines.sandbox.lives import FOREVER, Job, Position, milliseconds
from pipelines.sandbox.protocol import Cursor, Filter, Request, invalid
from pipelines.sandbox.world import World

_CURSORS: Final = ("position", "offset", "bound", "keeps_filter", "restart", "second")
_ORDERS: Final = ("newest", "oldest", "shuffled")


class Moods:
    """What tests ask of a sandbox, beside its jobs and its clock."""

    _world: World
    _lock: threading.RLock
    _numbers: Iterator[int]
    _tick: Callable[[], None]

    def __init__(self) -> None:
        self.faults = Faults()
        self.rate_limit: float | None = None
        self.ignore_filters = False
        self.skew = timedelta(0)  # how far the Date header is ahead of the clock that jobs live by
        self.on_request: Callable[[Request], object] | None = None
        self._order = "newest"
        self._cursors = "position"
        self._epoch = 0
        self._accepted: deque[float] = deque()

    def fault(self, kind: str, times: int | None = 1, after: int = 0, path: str = "/jobs", **options: Any) -> None:
        """The next `times` (None: all) requests to `path` (* is any) after `after` unharmed ones meet it."""
        self.faults.order(kind, times, after, path, options)

    def clear_faults(self) -> None:
        """No more faults."""
        self.faults.clear()

    def forget_cursors(self) -> None:
        """From now on every cursor issued so far is refused."""
        with self._lock:
            self._epoch += 1

    @property
    def order(self) -> str:
        """The order of the list: newest, oldest or shuffled."""
        return self._order

    @order.setter
    def order(self, order: str) -> None:
        self._order = _known(order, _ORDERS)

    @property
    def cursors(self) -> str:
        """What is made of a cursor that comes from a list filtered otherwise.

        position: a place in any list; offset: a number of jobs to skip (its own lists too); bound: refused;
        keeps_filter: the cursor's filter wins; restart: the top; second: a place cut to the whole second.
        """
        return self._cursors

    @cursors.setter
    def cursors(self, cursors: str) -> None:
        self._cursors = _known(cursors, _CURSORS)

    # Credits

    @property
    def ledger(self) -> list[Entry]:
        """The books so far, oldest first: the truth behind the balance of `/me`. A charge is a number below zero."""
        with self._lock:
            self._tick()
            world = self._world
            return [
                Entry(datetime.fromtimestamp(at / 1000, UTC), kind, None if row is None else world.id(row), gained)
                for at, kind, row, gained in world.ledger.lines()
            ]

    def book(self, kind: str, gained: Decimal | float, job_id: str | None = None) -> None:
        """Book what no job brings about: a top-up, or a charge (below zero) that is one too many or has no job."""
        with self._lock:
            self._tick()
            row = None if job_id is None else self._world.row(job_id)
            self._world.ledger.book(self._world.now, kind, Decimal(str(gained)), row)

    def renew(self, plan: str, amount: Decimal | float, *, adds: bool = False) -> None:
        """Begin a plan's next month: so many credits are left then, whatever is left now; or that many more."""
        with self._lock:
            gained = Decimal(str(amount)) - (0 if adds else self._world.ledger.balance)
            self._world.ledger.plan = plan
            self.book("renewal", gained)

    def refunds(
        self, ids: Iterable[str] | None = None, *, after: timedelta | None = timedelta(0), booked: bool = True
    ) -> None:
        """When these jobs, or those born from now on, get back their cost if they fail: `after` their end, or never.

        Then their creditCost falls; where the refund is not `booked`, it falls and nothing is given back.
        """
        delay = FOREVER if after is None else after // timedelta(milliseconds=1)
        with self._lock:
            self._tick()
            if ids is None:
                self._world.usual_refund = (delay, booked)
            else:
                self._world.arrange(ids, delay, booked)

    # What becomes of answers

    def limited(self) -> bool:
        """Whether one more request now is above the rate limit."""
        if self.rate_limit is None:
            return False
        with self._lock:
            now = time.monotonic()
            while self._accepted and self._accepted[0] <= now - 1:
                self._accepted.popleft()
            if len(self._accepted) >= self.rate_limit:
                return True
            self._accepted.append(now)
            return False

    def _spoil(self, page: Job, fault: Fault, rows: list[int], size: int, here: Cursor) -> None:
        """Make of a true page what a fault makes of it; `here` is the cursor that led to it."""
        kind, jobs = fault.kind, page["jobs"]
        if kind == "empty_page":
            again = here._replace(nonce=next(self._numbers))
            page |= {"jobs": [], "nextCursor": again.text(), "hasMore": True}
        elif kind == "unordered":
            jobs.reverse()
        elif kind == "missing_cursor":
            page |= {"nextCursor": None, "hasMore": True}
        elif kind == "repeated_cursor":
            page |= {"nextCursor": self._back(here, fault.options["back"] * size).text(), "hasMore": True}
        elif kind == "no_jobs":
            del page["jobs"]
        elif kind == "empty_end" or (kind == "early_end" and here.filter.search and fault.options["blind"]):
            page |= {"jobs": [], "nextCursor": None, "hasMore": False}
        elif kind == "early_end" and not here.filter.search:  # a search has no end to come too early
            self._end_early(page, rows, fault.options["before"])
        elif kind == "oversize" and size > fault.options["limit"]:
            self._swell(page, rows, fault.options["job"])

    def _end_early(self, page: Job, rows: list[int], before: datetime | None) -> None:
        """End the list with this page, or above the jobs that were created before a time."""
        hidden = 0 if before is None else sum(self._world.created[row] < milliseconds(before) for row in rows)
        if before is None or hidden:
            page |= {"jobs": page["jobs"][: len(rows) - hidden], "nextCursor": None, "hasMore": False}

    def _swell(self, page: Job, rows: list[int], job: str | None) -> None:
        """Make one job of the page enormous: the named one, if it is there, or the first."""
        for place, row in enumerate(rows):
            if self._world.id(row) == job or (job is None and not place):
                page["jobs"][place] = self._world.render(row) | {"error": "A" * OVERSIZE_BYTES}

    def _back(self, here: Cursor, jobs: int) -> Cursor:
        """The cursor to so many jobs before a place: the one that led there, where pages were full."""
        if not jobs:
            return here
        rows = self._rows(here.filter)
        place = 0 if here.position is None else bisect(rows, self._rank(here.position), key=self._rank_of)
        last = self._world.position(rows[place - jobs - 1]) if place > jobs else None
        return here._replace(position=last, offset=max(0, here.offset - jobs))

    def _behind(self, narrowed: Filter, asked: Cursor | None) -> tuple[Filter, Position | None, int]:
        """Which list to show from where, by what is made of cursors that come from another filter."""
        if asked is None:
            return narrowed, None, 0
        foreign = asked.filter != narrowed
        if foreign and self.cursors == "bound":
            raise invalid("cursor", "Cursor belongs to another filter")
        if foreign and self.cursors == "restart":
            return narrowed, None, 0
        if foreign and self.cursors == "second" and asked.position is not None:
            return narrowed, (asked.position[0] // 1000 * 1000, asked.position[1]), asked.offset
        if self.cursors == "keeps_filter":
            return asked.filter, asked.position, asked.offset
        return narrowed, asked.position, asked.offset

    def _slice(self, narrowed: Filter, after: Position | None, offset: int, size: int) -> list[int]:
        owner, status, model, search = narrowed
        if search is None and self.order == "newest" and self.cursors != "offset":
            return self._world.page(owner, status, model, after, size)
        rows = self._rows(narrowed)
        if self.cursors == "offset":
            return rows[offset : offset + size]
        start = 0 if after is None else bisect(rows, self._rank(after), key=self._rank_of)
        return rows[start : start + size]

    def _rows(self, narrowed: Filter) -> list[int]:
        """Every row of a list, in the order that is served."""
        owner, status, model, search = narrowed
        if search is None:
            rows = self._world.page(owner, status, model, None, FOREVER)
        else:
            rows = self._world.find(search, owner, status, model)
        if self.order == "oldest":
            rows.reverse()
        elif self.order == "shuffled":
            rows.sort(key=self._rank_of)
        return rows

    def _rank_of(self, row: int) -> tuple[int, int]:
        return self._rank(self._world.position(row))

    def _rank(self, position: Position) -> tuple[int, int]:
        created, number = position
        if self.order == "oldest":
            return created, number
        if self.order == "shuffled":
            return number * 0x9E3779B97F4A7C15 & (1 << 61) - 1, number
        return -created, -number


def _known(value: str, values: tuple[str, ...]) -> str:
    if value not in values:
        raise ValueError(f"{value!r} is none of {', '.join(values)}")
    return value
