"""Jobs as rows: the only place that knows what a job of the API looks like, and how it fits the columns.

Promises that nothing a job holds is lost: unknown fields, and known ones whose value does not fit its column,
are kept in `extra`. Rows are plain tuples, so that a sync that finds nothing new needs no Arrow.
"""

from __future__ import annotations

import itertools
import json
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import orjson

from pipelines.exact import (
    CREDIT_LIMIT,
    CREDIT_STEP,
    encode,
    encode_number,
    encode_shallow,
    one_line,
    same_json,
    shorten,
    timestamp,
)
from pipelines.tables.jobs import SERVED
from pipelines.tables.jobs import TABLE as JOBS

FINAL = ("COMPLETED", "FAILED", "CANCELLED")
OPEN = ("QUEUED", "PROCESSING")


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
EXACT_LIMIT = 2**53  # a float holds every whole number below
#: A field whose value could not be read is under this name instead, with the reason and what there is of its text.
UNREAD = "unread_"


class InvalidJobError(ValueError):
    """A job that cannot be stored: it has no id or no createdAt, or is no object. Says which, shortened."""


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
        columns = _documented(jobs, modalities)
    except (KeyError, ValueError, orjson.JSONEncodeError):  # something that the document does not promise; or no jobs
        return [
            to_row(job, where, scope=scope, synced_at=synced_at, modalities=modalities)
            for job, where in zip(jobs, positions, strict=True)
        ]
    columns.insert(0, [identity for _, identity in positions])
    columns.insert(Row._fields.index("created_at"), [created_at for created_at, _ in positions])
    constant = [itertools.repeat(value) for value in (None, scope, synced_at, None)]
    return list(map(Row._make, zip(*columns, *constant, strict=False)))


def _documented(jobs: Sequence[Mapping[str, Any]], modalities: Mapping[str, str]) -> list[Iterable[Any]]:
    """Return the columns from status to result, but for createdAt, of jobs that are all as documented."""
    status, model, progress, cost, error, webhook, completed, expired, result = zip(*map(_columns, jobs), strict=True)
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
    described = list(map(describe, result))
    return [
        status,
        model,
        [modalities.get(name, shape) for name, (_, shape) in zip(model, described, strict=True)],
        progress,
        cost,
        error,
        webhook,
        [None if time is None else timestamp(time) for time in completed],
        expired,
        [assets for assets, _ in described],
        [None if value is None else encode_shallow(value) for value in result],
    ]


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
        orjson.dumps([[value]], default=encode_number)
    except orjson.JSONEncodeError:
        return UNREAD + name, unread("nested too deeply", encode(value))
    return name, value


def _to_row(
    job: Mapping[str, Any], where: tuple[int, str], scope: str, synced_at: int, modalities: Mapping[str, str]
) -> Row:
    extra = {name: job[name] for name in job.keys() - FIELDS}
    progress = _fit("progress", job, _real, extra)
    cost = _fit("creditCost", job, _credits, extra)
    completed = _fit("completedAt", job, _time, extra)
    expired = _fit("expired", job, _boolean, extra)
    result, model = job.get("result"), _text(job.get("model"))
    assets, shape = describe(result) if f"{UNREAD}result" not in job else (None, None)
    return Row(
        where[1],
        _text(job.get("status")),
        model,
        modalities.get(model, shape) if model is not None else shape,
        progress,
        cost,
        _text(job.get("error")),
        _text(job.get("webhookStatus")),
        where[0],
        completed,
        expired,
        assets,
        None if result is None else encode_shallow(result),
        encode_shallow(dict(sorted(extra.items()))) if extra else None,
        scope,
        synced_at,
        None,
    )


def _text(value: Any) -> str | None:
    return value if value is None or type(value) is str else encode_shallow(value)


def _fit(name: str, job: Mapping[str, Any], convert: Callable[[Any], tuple[Any, bool]], misfits: dict[str, Any]) -> Any:
    """Return a value as its column holds it; what that does not keep whole goes to the misfits too."""
    if (value := job.get(name)) is None:
        return None
    try:
        converted, exact = convert(value)
    except (LookupError, ValueError, TypeError, ArithmeticError):
        converted, exact = None, False
    if not exact:
        misfits[name] = value
    return converted


def _time(value: Any) -> tuple[int, bool]:
    return timestamp(value), True


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool):
        raise TypeError("not a number")
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite():
        raise ValueError("not finite")
    return number


def _real(value: Any) -> tuple[float, bool]:
    if type(value) is float:
        return value, True
    number = _decimal(value)
    real = float(number)
    if math.isinf(real):
        raise ValueError("too large for the column")
    return real, Decimal(repr(real)) == number


def _credits(value: Any) -> tuple[Decimal | int, bool]:
    if type(value) is int and -CREDIT_LIMIT < value < CREDIT_LIMIT:
        return value, True
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
    return Decimal(number)


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
        and not (JOBS.types[name] == "JSON" and new is not None and old is not None and same_json(new, old))
    ]
