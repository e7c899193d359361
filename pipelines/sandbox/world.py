"""The world of the sandbox: births and ends, what is done to jobs by hand, and the credits that all this moves.

No I/O, no real clock, no locks: the server owns those.
"""

from __future__ import annotations  # array[int] is for type checkers only before Python 3.12

import heapq
from array import array
from collections.abc import Iterable
from typing import Any

from pipelines.sandbox.catalogue import BUSIEST, DAY_MS, ERRORS, HOUR_MS, MODELS, rhythm
from pipelines.sandbox.ledger import Ledger, credits_of
from pipelines.sandbox.lists import Lists
from pipelines.sandbox.lives import (
    CANCELLED,
    COMPLETED,
    FAILED,
    FOREVER,
    MINE,
    ON_TIME,
    OPEN,
    OTHERS,
    PROCESSING,
    QUEUED,
    REMOVED,
    STATUSES,
    Job,
)

_TEAM_SHARE = 0.15
_OPENING = 250_000  # credits that are left when the sandbox opens
# What a status decides: a job that is finished by hand gets these from its plan again.
_STATE = ("status", "progress", "result", "error", "completedAt", "expired")


class World(Lists):
    """All jobs of one team, and what becomes of them."""

    def __init__(self, jobs: int, days: int, seed: int, now: int, mix: str = "usual") -> None:
        super().__init__(days, seed, now, mix)
        self.ledger = Ledger()
        everybody = round(jobs / (1 - _TEAM_SHARE))
        self._per_ms = everybody / (days * DAY_MS)
        self._populate(jobs, everybody, days)

    def _populate(self, jobs: int, everybody: int, days: int) -> None:
        draw, start = self._random, self.now - days * DAY_MS
        hours = range(days * 24)
        growing = [rhythm(start + hour * HOUR_MS) * (0.5 + hour / len(hours)) for hour in hours]
        born = draw.choices(hours, growing, k=everybody) if everybody else []
        times = sorted(start + hour * HOUR_MS + int(draw.random() * HOUR_MS) for hour in born)
        for i in range(1, everybody):
            if draw.random() < 0.02:  # sent in one go: jobs that share their createdAt
                times[i] = times[i - 1]
        owners = bytearray(everybody)
        for i in draw.sample(range(everybody), everybody - jobs):
            owners[i] = OTHERS
        self._changed_at = times[everybody // 2] if times else 0
        for at, owner in zip(times, owners, strict=True):
            row = self._birth(at, owner)
            self._charge(row, at)
            self._give_back(row)
        self.ledger.book(start, "opening", _OPENING - self.ledger.balance)
        self._lists[None, None, None] = array("I", sorted(range(everybody), key=self.position))

    def move_to(self, moment: int) -> None:
        """Set the clock forward: jobs whose end lies behind it are settled."""
        if moment < self.now:
            raise ValueError("the sandbox's clock does not go back")
        self.now = moment
        while self._ends and self._ends[0][0] <= moment:
            _, row = heapq.heappop(self._ends)
            self._resettle(row)
            self._give_back(row)

    def live_to(self, moment: int) -> int:
        """Set the clock forward with births at the account's rhythm; how many are listed with scope=user."""
        most = 1.5 * self._per_ms * BUSIEST
        at, born, draw = float(self.now), 0, self._random
        while most:
            at += draw.expovariate(most)
            if at > moment:
                break
            if draw.random() < rhythm(int(at)) / BUSIEST:
                owner = OTHERS if draw.random() < _TEAM_SHARE else MINE
                row = self._birth(int(at), owner)
                self._charge(row, int(at))
                self._list(row)
                born += owner == MINE
        self.move_to(moment)
        return born

    def add(self, count: int, created: int | None, owner: int, fields: Job) -> list[str]:
        """New jobs, newest last: `created` for all, or else distinct moments of the last seconds."""
        fields = dict(fields)
        status, name = fields.get("status"), fields.get("model")
        model = self._models.index(name) if name in self._models[: len(MODELS)] else None
        if model is not None:
            del fields["model"]
        rows = []
        for at in [created] * count if created is not None else self._moments(count):
            row = self._birth(at, owner, model)
            if status in STATUSES:
                self._fix(row, STATUSES.index(status))
            rows.append(row)
        if status in STATUSES:
            del fields["status"]
        if status not in STATUSES[COMPLETED:] and credits_of(fields.get("creditCost")):
            price: float = fields.pop("creditCost")
            self._prices |= dict.fromkeys(rows, price)
        for row in rows:
            if fields:
                self._override(row, fields)
            self._charge(row, self.now)
            self._give_back(row, self.now)
            self._list(row)
        return [self.id(row) for row in rows]

    def _moments(self, count: int) -> list[int]:
        since = max(self._last_birth, self.now - max(10_000, 4 * count))
        room = self.now - since
        if room < 2 * count:  # the clock stands still and its last seconds are full
            return [self.now - count + 1 + i for i in range(count)]
        # Half of the room is left, so that the next ones are newer still although the clock stands.
        return [since + (i + 1) * room // (2 * count) for i in range(count)]

    def _fix(self, row: int, status: int) -> None:
        """Give a row that is not listed a plan by which it has this status now."""
        if status in (QUEUED, PROCESSING):
            self._started[row] = FOREVER if status == QUEUED else self.created[row]
            self._ended[row], self._settled[row] = FOREVER, OPEN
            return
        if status == FAILED and self._outcome[row] != FAILED:
            self._error[row] = self._bits[row] % len(ERRORS)
        self._outcome[row] = self._settled[row] = status
        self._ended[row] = min(self._ended[row], max(self.now, self.created[row]))
        self._started[row] = min(self._started[row], self._ended[row])

    def finish(self, ids: Iterable[str], status: str) -> None:
        """End open jobs now; those that are final already stay as they are."""
        outcome = STATUSES.index(status)
        if outcome not in (COMPLETED, FAILED, CANCELLED):
            raise ValueError(f"{status} is not an end: COMPLETED, FAILED or CANCELLED")
        for row in map(self.row, ids):
            if self.status(row) in STATUSES[COMPLETED:]:
                continue
            self._unlist(row)
            self._ended[row] = self.now
            self._fix(row, outcome)
            for field in _STATE:
                self._overrides.get(row, {}).pop(field, None)
            self._give_back(row)
            self._list(row)

    def put(self, job_id: str, fields: Job) -> None:
        """Serve these fields of one job from now on, whatever its plan says."""
        row = self.row(job_id)
        self._unlist(row)
        self._override(row, fields)
        self._list(row)

    def _override(self, row: int, fields: Job) -> None:
        self._overrides.setdefault(row, {}).update(fields)
        if "model" in fields:
            self._model[row] = _index(self._models, fields["model"])
        if "status" in fields:
            self._settled[row] = _index(self._statuses, fields["status"])

    def delete(self, ids: Iterable[str]) -> None:
        """Jobs that the API no longer knows."""
        for row in map(self.row, ids):
            self._unlist(row)
            self._gone[row] = 1

    # Credits: taken at birth, given back when the cost of a job falls by its plan (what `put` serves is not booked)

    def _charge(self, row: int, at: int) -> None:
        cost = self._price(row)
        if row in self._overrides:
            cost = self._overrides[row].get("creditCost", cost)
        self.ledger.book(at, "charge", credits_of(cost, -1), row)

    def _give_back(self, row: int, now: int = 0) -> None:
        """Book the refund of a row once, where its time has come; it is then as late as it is due, or `now`."""
        at = self._falls_at(row)
        if self.now < at < FOREVER:
            heapq.heappush(self._ends, (at, row))
        elif at <= self.now and not self._given_back[row]:
            self._given_back[row] = 1
            if self._refunds.get(row, ON_TIME)[1]:
                self.ledger.book(max(at, now), "refund", credits_of(self._price(row)), row)

    def arrange(self, ids: Iterable[str], after: int, booked: bool) -> None:
        """Give these jobs their refund so long after their end, should they come to one, and not before now."""
        for row in map(self.row, ids):
            if self._given_back[row]:
                raise ValueError(f"{self.id(row)} has had its refund already")
            ended = self._ended[row]
            self._refunds[row] = (max(after, self.now - ended) if ended <= self.now else after, booked)
            self._encoded.pop(row, None)
            self._give_back(row)


def _index(names: list[Any], name: Any) -> int:
    name = None if name is REMOVED else name
    if name not in names:
        names.append(name)
    return names.index(name)
