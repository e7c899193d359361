"""Fetches the pages that a plan (slices of the list, or jobs by id) asks for, several at a time, and hands them over.

Promises that the plan is up to date with the pages handed over and no further, so that its progress can be
stored with them. A 429 halves the connections in use; they come back one by one.
"""

import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from pipelines.apiframe.answers import REFUSED, ApiError
from pipelines.apiframe.client import Client, Page
from pipelines.apiframe.frontier import PAGE
from pipelines.apiframe.slices import Slices
from pipelines.apiframe.stretches import Kind, Position

#: Seconds that Python lets a thread run on. Its default of 5 ms is as long as a page takes: pages that have come
#: would wait for rows that are being made.
SWITCH_INTERVAL = 0.001
RECOVERY_PAGES = 20  # answers before one more connection is tried after a 429

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Search:
    """A search for the id of one job; a task as `Slices` has them."""

    filters: Mapping[str, str]
    cursor: str | None = None
    limit: int = PAGE
    foreign: bool = False


class Searches:
    """The plan to look up jobs by id.

    `found` and `absent` are the ids that were, and that twice were not. `honoured` tells whether the API searches:
    not where it answers with another job, or does not find `listed`, a job that its list has shown just now; the
    latter is `contradicted`, for that API does search. An absence counts when a job was found in between.
    """

    def __init__(self, ids: Iterable[str], listed: str | None = None) -> None:
        self.honoured = True
        self.contradicted = False
        self.found: set[str] = set()
        self.absent: set[str] = set()
        self._ids = deque(dict.fromkeys(ids))
        self._listed = None if listed in self._ids else listed
        self._missed: set[str] = set()  # answered with nothing once
        self._endless: set[str] = set()  # answered once with an empty page that says that it goes on
        self._again: deque[str] = deque()  # to be asked once more
        self._asks_listed = False
        self._proven = False
        self._under_way = False

    def next_task(self) -> Search | None:
        """Return the next search; the first one goes alone."""
        if not self.honoured or (self._under_way and not self._proven):
            return None
        if not self._ids and self._again and (self.found or self._listed is None):
            self._ids, self._again = self._again, deque()
        elif not self._ids and self._again and not self._asks_listed and self._listed is not None:
            self._asks_listed = True
            self._ids.append(self._listed)
        self._under_way = True
        return Search({"search": self._ids.popleft()}) if self._ids else None

    def apply(
        self, task: Search, positions: Sequence[Position], _kinds: Sequence[Kind], next_cursor: str | None
    ) -> None:
        """Take an answer. An id is one job on one page: an empty page that goes on is no proof, and asked for again."""
        self._proven = True
        identity = task.filters["search"]
        if next_cursor is not None and not positions and identity not in self._endless:
            self._endless.add(identity)
            self._ids.append(identity)
        elif next_cursor is not None or any(found != identity for _, found in positions):
            self.honoured = False
        elif positions:
            self.found.add(identity)
        elif identity in self._missed:
            self.absent.add(identity)
            self.contradicted |= identity == self._listed
            self.honoured = self.honoured and not self.contradicted
        else:
            self._missed.add(identity)
            if identity == self._listed:
                self._asks_listed = False
            else:
                self._again.append(identity)

    def refused(self, _task: Search) -> None:
        """Take the answer that the API does not search."""
        self.honoured = False


def kinds(page: Page) -> list[Kind]:
    """Return (model, status) of each job of a page, as served."""
    return [(job.get("model"), job.get("status")) for job in page.jobs]


def read(client: Client, plan: Slices | Searches, workers: int) -> Iterator[Page]:
    """Read all that a plan asks for; yields every page that came, filtered ones included, in the order of arrival.

    The next pages are asked for before one is handed over, on `workers` threads; 0: one page after the other, in this
    thread. Raises what the client raises.
    """
    if workers:
        yield from _Threads(client, workers, plan.next_task, partial(_fetch, client), partial(_apply, plan)).run()
        return
    while (task := plan.next_task()) is not None:
        try:
            answer: Page | BaseException = _fetch(client, task)
        except ApiError as problem:
            answer = problem
        yield from _apply(plan, task, answer)


def each(client: Client, items: Iterable[Item], ask: Callable[[Item], Answer], workers: int) -> Iterator[Answer]:
    """Ask for each of these, on `workers` threads; yields the answers in the order of arrival.

    No more than `workers` are asked for ahead of what is handed over. Raises what `ask` raises.
    """
    rest = iter(items)

    def take(_: Item, answer: Answer | BaseException) -> list[Answer]:
        if isinstance(answer, BaseException):
            raise answer
        return [answer]

    yield from _Threads(client, workers, lambda: next(rest, None), ask, take).run()


class _Threads(Generic[Item, Answer]):
    """Asks on threads for what `next_task` gives, as long as it gives any; `take` makes of an answer what to yield."""

    def __init__(
        self,
        client: Client,
        workers: int,
        next_task: Callable[[], Item | None],
        ask: Callable[[Item], Answer],
        take: Callable[[Item, Answer | BaseException], list[Answer]],
    ) -> None:
        self._client = client
        self._workers = workers
        self._next_task = next_task
        self._ask_for = ask
        self._take = take
        self._tasks: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[Item, Answer | BaseException]] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._under_way = 0
        self._allowed = workers

    def run(self) -> Iterator[Answer]:
        """Yield what comes."""
        throttled, calm = self._client.throttled, 0
        switch_interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL)
        try:
            self._ask()
            while self._under_way:
                task, answer = self._answers.get()
                self._under_way -= 1
                if self._client.throttled > throttled:
                    throttled, self._allowed, calm = self._client.throttled, max(1, self._allowed // 2), 0
                elif (calm := calm + 1) % RECOVERY_PAGES == 0 and self._allowed < self._workers:
                    self._allowed += 1
                handed_over = self._take(task, answer)
                self._ask()
                yield from handed_over
        finally:
            sys.setswitchinterval(switch_interval)
            for _ in self._threads:
                self._tasks.put(None)

    def _ask(self) -> None:
        while self._under_way < self._allowed and (task := self._next_task()) is not None:
            self._tasks.put(task)
            self._under_way += 1
            if self._under_way > len(self._threads):
                name = f"reader-{len(self._threads)}"
                self._threads.append(threading.Thread(target=self._work, daemon=True, name=name))
                self._threads[-1].start()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                self._answers.put((task, self._ask_for(task)))
            except BaseException as problem:
                self._answers.put((task, problem))


def _apply(plan: Slices | Searches, task: Any, answer: Page | BaseException) -> list[Page]:
    """Tell the plan of an answer; returns the page, if it was one."""
    if isinstance(answer, ApiError):
        refused = answer.status in REFUSED and (task.cursor or task.filters)
        if refused or task.foreign:  # a real fault ends the next request too
            plan.refused(task)
            return []
    if isinstance(answer, BaseException):
        raise answer
    plan.apply(task, answer.positions, kinds(answer), answer.next_cursor)
    return [answer]


def _fetch(client: Client, task: Any) -> Page:
    return client.page(cursor=task.cursor, limit=task.limit, **task.filters)
