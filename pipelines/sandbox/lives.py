"""The jobs of the sandbox: born with a plan of life, served as a pure function of plan, overrides and clock.

A job is a row in a few arrays; what is served is rendered on demand. Times are milliseconds since the epoch.
"""

from __future__ import annotations  # array[int] is for type checkers only before Python 3.12

import heapq
import random
from array import array
from bisect import bisect
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final

from pipelines.sandbox.catalogue import (
    ASPECT_RATIOS,
    DAY_MS,
    ERRORS,
    MODELS,
    PROMPTS,
    PROVIDER_ERRORS,
    TIMEOUT_ERROR,
    TURNAROUND_MS,
    bad_day,
    shares,
)

Job = dict[str, Any]
Position = tuple[int, int]  # (createdAt, number of the id): the key of the list

REMOVED: Final = object()  # as a field's value: the field is not served

QUEUED, PROCESSING, COMPLETED, FAILED, CANCELLED, OPEN = range(6)
STATUSES = ("QUEUED", "PROCESSING", "COMPLETED", "FAILED", "CANCELLED")
FOREVER = 1 << 62
MINE, OTHERS = 0, 1  # owners: the account itself, the other member of its team

ON_TIME: Final = (0, True)  # a refund: milliseconds after the job's end, and whether the books know of it

_STUCK = 0.0005
_BAD_MODEL = next(i for i, model in enumerate(MODELS) if model.id == "kling-2.6")

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


class Lives:
    """Every job ever born, by row, and the clock that they live by."""

    def __init__(self, days: int, seed: int, now: int, mix: str) -> None:
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
        self._overrides: dict[int, Job] = {}
        self._statuses: list[Any] = [*STATUSES, "OPEN"]
        self._models: list[Any] = [model.id for model in MODELS]
        self._ends: list[tuple[int, int]] = []  # a heap of (moment, row): an end, or a late refund
        self._last_birth = 0
        self._older, self._newer = (list(accumulate(weights)) for weights in shares(mix))
        self._changed_at = 0
        self._bad_day = bad_day(now, days)

    def _birth(self, at: int, owner: int, model: int | None = None) -> int:
        """A new row with a plan of life; not yet listed."""
        draw = self._random.random
        row = len(self.created)
        if model is None:
            weights = self._older if at < self._changed_at else self._newer
            model = bisect(weights, draw() * weights[-1])
        kind = MODELS[model]
        takes, outcome, error = self._plan(at, model)
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

    def _plan(self, at: int, model: int) -> tuple[int, int, int]:
        """How long a job takes, how it ends, and by which error: drawn at birth."""
        draw, kind = self._random.random, MODELS[model]
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
        return takes, outcome, error

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

    # Credits

    def _price(self, row: int) -> float:
        return self._prices.get(row, self._cost[row])

    def _falls_at(self, row: int) -> int:
        """When the cost of a row falls to nothing."""
        fails = self._outcome[row] == FAILED or (self._outcome[row] == CANCELLED and self._bits[row] % 2)
        if not fails or "creditCost" in self._overrides.get(row, ()):
            return FOREVER
        return self._ended[row] + self._refunds.get(row, ON_TIME)[0]

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
        status, progress = QUEUED, 0
        if now >= ended:
            status = self._outcome[row]
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
            "result": None,
            "error": None,
            "creditCost": self._price(row),
            "webhookStatus": webhook,
            "createdAt": iso(created),
            "completedAt": None,
            "expired": False,
        }
        if now >= ended:
            job |= self._end(row, bits)
        if row in self._overrides:
            job |= self._overrides[row]
            return {name: value for name, value in job.items() if value is not REMOVED and name != "input"}
        return job

    def _end(self, row: int, bits: int) -> Job:
        """What an end makes of a job."""
        kind, outcome, ended = MODELS[self._plan_model[row]], self._outcome[row], self._ended[row]
        end: Job = {"progress": 1 + bits % 97, "completedAt": iso(ended)}
        if outcome == COMPLETED:
            result = _result(kind.shape, bits, kind.costs.index(self._cost[row]) + 1)
            end |= {"progress": 100, "result": result, "expired": self.now >= ended + DAY_MS}
        elif outcome == FAILED:
            end["error"] = ERRORS[self._error[row]][0].replace("{token}", f"{bits >> 44:05x}")
            if bits % 11 == 0:
                end["completedAt"] = None
        if self._falls_at(row) <= self.now:
            end["creditCost"] = None if outcome == FAILED and bits % 7 == 0 else 0
        return end

    def input(self, row: int) -> Job:
        """What a job was asked for, as a field that only GET /jobs/{id} serves; nothing where it was removed."""
        bits = self._bits[row]
        asked: Any = {
            "prompt": PROMPTS[bits % len(PROMPTS)],
            "aspect_ratio": ASPECT_RATIOS[bits % len(ASPECT_RATIOS)],
            "seed": bits >> 40,
        }
        asked = self._overrides.get(row, {}).get("input", asked)
        return {} if asked is REMOVED else {"input": asked}


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
