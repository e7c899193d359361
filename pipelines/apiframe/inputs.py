"""What jobs were asked for, which only `GET /jobs/{id}` tells: one request a job.

Promises that each id is asked for once, and that what is not to be kept of an input goes no further than this.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import orjson

from pipelines.apiframe.answers import REFUSED, ApiError
from pipelines.apiframe.client import Client
from pipelines.apiframe.evidence import is_searchable
from pipelines.apiframe.fetch import each
from pipelines.exact import encode_shallow, one_line

FAULTS = 3  # jobs in a row that cannot be read: it is not them
NOTHING: Final = object()


class Input(NamedTuple):
    """What a job was asked for, as JSON text, or why there is none; `read_at` in microseconds since 1970."""

    id: str
    input: str | None
    read_at: int
    problem: str | None


class _Fault(NamedTuple):
    problem: ApiError


class Kept:
    """What is kept of an input: the paths `keep` alone, or all but the paths `drop`.

    A path is the names that lead to a value, with dots between, and stands for all below it. Lists are passed through:
    `images.url` is the url of each of the images.
    """

    def __init__(self, keep: Iterable[str] = (), drop: Iterable[str] = ()) -> None:
        self._keeps = bool(keep)
        self._named = frozenset(keep) | frozenset(drop)
        self._above = {path[:at] for path in self._named for at, sign in enumerate(path) if sign == "."}

    def of(self, held: dict[str, Any]) -> dict[str, Any]:
        """Return what is kept of it."""
        return self._within(held, "") if self._named else held

    def _within(self, held: dict[str, Any], before: str) -> dict[str, Any]:
        kept = {}
        for name, value in held.items():
            path = before + name
            if path in self._above and path not in self._named:
                value = self._below(value, f"{path}.")
            elif (path in self._named) is not self._keeps:
                continue
            if value is not NOTHING:
                kept[name] = value
        return kept

    def _below(self, value: Any, before: str) -> Any:
        """Return what is kept of a value that lies above a path."""
        if isinstance(value, dict):
            found: Any = self._within(value, before)
        elif isinstance(value, list):
            found = [below for item in value if (below := self._below(item, before)) is not NOTHING]
        else:
            found = NOTHING if self._keeps else value
        return NOTHING if self._keeps and not found else found


def read(
    client: Client,
    ids: Iterable[str],
    kept: Kept,
    *,
    workers: int,
    attempts: int | None = None,
    longest_wait: float | None = None,
) -> Iterator[Input]:
    """Yield the inputs of jobs in the order in which they come, at most `workers` asked for ahead.

    A job that alone cannot be read is passed by. FAULTS of them in a row, or a fault that is no job's, end the reading:
    nothing more is asked for, and what is under way is waited for. In either case what was wrong is raised at the end.
    `attempts` and `longest_wait` (seconds) are the client's.
    """
    problem: ApiError | None = None
    in_a_row, is_over = 0, False

    def ask(identity: str) -> Input | _Fault:
        try:
            return _ask(client, identity, kept, attempts, longest_wait)
        except ApiError as fault:
            return _Fault(fault)

    wanted = itertools.takewhile(lambda _: not is_over, ids)
    for answer in each(client, wanted, ask, workers):
        if isinstance(answer, Input):
            in_a_row = 0
            yield answer
            continue
        in_a_row += 1
        status = answer.problem.status or 0
        ends = in_a_row == FAULTS or not (status == 200 or status >= 500)
        if problem is None or (ends and not is_over):
            problem = answer.problem
        is_over |= ends
    if problem is not None:
        raise problem


def _ask(client: Client, identity: str, kept: Kept, attempts: int | None, longest_wait: float | None) -> Input:
    if not is_searchable(identity):
        return Input(identity, None, client.now(), "the API is asked for nothing but UUIDs")
    try:
        found = client.job(identity, attempts, longest_wait)["input"]
    except ApiError as fault:
        # A 404 without the API's own words is somebody else's, who knows nothing of jobs.
        if fault.status not in REFUSED or not fault.text:
            raise
        return Input(identity, None, client.now(), one_line(f"{fault.status}: {fault.text}"))
    if not isinstance(found, dict):
        return Input(identity, None, client.now(), "none" if found is None else "it is no object")
    try:
        return Input(identity, _text(kept.of(found)), client.now(), None)
    except (orjson.JSONEncodeError, RecursionError):
        return Input(identity, None, client.now(), "nested too deeply")


def _text(held: dict[str, Any]) -> str:
    return encode_shallow([[held]])[2:-2]  # few programs read JSON that is nested deeper than 250
