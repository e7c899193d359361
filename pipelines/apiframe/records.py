"""Jobs as rows: the only place that knows what a job of the API looks like, and how it fits the columns.

Promises that nothing a job holds is lost: unknown fields, and known ones whose value does not fit its column,
are kept in `extra`. Rows are plain tuples, so that a sync that finds nothing new needs no Arrow.
"""

from __future__ import annotations

import itertools
import json
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import orjson

from pipelines.tables.jobs import SERVED
from pipelines.tables.jobs import TABLE as JOBS

FINAL = ("COMPLETED", "FAILED", "CANCELLED")
OPEN = ("QUEUED", "PROCESSING")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Row(NamedTuple):
    """A row of the table `jobs`, column by column; times in microseconds since 1970 (UTC)."""

    id: str
    status: str | None
    model: str | None
    modality: str | None
    progress: float | None
    credit_cost: Decimal | int | None
    error: str | None
    webhook_status: str | None
    created_at: int
    completed_at: int | None
    expired: bool | None
    asset_count: int | None
    result: str | None
    extra: str | None
    scope: str | None
    synced_at: int
    delisted_at: int | None


FIELDS = {
    "id",
    "status",
    "model",
    "progress",
    "creditCost",
    "error",
    "webhookStatus",
    "createdAt",
    "completedAt",
    "expired",
    "result",
}
CREDIT_STEP = Decimal("0.0001")
CREDIT_LIMIT = 10**14
EXACT_LIMIT = 2**53  # a float holds every whole number below
#: A number that a float does not hold exactly has at least sixteen digits: all digits become 0, the rest a blank.
DIGITS = bytes(ord("0") if chr(byte) in "0123456789." else ord(" ") for byte in range(256))
LONG_RUN = b"0" * 16
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
#: An escape in JSON text; `lone` is half of a pair of surrogates.
ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
#: A field whose value could not be read is under this name instead, with the reason and what there is of its text.
UNREAD = "unread_"


class InvalidJobError(ValueError):
    """A job that cannot be stored: it has no id or no createdAt, or is no object. Says which, shortened."""


class TooDeepError(ValueError):
    """JSON nested deeper than it can be decoded."""


def decode(body: bytes) -> Any:
    """Decode JSON exactly: numbers too long for a float or 64 bits stay what they are (as Decimal).

    Raises ValueError where the body is not JSON. Lone surrogates, which no database stores, become U+FFFD.
    """
    body = body.removeprefix(BYTE_ORDER_MARK)
    try:
        if not _has_long_number(body):
            return orjson.loads(body)
    except orjson.JSONDecodeError:
        body = ESCAPE.sub(_without_lone_surrogate, body)
    text = body.decode("utf-8")

    def exact(number: str) -> Decimal:
        value = Decimal(number)
        if not value.is_finite():
            raise ValueError(f"{number[:20]} is no number")
        return value

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    def whole(number: str) -> int | Decimal:
        return int(number) if len(number) < 19 else exact(number)

    try:
        return json.loads(text, parse_float=exact, parse_int=whole, parse_constant=refuse)
    except RecursionError:
        raise TooDeepError("nested too deeply") from None
    except InvalidOperation:
        raise ValueError("a number in it is too large") from None


def _has_long_number(body: bytes) -> bool:
    """Tell whether some number may have sixteen digits or more; names of files have so many too, behind a letter."""
    digits = body.translate(DIGITS)
    start = digits.find(LONG_RUN)
    while start >= 0:
        if body[max(0, start - 20) : start].rstrip(b" \t\r\n-")[-1:] in (b"", b":", b"[", b","):
            return True
        start = digits.find(LONG_RUN, digits.find(b" ", start))
    return False


def _without_lone_surrogate(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if escape["lone"] else escape[0]


def encode(value: Any) -> str:
    """Encode as JSON text, however deep it is nested; a Decimal as the digits that it was read from."""
    try:
        return _encode_shallow(value)
    except orjson.JSONEncodeError:
        return _encode_deep(value)


def _encode_shallow(value: Any) -> str:
    """Encode what is nested no deeper than 254; JSONEncodeError where it is."""
    return orjson.dumps(value, default=_encode_number).decode()


def _encode_deep(value: Any) -> str:
    """Encode without recursion."""
    written: list[str] = []
    rest: list[tuple[bool, Any]] = [(False, value)]  # in reverse: text to be written as it is, or a value
    while rest:
        is_text, item = rest.pop()
        if is_text:
            written.append(item)
        elif isinstance(item, dict):
            rest.append((True, "}"))
            for number, (name, held) in reversed(list(enumerate(item.items()))):
                rest += (False, held), (True, f"{',' * (number > 0)}{_encode_shallow(name)}:")
            rest.append((True, "{"))
        elif isinstance(item, list):
            rest.append((True, "]"))
            for number, held in reversed(list(enumerate(item))):
                rest += (False, held), (True, "," * (number > 0))
            rest.append((True, "["))
        else:
            written.append(_encode_shallow(item))
    return "".join(written)


def _encode_number(value: Any) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError(f"{type(value).__name__} is not JSON")


def timestamp(value: object) -> int:
    """Return the microseconds since 1970 of an ISO 8601 text; without a zone it is UTC. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"{shorten(value)} is not a time")
    parsed = datetime.fromisoformat(value)
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    try:
        passed = parsed - EPOCH
    except OverflowError:  # a zone at the edge of the year 1 or 9999
        raise ValueError(f"{shorten(value)} is not a time") from None
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


def moment(microseconds: int) -> datetime:
    """Return the UTC time of microseconds since 1970."""
    return EPOCH + timedelta(microseconds=microseconds)


def printable(text: str) -> str:
    """Return text as one line without control characters (no escape sequence reaches a terminal)."""
    return "".join(character if character.isprintable() else " " for character in text)


def shorten(value: object, length: int = 200) -> str:
    """Return a value as one short printable line, for an error message."""
    try:
        text = encode(value)
    except (TypeError, ValueError):
        text = repr(value)
    return one_line(text, length)


def one_line(text: str, length: int = 200) -> str:
    """Return a text as one short printable line."""
    text = printable(text)
    return text if len(text) <= length else text[: length - 1] + "…"


def positions(jobs: Sequence[Any]) -> list[tuple[int, str]]:
    """Return where the jobs of a page stand in the list, (createdAt in microseconds, id), or raise InvalidJobError."""
    try:
        ids, created = zip(*map(_place, jobs), strict=True)
        if all(ids) and _all_of({str}, ids):
            return list(zip(map(timestamp, created), ids, strict=True))
    except (LookupError, TypeError, ValueError):
        pass  # one of them is not as documented; or there are none
    return [position(job) for job in jobs]


_place = operator.itemgetter("id", "createdAt")


def position(job: object) -> tuple[int, str]:
    """Return the position of one job, or raise InvalidJobError."""
    if not isinstance(job, dict):
        raise InvalidJobError(f"a job is not an object: {shorten(job)}")
    identity = job.get("id")
    if isinstance(identity, int) and not isinstance(identity, bool):
        identity = str(identity)
    if not isinstance(identity, str) or not identity:
        raise InvalidJobError(f"a job has no id: {shorten(job)}")
    try:
        return timestamp(job.get("createdAt")), identity
    except ValueError:
        raise InvalidJobError(f"a job has no createdAt: {shorten(job)}") from None


def to_rows(
    jobs: Sequence[Mapping[str, Any]],
    positions: Sequence[tuple[int, str]],
    *,
    scope: str,
    synced_at: int,
    modalities: Mapping[str, str],
) -> list[Row]:
    """Turn the jobs of a page into rows, column by column where every value has its documented type.

    `positions` are theirs (`position`); `modalities` maps model to modality.
    """
    try:
        status, model, progress, cost, error, webhook, completed, expired, result = zip(
            *map(_columns, jobs), strict=True
        )
        if (
            any(len(job) != len(FIELDS) for job in jobs)
            or not _all_of({str, type(None)}, status, model, error, webhook)
            or not _all_of({int, float, type(None)}, progress)
            or not _all_of({int, type(None)}, cost)
            or not _all_of({bool, type(None)}, expired)
            or max(map(abs, filter(None, cost)), default=0) >= CREDIT_LIMIT
            or max(map(abs, filter(None, progress)), default=0) >= EXACT_LIMIT
        ):
            raise ValueError("not as documented")
        completed_at = [None if time is None else timestamp(time) for time in completed]
        results = [None if value is None else _encode_shallow(value) for value in result]
    except (KeyError, ValueError, orjson.JSONEncodeError):  # something that the document does not promise; or no jobs
        return [
            to_row(job, where, scope=scope, synced_at=synced_at, modalities=modalities)
            for job, where in zip(jobs, positions, strict=True)
        ]
    described = list(map(describe, result))
    columns: list[Iterable[Any]] = [
        [identity for _, identity in positions],
        status,
        model,
        [modalities.get(name, shape) for name, (_, shape) in zip(model, described, strict=True)],
        progress,
        cost,
        error,
        webhook,
        [created_at for created_at, _ in positions],
        completed_at,
        expired,
        [assets for assets, _ in described],
        results,
    ]
    constant = [itertools.repeat(value) for value in (None, scope, synced_at, None)]
    return list(map(Row._make, zip(*columns, *constant, strict=False)))


_columns = operator.itemgetter(
    "status", "model", "progress", "creditCost", "error", "webhookStatus", "completedAt", "expired", "result"
)


def _all_of(types: set[type], *columns: Iterable[Any]) -> bool:
    return all(types.issuperset(map(type, column)) for column in columns)


def to_row(
    job: Mapping[str, Any],
    where: tuple[int, str],
    *,
    scope: str,
    synced_at: int,
    modalities: Mapping[str, str],
) -> Row:
    """Turn a job of the API into a row. `where` is its `position`; `modalities` maps model to modality.

    A value that does not fit its column leaves the column null and is kept in `extra` under the API's name. One that
    is nested deeper than 250 is kept there as text (`unread_` and the name), since few programs read such JSON.
    """
    try:
        return _to_row(job, where, scope, synced_at, modalities)
    except orjson.JSONEncodeError:
        return _to_row(dict(map(_shallow, job.items())), where, scope, synced_at, modalities)


def unread(reason: str, text: str, **facts: Any) -> dict[str, Any]:
    """Return what is kept in the place of a value that could not be read."""
    return {"reason": reason, **facts, "text": text}


def unread_fields(extra: str) -> str:
    """Return the fields of a job that could not be read, in words; empty where all could."""
    names = json.loads(extra) if f'"{UNREAD}' in extra else ()
    return one_line(", ".join(name.removeprefix(UNREAD) for name in names if name.startswith(UNREAD)))


def _shallow(named: tuple[str, Any]) -> tuple[str, Any]:
    name, value = named
    try:
        orjson.dumps([[value]], default=_encode_number)
    except orjson.JSONEncodeError:
        return UNREAD + name, unread("nested too deeply", encode(value))
    return name, value


def _to_row(
    job: Mapping[str, Any], where: tuple[int, str], scope: str, synced_at: int, modalities: Mapping[str, str]
) -> Row:
    get = job.get
    extra = None if job.keys() <= FIELDS else {name: job[name] for name in job.keys() - FIELDS}
    misfits: dict[str, Any] = {}
    completed = get("completedAt")
    if completed is not None:
        try:
            completed = timestamp(completed)
        except ValueError:
            misfits["completedAt"] = completed
            completed = None
    progress = get("progress")
    if progress is not None and type(progress) is not float:
        progress = _fit("progress", progress, _real, misfits)
    cost = get("creditCost")
    if cost is not None and (type(cost) is not int or not -CREDIT_LIMIT < cost < CREDIT_LIMIT):
        cost = _fit("creditCost", cost, _credits, misfits)
    expired = get("expired")
    if expired is not None and type(expired) is not bool:
        expired = _fit("expired", expired, _boolean, misfits)
    result = get("result")
    model = _text(get("model"))
    assets, shape = describe(result) if f"{UNREAD}result" not in job else (None, None)
    if misfits:
        extra = {**(extra or {}), **misfits}
    return Row(
        where[1],
        _text(get("status")),
        model,
        modalities.get(model, shape) if model is not None else shape,
        progress,
        cost,
        _text(get("error")),
        _text(get("webhookStatus")),
        where[0],
        completed,
        expired,
        assets,
        None if result is None else _encode_shallow(result),
        None if extra is None else _encode_shallow(dict(sorted(extra.items()))),
        scope,
        synced_at,
        None,
    )


def _text(value: Any) -> str | None:
    return value if value is None or type(value) is str else _encode_shallow(value)


def _fit(name: str, value: Any, convert: Callable[[Any], Any], misfits: dict[str, Any]) -> Any:
    try:
        converted, exact = convert(value)
    except (LookupError, ValueError, TypeError, ArithmeticError):
        converted, exact = None, False
    if not exact:
        misfits[name] = value
    return converted


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool):
        raise TypeError("not a number")
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite():
        raise ValueError("not finite")
    return number


def _real(value: Any) -> tuple[float, bool]:
    number = _decimal(value)
    real = float(number)
    if math.isinf(real):
        raise ValueError("too large for the column")
    return real, Decimal(repr(real)) == number


def _credits(value: Any) -> tuple[Decimal, bool]:
    number = _decimal(value)
    rounded = number.quantize(CREDIT_STEP)
    if abs(rounded) >= CREDIT_LIMIT:
        raise ValueError("too large for the column")
    return rounded, rounded == number


def exact_credits(value: Any) -> Decimal:
    """Return a number of credits as its column holds it; ValueError where it does not, to the last digit."""
    try:
        number, exact = _credits(value)
    except (TypeError, ArithmeticError) as problem:
        raise ValueError(str(problem)) from None
    if not exact:
        raise ValueError("more digits than the column has")
    return number


def _boolean(value: Any) -> tuple[bool, bool]:
    return {"true": True, "false": False}[str(value).lower()], True


# The documented result shapes: key -> (is it a list of files, modality).
SHAPES = {
    "images": (True, "image"),
    "videoUrl": (False, "video"),
    "videos": (True, "video"),
    "tracks": (True, "music"),
}
ENDINGS = {
    "image": (".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif", ".svg"),
    "video": (".mp4", ".webm", ".mov", ".mkv"),
    "music": (".mp3", ".wav", ".flac", ".ogg", ".m4a", ".aac"),
}


def describe(result: Any) -> tuple[int | None, str | None]:
    """Return (number of delivered files, modality) of a result; None where its shape does not tell.

    A grid of images and the cover of a track are previews and do not count. No result is no file.
    """
    if result is None:
        return 0, None
    if isinstance(result, str):
        ending = result.split("?", 1)[0].lower()
        modality = next((kind for kind, endings in ENDINGS.items() if ending.endswith(endings)), None)
        return 1, modality
    if isinstance(result, dict):
        for key, (is_list, modality) in SHAPES.items():
            if key not in result:
                continue
            value = result[key]
            if is_list and isinstance(value, list):
                return len(value), modality
            if not is_list and isinstance(value, str):
                return 1, modality
    return None, None


def differences(fresh: Row, kept: Row) -> list[str]:
    """Return the names of the columns in which the API now says something else than the warehouse.

    JSON that differs only in spelling (order of keys) does not differ.
    """
    return [
        name
        for name in SERVED
        if (new := getattr(fresh, name)) != (old := getattr(kept, name))
        and not (JOBS.types[name] == "JSON" and new is not None and old is not None and decode_equal(new, old))
    ]


def decode_equal(one: str, other: str) -> bool:
    """Tell whether two JSON texts mean the same; not where one is nested deeper than is stored any more."""
    try:
        return bool(decode(one.encode()) == decode(other.encode()))
    except (ValueError, RecursionError):
        return False
