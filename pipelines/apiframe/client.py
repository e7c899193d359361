"""The only place that speaks HTTP to the API.

Promises: at least `max_attempts` tries of a request before a passing fault becomes an error; an answer that is
not what the API documents is never taken for data or for the end of a list; the key stays in the session's header
and is blotted out of everything that comes back. Leaves to others what to ask for.
"""

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import requests
from urllib3.exceptions import HTTPError

import pipelines.apiframe.clock as clock
from pipelines.apiframe.account import Standing, standing
from pipelines.apiframe.answers import Answers, ApiError, answered, retry_after
from pipelines.apiframe.bodies import Read, TooLongPageError, page, page_of_one, plain
from pipelines.apiframe.records import positions
from pipelines.apiframe.transport import Sessions, reason, words
from pipelines.errors import ApiframeWarehouseError
from pipelines.exact import one_line, shorten

Answer = TypeVar("Answer")

PAGE_SIZE = 100  # the most that the API gives
CONNECT_TIMEOUT = 10.0
#: Seconds that a request answered 429 again and again is tried for, where the API does not say how long to wait.
#: Scaled by `backoff_factor`, as every pause that the API did not ask for.
THROTTLED_SECONDS = 60.0


class _PassingError(Exception):
    """An attempt failed in a way that may pass. `wait`: the seconds that the API asked for, None where it did not."""

    def __init__(self, problem: ApiError, wait: float | None = None) -> None:
        self.problem = problem
        self.wait = wait


class Interrupted(ApiframeWarehouseError):  # noqa: N818 - not an error, an end that was asked for
    """The client was closed while a request was waiting."""


@dataclass(frozen=True)
class Page:
    """One answer of the jobs list: the jobs as served, where each stands, and the cursor of the next page."""

    jobs: list[dict[str, Any]]
    positions: list[tuple[int, str]]
    next_cursor: str | None
    read_at: int  # microseconds since 1970 by the API's clock


class Client:
    """A client of one account. Threads may share it: each has a session of its own, all keep one pace."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        scope: str = "user",
        timeout: float = 60,
        max_attempts: int = 5,
        backoff_factor: float = 1,
        max_retry_delay: float = 300,
        max_requests_per_minute: int = 0,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.scope = scope
        self.requests = 0  # sent, repetitions included
        self.retries = 0
        self.throttled = 0  # answers 429
        self.answered_after = 0.0  # seconds that the last answer took
        self.standing: Standing | None = None  # what `me` has told, or why it has not
        self._key = api_key
        self._timeout = timeout
        self._max_attempts = max_attempts
        self._backoff_factor = backoff_factor
        self._max_retry_delay = max_retry_delay
        self._between = 60 / max_requests_per_minute if max_requests_per_minute else 0.0
        self._gate = threading.Lock()  # of whoever is the next to send, and waits until it may
        self._sent_at = float("-inf")
        self._sessions = Sessions(self.base_url, api_key, (min(CONNECT_TIMEOUT, timeout), timeout))
        self._answers = Answers(self.base_url, api_key)
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._not_before = 0.0  # monotonic: the API asked everyone to wait until then
        self._clock: tuple[int, float] | None = None  # the API's clock, and the monotonic time it was read at

    def close(self) -> None:
        """Close the sessions; requests that wait for another try end at once."""
        self._closed.set()
        self._sessions.close()

    def now(self) -> int:
        """Return the time in microseconds since 1970: by the API's clock once it has answered, until it is set."""
        if self._clock is None:
            return clock.machine_time()
        at, monotonic = self._clock
        return at + int((time.monotonic() - monotonic) * 1e6)

    def set_clock(self, now: int) -> None:
        """Go by this time from now on, whatever the API's clock says."""
        self._clock = now, time.monotonic()

    def page(
        self,
        *,
        cursor: str | None = None,
        status: str | None = None,
        model: str | None = None,
        search: str | None = None,
        limit: int = PAGE_SIZE,
    ) -> Page:
        """Read one page of the jobs list, newest first.

        Of a page that has too many bytes a shorter one is asked for, down to one job: it ends where its cursor says,
        like any other. What cannot be read of a job is left out of it (`salvage`) and keeps no other job out.
        Raises CursorRefusedError, UndocumentedError (among others: a job without id or createdAt, `hasMore`
        without a cursor, a cursor that is its own next one) and the other errors of this module.
        """
        asked = {"limit": str(limit), "scope": self.scope, "status": status, "model": model}
        asked |= {"search": search, "cursor": cursor}

        def check(body: Any) -> Page:
            return Page(*_listed(body, cursor), self.now())

        parameters = {name: value for name, value in asked.items() if value is not None}
        while limit > 1:
            try:
                return self._get("/jobs", parameters, check, read=page)
            except TooLongPageError:
                limit //= 2
                parameters["limit"] = str(limit)
        return self._get("/jobs", parameters, check, read=page_of_one)

    def models(self) -> list[dict[str, Any]]:
        """Read the catalogue of models: objects with at least an `id`. Entries that are none are left out."""

        def check(body: Any) -> list[dict[str, Any]]:
            found = body.get("models") if isinstance(body, dict) else None
            listed = found if isinstance(found, list) else []
            models = [model for model in listed if isinstance(model, dict) and isinstance(model.get("id"), str)]
            if not models and found != []:
                raise ValueError(f"no list of models: {shorten(body)}")
            return models

        return self._get("/models", {}, check, attempts=2)

    def job(self, identity: str, attempts: int | None = None, longest_wait: float | None = None) -> dict[str, Any]:
        """Read one job by its id, a UUID: as listed, and its `input`. NotFoundError also where it is another user's."""

        def check(body: Any) -> dict[str, Any]:
            if not isinstance(body, dict) or body.get("id") != identity or "input" not in body:
                raise ValueError(f"no job {identity} with its input")
            return body

        return self._get(f"/jobs/{identity}", {}, check, attempts=attempts, longest_wait=longest_wait)

    def me(self, attempts: int | None = None, longest_wait: float | None = None) -> Standing:
        """Read whose key this is and what credits are left; what was told, or why not, is kept in `standing`."""
        try:
            self.standing = self._get(
                "/me", {}, lambda body: standing(body, self.now()), attempts=attempts, longest_wait=longest_wait
            )
        except ApiError as problem:
            self.standing = Standing(self.now(), problem=one_line(str(problem), 400))
            raise
        return self.standing

    def _get(
        self,
        path: str,
        parameters: Mapping[str, str],
        check: Callable[[Any], Answer],
        attempts: int | None = None,
        read: Read = plain,
        longest_wait: float | None = None,
    ) -> Answer:
        """Ask until `check` takes what `read` makes of an answer, or `attempts` are over.

        Where the API asks to wait longer than `longest_wait` seconds (None: than is configured), that is the end too.
        """
        attempts = attempts or self._max_attempts
        longest = self._max_retry_delay if longest_wait is None else min(longest_wait, self._max_retry_delay)
        for attempt in range(1, attempts + 1):
            self._wait(max(0.0, self._not_before - time.monotonic()))
            if self._between:
                self._take_turn()
            with self._lock:
                self.requests += 1
                self.retries += attempt > 1
            try:
                return self._try(path, parameters, check, read, attempt > 1)
            except _PassingError as passing:
                problem, asked_to_wait = passing.problem, passing.wait
            if asked_to_wait is not None and asked_to_wait > longest:
                problem.args = (f"{problem}; it asks to wait {asked_to_wait:.0f} s: run again then",)
                raise problem
            if attempt < attempts:
                self._pause(attempt, asked_to_wait, throttled=problem.status == 429)
        if problem.status is None:
            problem.args = (f"{problem} ({attempts} attempts)",)
        raise problem

    def _take_turn(self) -> None:
        """Wait until a request may be sent: evenly, so that no minute has more than are allowed, wherever it begins."""
        with self._gate:
            # Whoever stands in line may have been told meanwhile to wait longer.
            while (left := max(self._sent_at + self._between, self._not_before) - time.monotonic()) > 0:
                self._wait(left)
            self._sent_at = time.monotonic()

    def _pause(self, attempt: int, asked: float | None, *, throttled: bool) -> None:
        """Wait before the next attempt. Where the API says so everyone waits; a request that failed alone waits alone.

        Nobody waits in step with others.
        """
        factor = self._backoff_factor
        if throttled and asked is None:
            asked = min(
                factor * THROTTLED_SECONDS * 2 ** (attempt - 1) / max(1, 2 ** (self._max_attempts - 1) - 1),
                self._max_retry_delay,
            )
        if asked:
            self._not_before = max(self._not_before, time.monotonic() + asked)
            self._wait(random.uniform(0, 0.1))  # noqa: S311
        else:
            pause = min(factor * 2 ** (attempt - 1), self._max_retry_delay)
            self._wait(pause * random.uniform(0.5, 1))  # noqa: S311

    def _try(
        self,
        path: str,
        parameters: Mapping[str, str],
        check: Callable[[Any], Answer],
        read: Read,
        again: bool,
    ) -> Answer:
        """Ask once. Raises _PassingError where it may help to ask again."""
        try:
            asked_at = time.monotonic()
            response = self._sessions.send(path, parameters)
            self.answered_after = time.monotonic() - asked_at
            self._read_clock(response)
            if response.status_code == 200:
                return check(read(response, self._key.encode(), again))
            told = words(response).replace(self._key.encode(), b"***")
        except (requests.RequestException, HTTPError, OSError) as fault:
            if self._closed.is_set():
                raise Interrupted("interrupted") from None
            why = reason(fault, self._timeout).replace(self._key, "***")
            raise _PassingError(ApiError(f"cannot reach {self.base_url}{path}: {why}")) from None
        except ValueError as fault:
            raise _PassingError(self._answers.undocumented(path, response, str(fault))) from None
        problem, status = self._answers.refused(path, parameters, response, told), response.status_code
        self.throttled += status == 429
        if status >= 500 or status in (408, 425, 429) or 200 < status < 300:
            raise _PassingError(problem, retry_after(response))
        raise problem

    def _wait(self, seconds: float) -> None:
        if self._closed.wait(seconds) if seconds > 0 else self._closed.is_set():
            raise Interrupted("interrupted")

    def _read_clock(self, response: requests.Response) -> None:
        if self._clock is None and (answered_at := answered(response)) is not None:
            self._clock = answered_at, time.monotonic()


def _listed(body: Any, cursor: str | None) -> tuple[list[Any], list[tuple[int, str]], str | None]:
    """Return jobs, positions and next cursor of the page behind a cursor; ValueError where it is not as documented."""
    if not isinstance(body, dict):
        raise ValueError(f"no object: {shorten(body)}")
    jobs, more, following = body.get("jobs"), body.get("hasMore"), body.get("nextCursor")
    if not isinstance(jobs, list):
        raise ValueError(f"no list of jobs: {shorten(body)}")
    if not isinstance(more, bool):
        raise ValueError(f"hasMore is {shorten(more)}")
    if more and (not isinstance(following, str) or not following):
        raise ValueError("hasMore is true, but there is no nextCursor")
    if more and following == cursor:
        raise ValueError("nextCursor is the cursor of this very page")
    return jobs, positions(jobs), following if more else None


def client_of(chosen: Any) -> Client:
    """Return a client made as the settings say."""
    return Client(
        chosen.base_url,
        chosen.require_key(),
        scope=chosen.scope,
        timeout=chosen.request_timeout,
        max_attempts=chosen.request_max_attempts,
        backoff_factor=chosen.request_backoff_factor,
        max_retry_delay=chosen.request_max_retry_delay,
        max_requests_per_minute=chosen.max_requests_per_minute,
    )
