"""The only place that speaks HTTP to the API.

Promises: at least `max_attempts` tries of a request before a passing fault becomes an error; an answer that is
not what the API documents is never taken for data or for the end of a list; the key stays in the session's header
and is blotted out of everything that comes back. Leaves to others what to ask for.
"""

import email.utils
import functools
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime
from http.client import responses as REASONS  # noqa: N812
from typing import Any, TypeVar
from urllib.parse import urlencode

import requests
from urllib3.exceptions import DecodeError, HTTPError, ProtocolError, ReadTimeoutError

from pipelines.apiframe import account, clock, records
from pipelines.errors import ApiframeWarehouseError, ConfigurationError, KeyRefusedError

Answer = TypeVar("Answer")

PAGE_SIZE = 100  # the most that the API gives
REFUSED = (400, 404, 410, 422)  # answers that say that the API does not take a cursor or filter
CONNECT_TIMEOUT = 10.0
CHUNK_BYTES = 2**18
MOST_BYTES = 2**26  # of one answer: a page of documented jobs has some 50,000


class ApiError(ApiframeWarehouseError):
    """The API answered with an error, or not with what it documents.

    Carries `status` (None where there was no answer), `text` (the API's own words) and `request_id`.
    """

    def __init__(
        self, message: str, *, status: int | None = None, text: str = "", request_id: str | None = None
    ) -> None:
        super().__init__(message + (f" (request {request_id})" if request_id else ""))
        self.status = status
        self.text = text
        self.request_id = request_id


class CursorRefusedError(ApiError):
    """The API does not take this page cursor (any more)."""


class NotFoundError(ApiError):
    """The API does not know this, or it belongs to somebody else."""


class UndocumentedError(ApiError):
    """The answer is not what the API documents, however often it was asked for."""


class RefusedKeyError(KeyRefusedError, ApiError):
    """The API does not take the key."""


class RefusedScopeError(ConfigurationError, ApiError):
    """The key may not list the team's jobs."""


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
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.scope = scope
        self.requests = 0  # sent, repetitions included
        self.retries = 0
        self.throttled = 0  # answers 429
        self.answered_after = 0.0  # seconds that the last answer took
        self._key = api_key
        self._timeout = (min(CONNECT_TIMEOUT, timeout), timeout)
        self._max_attempts = max_attempts
        self._backoff_factor = backoff_factor
        self._max_retry_delay = max_retry_delay
        self._local = threading.local()
        self._sessions: list[requests.Session] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._not_before = 0.0  # monotonic: the API asked everyone to wait until then
        self._clock: tuple[int, float] | None = None  # the API's clock, and the monotonic time it was read at

    def close(self) -> None:
        """Close the sessions; requests that wait for another try end at once."""
        self._closed.set()
        for session in self._sessions:
            session.close()

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

        Raises CursorRefusedError, UndocumentedError (among others: a job without id or createdAt, `hasMore`
        without a cursor, a cursor that is its own next one) and the other errors of this module.
        """
        asked = {"limit": str(limit), "scope": self.scope, "status": status, "model": model}
        asked |= {"search": search, "cursor": cursor}

        def check(body: Any) -> Page:
            if not isinstance(body, dict):
                raise ValueError(f"no object: {records.shorten(body)}")
            jobs, more, following = body.get("jobs"), body.get("hasMore"), body.get("nextCursor")
            if not isinstance(jobs, list):
                raise ValueError(f"no list of jobs: {records.shorten(body)}")
            if not isinstance(more, bool):
                raise ValueError(f"hasMore is {records.shorten(more)}")
            if more and (not isinstance(following, str) or not following):
                raise ValueError("hasMore is true, but there is no nextCursor")
            if more and following == cursor:
                raise ValueError("nextCursor is the cursor of this very page")
            return Page(jobs, records.positions(jobs), following if more else None, self.now())

        return self._get("/jobs", {name: value for name, value in asked.items() if value is not None}, check)

    def models(self) -> list[dict[str, Any]]:
        """Read the catalogue of models: objects with at least an `id`."""

        def check(body: Any) -> list[dict[str, Any]]:
            found = body.get("models") if isinstance(body, dict) else None
            if not isinstance(found, list) or not all(
                isinstance(model, dict) and isinstance(model.get("id"), str) for model in found
            ):
                raise ValueError(f"no list of models: {records.shorten(body)}")
            return found

        return self._get("/models", {}, check, attempts=2)

    def me(self) -> account.Account:
        """Read whose key this is."""
        return self._get("/me", {}, account.read)

    def _get(
        self,
        path: str,
        parameters: Mapping[str, str],
        check: Callable[[Any], Answer],
        attempts: int | None = None,
    ) -> Answer:
        attempts = attempts or self._max_attempts
        for attempt in range(1, attempts + 1):
            self._wait(max(0.0, self._not_before - time.monotonic()))
            with self._lock:
                self.requests += 1
                self.retries += attempt > 1
            asked_to_wait = 0.0
            try:
                asked_at = time.monotonic()
                response = self._send(path, parameters)
                self.answered_after = time.monotonic() - asked_at
                body = self._body(response).replace(self._key.encode(), b"***")
            except (requests.RequestException, HTTPError, OSError) as fault:
                if self._closed.is_set():
                    raise Interrupted("interrupted") from None
                problem: ApiError = ApiError(self._unreachable(path, fault))
            else:
                self._read_clock(response)
                if response.status_code == 200:
                    try:
                        return check(records.decode(body))
                    except ValueError as fault:
                        problem = self._undocumented(path, response, str(fault))
                else:
                    problem = self._refused(path, parameters, response, body)
                    if response.status_code < 500 and response.status_code not in (408, 425, 429):
                        raise problem
                    asked_to_wait = _retry_after(response)
                    if response.status_code == 429:
                        self.throttled += 1
            if asked_to_wait > self._max_retry_delay:
                problem.args = (f"{problem}; it asks to wait {asked_to_wait:.0f} s: run again then",)
                raise problem
            if attempt == attempts:
                break
            # Everyone waits when the API says so; a request that failed alone waits alone, and never in step.
            self._not_before = max(self._not_before, time.monotonic() + asked_to_wait)
            pause = min(self._backoff_factor * 2 ** (attempt - 1), self._max_retry_delay)
            self._wait(pause * random.uniform(0.5, 1) if not asked_to_wait else random.uniform(0, 0.1))  # noqa: S311
        raise problem

    def _body(self, response: requests.Response) -> bytes:
        """Return the body, of which every part comes within the time-out of the whole: some servers drip.

        Read through urllib3, since requests' own way takes 10 kB at a time, at twice the cost of a page.
        """
        until = time.monotonic() + self._timeout[1]
        body = bytearray()
        try:
            while part := response.raw.read1(CHUNK_BYTES, decode_content=True):
                body += part
                if len(body) > MOST_BYTES:
                    raise HTTPError(f"the answer has more than {MOST_BYTES >> 20} MB")
                if time.monotonic() > until:
                    raise requests.exceptions.ReadTimeout
        except BaseException:
            response.close()  # what follows on this connection would be the rest of this body
            raise
        return bytes(body)

    def _send(self, path: str, parameters: Mapping[str, str]) -> requests.Response:
        """Ask on this thread's session; only the address of its request changes. The body is not read yet.

        It goes through the session's adapter: what a session does beyond that (cookies, redirects, a look for proxies
        before every request) is not wanted, and costs as much as the rest.
        """
        mine: tuple[requests.PreparedRequest, str, Callable[..., requests.Response]] | None
        if (mine := getattr(self._local, "mine", None)) is None:
            session = requests.Session()
            session.headers.update(
                {"X-API-Key": self._key, "Accept": "application/json", "User-Agent": "apiframe-warehouse"}
            )
            environment: Any = session.merge_environment_settings(self.base_url, {}, True, None, None)
            session.trust_env = False  # no passwords of ~/.netrc
            request = session.prepare_request(requests.Request("GET", self.base_url))
            adapter = session.get_adapter(self.base_url)
            base = (request.url or self.base_url).rstrip("/")  # as requests writes it: other alphabets, spaces
            mine = request, base, functools.partial(adapter.send, timeout=self._timeout, **environment)
            self._local.mine = mine
            with self._lock:
                self._sessions.append(session)
        request, base, send = mine
        request.url = f"{base}{path}?{urlencode(parameters)}"
        return send(request=request)

    def _wait(self, seconds: float) -> None:
        if self._closed.wait(seconds) if seconds > 0 else self._closed.is_set():
            raise Interrupted("interrupted")

    def _read_clock(self, response: requests.Response) -> None:
        if self._clock is not None or "Date" not in response.headers:
            return
        try:
            date = email.utils.parsedate_to_datetime(response.headers["Date"])
        except (ValueError, OverflowError):  # a zone of ten digits
            return
        if date.year == MAXYEAR:  # no time can be added to it
            return
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        self._clock = (int(date.timestamp() * 1e6), time.monotonic())

    def _refused(self, path: str, parameters: Mapping[str, str], response: requests.Response, body: bytes) -> ApiError:
        status, text = response.status_code, _own_words(body)
        facts: dict[str, Any] = {"status": status, "text": text, "request_id": self._request_id(response)}
        said = f"the API answered {status} {REASONS.get(status, '')}".rstrip() + (f": {text}" if text else "")
        if status == 403 and parameters.get("scope") == "team" and "inactive" not in text.lower():
            return RefusedScopeError(f"{said}; set sources.apiframe.scope to user, or use an admin's key", **facts)
        if status in (401, 403):
            return RefusedKeyError(f"the API refused the key: {text or status}; check APIFRAME_API_KEY", **facts)
        if status in REFUSED and "cursor" in parameters:
            return CursorRefusedError(said, **facts)
        if status == 404:
            return NotFoundError(f"{said} for {self.base_url}{path}; check sources.apiframe.base_url", **facts)
        if 300 <= status < 400:
            return ApiError(f"{said}: {self.base_url} sends elsewhere; check sources.apiframe.base_url", **facts)
        return ApiError(f"{said} for {self.base_url}{path}", **facts)

    def _undocumented(self, path: str, response: requests.Response, problem: str) -> UndocumentedError:
        kind = response.headers.get("Content-Type", "").replace(self._key, "***").split(";")[0].strip()
        shown = problem if kind == "application/json" else f"{kind or 'no content type'}, {problem}"
        return UndocumentedError(
            f"{self.base_url}{path} answered 200, but not with what the API documents: {records.one_line(shown, 400)}",
            status=200,
            text=problem,
            request_id=self._request_id(response),
        )

    def _request_id(self, response: requests.Response) -> str | None:
        found = response.headers.get("x-request-id")
        return records.one_line(found.replace(self._key, "***"), 80) if found else None

    def _unreachable(self, path: str, fault: Exception) -> str:
        if isinstance(fault, requests.Timeout | ReadTimeoutError):
            reason = f"no answer within {self._timeout[1]:g} s"
        elif isinstance(fault, requests.exceptions.SSLError):
            reason = "the certificate is not trusted"
        elif isinstance(fault, requests.exceptions.ProxyError):
            reason = "the proxy does not answer"
        elif isinstance(fault, ProtocolError | DecodeError):
            reason = "the answer was cut off"
        elif isinstance(fault, HTTPError):
            reason = str(fault)
        elif "resolve" in str(fault) or "Name or service" in str(fault):
            reason = "unknown host"
        elif "refused" in str(fault):
            reason = "connection refused"
        else:
            reason = "the connection broke"
        return f"cannot reach {self.base_url}{path}: {reason} ({self._max_attempts} attempts)"


def _own_words(body: bytes) -> str:
    """Return what the API itself says of an error: `error` and the fields of `details`, as one short line."""
    try:
        answer = records.decode(body)
    except ValueError:
        return ""
    if not isinstance(answer, dict) or "error" not in answer:
        return ""
    text = answer["error"] if isinstance(answer["error"], str) else records.encode(answer["error"])
    if answer.get("details"):
        text += f" {records.encode(answer['details'])}"
    return records.one_line(text, 300)


def _retry_after(response: requests.Response) -> float:
    """Return the seconds that Retry-After asks for, given as seconds or as a date (RFC 9110); 0 where it does not."""
    value = response.headers.get("Retry-After", "").strip()
    if not value:
        return 0.0
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        until = email.utils.parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return 0.0
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
