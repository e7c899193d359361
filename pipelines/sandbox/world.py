"""The jobs of the sandbox: born with a plan of life, served as a pure function of plan, overrides and clock.

No I/O, no real clock, no locks: the server owns those. A job is a row in a few arrays; what is served is
rendered on demand. Times are milliseconds since the epoch.
"""

from __future__ import annotations  # array[int] is for type checkers only before Python 3.12

import heapq
import random
from array import array
from bisect import bisect, bisect_left, insort
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final

import orjson

from pipelines.sandbox.catalogue import (
    BUSIEST,
    DAY_MS,
    ERRORS,
    HOUR_MS,
    MODELS,
    PROMPTS,
    PROVIDER_ERRORS,
    TIMEOUT_ERROR,
    TURNAROUND_MS,
    bad_day,
    rhythm,
    shares,
)
from pipelines.sandbox.ledger import Ledger, credits_of

Job = dict[str, Any]
Position = tuple[int, int]  # (createdAt, number of the id): the key of the list

REMOVED: Final = object()  # as a field's value: the field is not served

QUEUED, PROCESSING, COMPLETED, FAILED, CANCELLED, OPEN = range(6)
STATUSES = ("QUEUED", "PROCESSING", "COMPLETED", "FAILED", "CANCELLED")
FOREVER = 1 << 62
MINE, OTHERS = 0, 1  # owners: the account itself, the other member of its team

ON_TIME: Final = (0, True)  # a refund: milliseconds after the job's end, and whether the books know of it

_TEAM_SHARE = 0.15
_OPENING = 250_000  # credits that are left when the sandbox opens
_KEPT = 200_000  # encoded jobs, about 100 MB
_STUCK = 0.0005
_BAD_MODEL = next(i for i, model in enumerate(MODELS) if model.id == "kling-2.6")
# What a status decides: a job that is finished by hand gets these from its plan again.
_STATE = ("status", "progress", "result", "error", "completedAt", "expired")

# Ids are the row's number, scrambled by a function that can be undone: no table of ids is needed.
_MASK = (1 << 122) - 1
_STEP = 0x1A5_3C7E91B2_D4F60857_9E3779B9_7F4A7C15
_BACK = pow(_STEP, -1, 1 << 122)
_LOW = (1 << 62) - 1
_CUMULATED_ERRORS = list(accumulate(weight for _, weight in ERRORS))


def milliseconds(moment: datetime | str) -> int:
    """A moment (aware datetime, or text in ISO 8601) in milliseconds since the epoch."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


@lru_cache(maxsize=4096)
def _date(days: int) -> str:
    return datetime.fromtimestamp(days * 86_400, UTC).date().isoformat()


def iso(at_ms: int) -> str:
    """A moment as the API writes it: 2026-03-15T10:00:00.000Z."""
    days, rest = divmod(at_ms, DAY_MS)
    seconds, rest = divmod(rest, 1000)
    return f"{_date(days)}T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{rest:03}Z"


class World:
    """All jobs of one team, and the clock that they live by."""

    def __init__(self, jobs: int, days: int, seed: int, now: int, mix: str = "usual") -> None:
        self.now = now
        self._random = random.Random(seed)  # noqa: S311 - plausible jobs, not secrets
        self._offset = random.Random(f"ids {seed}").getrandbits(122)  # noqa: S311
        self.created, self._started, self._ended = array("q"), array("q"), array("q")
        self._bits = array("Q")
        self._plan_model, self._outcome, self._error = array("B"), array("B"), array("B")
        self._webhook, self._cost = array("B"), array("H")
        self.owner, self._model, self._settled, self._gone = array("B"), array("H"), array("B"), array("B")
        self._given_back = array("B")
        self._prices: dict[int, float] = {}  # costs that are not the catalogue's
        self._refunds: dict[int, tuple[int, bool]] = {}  # those that are not given on time
        self.usual_refund = ON_TIME
        self.ledger = Ledger()
        self._overrides: dict[int, Job] = {}
        self._encoded: dict[int, tuple[orjson.Fragment, int]] = {}  # with the moment until which it holds
        self._statuses: list[Any] = [*STATUSES, "OPEN"]
        self._models: list[Any] = [model.id for model in MODELS]
        self._ends: list[tuple[int, int]] = []
        # Sorted rows, oldest first, by (owner, settled status, model), None being any; made when asked for.
        self._lists: dict[tuple[int | None, int | None, int | None], array[int]] = {}
        self._last_birth = 0

        self._older, self._newer = (list(accumulate(weights)) for weights in shares(mix))
        self._changed_at = 0
        self._bad_day = bad_day(now, days)
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

    # Birth and life

    def _birth(self, at: int, owner: int, model: int | None = None) -> int:
        """A new row with a plan of life; not yet listed."""
        draw = self._random.random
        row = len(self.created)
        if model is None:
            weights = self._older if at < self._changed_at else self._newer
            model = bisect(weights, draw() * weights[-1])
        kind = MODELS[model]
        least, most = TURNAROUND_MS[kind.modality]
        takes = least + int((most - least) * draw() ** 2)
        chance, error, fails = draw(), 0, kind.fails
        bad = model == _BAD_MODEL and self._bad_day <= at < self._bad_day + DAY_MS
        if bad:
            fails = 0.6
        if chance < fails:
            outcome = FAILED
            if bad:
                error = PROVIDER_ERRORS[int(draw() * len(PROVIDER_ERRORS))]
            else:
                error = bisect(_CUMULATED_ERRORS, draw() * _CUMULATED_ERRORS[-1])
        else:
            outcome = CANCELLED if chance > 0.99 else COMPLETED
        if draw() < _STUCK:
            takes = int((2 + 10 * draw()) * DAY_MS)
            if draw() < 0.7:
                outcome, error = FAILED, TIMEOUT_ERROR
        bits = self._random.getrandbits(64)
        self.created.append(at)
        self._started.append(at + min(takes // 5, 20_000))
        self._ended.append(at + takes)
        self._bits.append(bits)
        self._plan_model.append(model)
        self._model.append(model)
        self._outcome.append(outcome)
        self._error.append(error)
        self._webhook.append(1 + bits % 45 if (bits >> 32) % 3 == 0 else 0)
        self._cost.append(kind.costs[(bits >> 40) % len(kind.costs)])
        self.owner.append(owner)
        self._gone.append(0)
        self._given_back.append(0)
        if self.usual_refund != ON_TIME:
            self._refunds[row] = self.usual_refund
        self._last_birth = max(self._last_birth, at)
        if at + takes <= self.now:
            self._settled.append(outcome)
        else:
            self._settled.append(OPEN)
            heapq.heappush(self._ends, (at + takes, row))
        return row

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

    def _price(self, row: int) -> float:
        return self._prices.get(row, self._cost[row])

    def _charge(self, row: int, at: int) -> None:
        cost = self._price(row)
        if row in self._overrides:
            cost = self._overrides[row].get("creditCost", cost)
        self.ledger.book(at, "charge", credits_of(cost, -1), row)

    def _falls_at(self, row: int) -> int:
        """When the cost of a row falls to nothing."""
        fails = self._outcome[row] == FAILED or (self._outcome[row] == CANCELLED and self._bits[row] % 2)
        if not fails or "creditCost" in self._overrides.get(row, ()):
            return FOREVER
        return self._ended[row] + self._refunds.get(row, ON_TIME)[0]

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

    # Identity and order

    def number(self, row: int) -> int:
        """The 122 free bits of a row's id; their order is that of the id's text."""
        scrambled = (row * _STEP + self._offset) & _MASK
        return scrambled ^ (scrambled >> 61)

    def id(self, row: int) -> str:
        """A row's id: a UUID of version 4."""
        return uuid_text(self.number(row))

    def row(self, job_id: str) -> int:
        """The row of an id; KeyError where there is none, or it was deleted."""
        number = uuid_number(job_id)
        if number is not None:
            row: int = (((number ^ (number >> 61)) - self._offset) * _BACK) & _MASK
            if row < len(self.created) and not self._gone[row]:
                return row
        raise KeyError(job_id)

    def position(self, row: int) -> Position:
        """The key of the list, ascending: the newest job has the greatest."""
        return self.created[row], self.number(row)

    # Lists

    def _keys(self, row: int) -> Iterator[tuple[int | None, int | None, int | None]]:
        for owner in (None, self.owner[row]):
            for status in (None, self._settled[row]):
                for model in (None, self._model[row]):
                    yield owner, status, model

    def _list(self, row: int) -> None:
        position = self.position(row)
        for key in self._keys(row):
            rows = self._lists.get(key)
            if rows is None:
                continue
            if not rows or self.position(rows[-1]) < position:
                rows.append(row)
            else:
                insort(rows, row, key=self.position)

    def _unlist(self, row: int) -> None:
        self._encoded.pop(row, None)
        position = self.position(row)
        for key in self._keys(row):
            if (rows := self._lists.get(key)) is not None:
                del rows[bisect_left(rows, position, key=self.position)]

    def _resettle(self, row: int) -> None:
        """Put a row whose plan has come to its end from the open lists into those of its final status."""
        if self._gone[row] or self._settled[row] != OPEN or self._ended[row] > self.now:
            return
        position = self.position(row)
        for key in self._keys(row):
            if key[1] is not None and (rows := self._lists.get(key)) is not None:
                del rows[bisect_left(rows, position, key=self.position)]
        self._settled[row] = self._outcome[row]
        for key in self._keys(row):
            if key[1] is not None and (rows := self._lists.get(key)) is not None:
                insort(rows, row, key=self.position)

    def _rows(self, owner: int | None, status: int | None, model: int | None) -> array[int]:
        """The sorted rows of one filter, kept up to date once it was asked for."""
        key = (owner, status, model)
        if key not in self._lists:
            owners, settled, models = self.owner, self._settled, self._model
            base = self._lists[None, None, None]
            if owner is not None and key != (owner, None, None):
                base = self._rows(owner, None, None)
            chosen: Iterable[int] = base
            if owner is not None:
                chosen = (row for row in chosen if owners[row] == owner)
            if status is not None:
                chosen = (row for row in chosen if settled[row] == status)
            if model is not None:
                chosen = (row for row in chosen if models[row] == model)
            self._lists[key] = array("I", chosen)
        return self._lists[key]

    def page(
        self, owner: int | None, status: str | None, model: str | None, after: Position | None, limit: int
    ) -> list[int]:
        """At most `limit` rows that follow a position (None: the top), newest first."""
        if model is not None and model not in self._models:
            return []
        which = None if model is None else self._models.index(model)
        if status is None:
            return self._before(self._rows(owner, None, which), after, limit)
        if status not in self._statuses:
            return []
        settled = self._before(self._rows(owner, self._statuses.index(status), which), after, limit)
        open_ = self._before(self._rows(owner, OPEN, which), after, FOREVER)
        moving = [row for row in open_ if self.status(row) == status]
        return sorted(settled + moving, key=self.position, reverse=True)[:limit]

    def find(self, job_id: str, owner: int | None, status: str | None, model: str | None) -> list[int]:
        """The row of one id, where the filter lets it through."""
        try:
            row = self.row(job_id)
        except KeyError:
            return []
        fits = (
            owner in (None, self.owner[row])
            and status in (None, self.status(row))
            and model in (None, self._models[self._model[row]])
        )
        return [row] if fits else []

    def _before(self, rows: array[int], after: Position | None, limit: int) -> list[int]:
        end = len(rows) if after is None else bisect_left(rows, after, key=self.position)
        return rows[max(0, end - limit) : end].tolist()[::-1]

    def models(self, owner: int | None) -> list[str]:
        """The names of the models that an owner's jobs are served with."""
        used = (name for i, name in enumerate(self._models) if self._rows(owner, None, i))
        return sorted(name for name in used if isinstance(name, str))

    # What is served

    def status(self, row: int) -> Any:
        """The status that a row is served with now."""
        settled = self._settled[row]
        if settled != OPEN:
            return self._statuses[settled]
        return "QUEUED" if self.now < self._started[row] else "PROCESSING"

    def render(self, row: int) -> Job:
        """One job as the list serves it now."""
        now, created, ended = self.now, self.created[row], self._ended[row]
        started, bits = self._started[row], self._bits[row]
        kind = MODELS[self._plan_model[row]]
        cost: float | None = self._price(row)
        status, progress, result, error, completed_at = QUEUED, 0, None, None, None
        reached = 1 + bits % 97
        if now >= ended:
            status = self._outcome[row]
            completed_at = iso(ended)
            if status == COMPLETED:
                progress, result = 100, _result(kind.shape, bits, kind.costs.index(self._cost[row]) + 1)
            elif status == FAILED:
                progress = reached
                error = ERRORS[self._error[row]][0].replace("{token}", f"{bits >> 44:05x}")
                completed_at = None if bits % 11 == 0 else completed_at
            else:
                progress = reached
            if self._falls_at(row) <= now:
                cost = None if status == FAILED and bits % 7 == 0 else 0
        elif now >= started:
            status = PROCESSING
            progress = min(99, 1 + 98 * (now - started) // (ended - started))
        webhook = None
        if delay := self._webhook[row]:
            webhook = "pending" if now < ended + delay * 1000 else "delivered" if bits % 29 else "failed"
        job = {
            "id": self.id(row),
            "status": STATUSES[status],
            "model": kind.id,
            "progress": progress,
            "result": result,
            "error": error,
            "creditCost": cost,
            "webhookStatus": webhook,
            "createdAt": iso(created),
            "completedAt": completed_at,
            "expired": status == COMPLETED and now >= ended + DAY_MS,
        }
        if row in self._overrides:
            job |= self._overrides[row]
            return {name: value for name, value in job.items() if value is not REMOVED}
        return job

    def encoded(self, row: int) -> orjson.Fragment:
        """The same as JSON, kept for as long as it stays the same."""
        kept, until = self._encoded.get(row, (None, 0))
        if kept is not None and self.now < until:
            return kept
        # A copy: what orjson returns stays as large as its working buffer (400 MB for 100,000 jobs, not 50).
        fresh = orjson.Fragment(bytes(memoryview(orjson.dumps(self.render(row)))))
        ended = self._ended[row]
        if self.now >= ended + self._webhook[row] * 1000 and row not in self._refunds:
            if len(self._encoded) >= _KEPT:
                self._encoded.clear()
            expires = ended + DAY_MS
            self._encoded[row] = (fresh, expires if self.now < expires else FOREVER)
        return fresh

    def input(self, row: int) -> Job:
        """What a job was asked for, as only GET /jobs/{id} serves it."""
        bits = self._bits[row]
        return {"prompt": PROMPTS[bits % len(PROMPTS)], "seed": bits >> 40}


def uuid_text(number: int) -> str:
    """A UUID of version 4 from its 122 free bits."""
    high, middle = number >> 74, number >> 62 & 0xFFF
    text = f"{high << 80 | 0x4 << 76 | middle << 64 | 0b10 << 62 | number & _LOW:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def uuid_number(text: str) -> int | None:
    """The 122 free bits of a UUID of version 4; None for other versions."""
    value = int(text.replace("-", ""), 16)
    number = (value >> 80) << 74 | (value >> 64 & 0xFFF) << 62 | value & _LOW
    return number if uuid_text(number) == text.lower() else None


def _index(names: list[Any], name: Any) -> int:
    name = None if name is REMOVED else name
    if name not in names:
        names.append(name)
    return names.index(name)


def _result(shape: str, bits: int, outputs: int) -> Any:
    if bits % 211 == 0:  # some finished jobs have nothing to show
        return None
    url = f"https://cdn.apiframe.ai/results/{bits:016x}"
    if shape == "url":
        return f"{url}.png"
    if shape == "grid":
        images = [f"{url}-1.png", f"{url}-2.png", f"{url}-3.png", f"{url}-4.png"]
        return {"images": images} if bits % 5 == 0 else {"images": images, "gridUrl": f"{url}-grid.png"}
    if shape == "images":
        return {"images": [f"{url}-{i + 1}.png" for i in range(outputs)]}
    if shape == "video":
        return {"videoUrl": f"{url}.mp4"}
    if shape == "videos":
        return {"videos": [f"{url}-{i + 1}.mp4" for i in range(1 + bits % 2)]}
    return {"tracks": [_track(url, bits >> i, i + 1) for i in range(2)]}


def _track(url: str, bits: int, i: int) -> Job:
    track: Job = {"audioUrl": f"{url}-{i}.mp3"}
    if bits % 8:  # the optional fields come together or one by one
        track |= {"id": f"{bits % 0x7FFFFFFF:08x}-{i}", "title": f"Track {i}"}
        track |= {"duration": 60 + bits % 1800 / 10}
    if bits % 3:
        track |= {"imageUrl": f"{url}-{i}.jpg", "tags": "ambient, piano"}
    return track
