"""What the API answers where it does not give what was asked for, in words for the person who reads them."""

from __future__ import annotations

import email.utils
from collections.abc import Mapping
from datetime import MAXYEAR, UTC, datetime
from http.client import responses as REASONS  # noqa: N812
from typing import Any

import requests

from pipelines.errors import ApiframeWarehouseError, ConfigurationError, KeyRefusedError
from pipelines.exact import decode, encode, one_line

REFUSED = (400, 404, 410, 422)  # answers that say that the API does not take a cursor or filter


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


class Answers:
    """Words the answers of one API: with its address, without the key."""

    def __init__(self, base_url: str, key: str) -> None:
        self._base_url = base_url
        self._key = key

    def refused(self, path: str, parameters: Mapping[str, str], response: requests.Response, body: bytes) -> ApiError:
        """Return the error of an answer that is no 200."""
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
            return NotFoundError(f"{said} for {self._base_url}{path}; check sources.apiframe.base_url", **facts)
        if 300 <= status < 400:
            where = response.headers.get("Location", "").split("?")[0].replace(self._key, "***")
            to = f" to {one_line(where)}" if where else ""
            return ApiError(f"{said}: {self._base_url} sends elsewhere{to}; check sources.apiframe.base_url", **facts)
        if status == 407:
            return ApiError(f"{said.replace('API', 'proxy', 1)} for {self._base_url}{path}", **facts)
        return ApiError(f"{said} for {self._base_url}{path}", **facts)

    def undocumented(self, path: str, response: requests.Response, problem: str) -> UndocumentedError:
        """Return the error of a 200 that does not hold what was asked for."""
        kind = response.headers.get("Content-Type", "").replace(self._key, "***").split(";")[0].strip()
        shown = problem if kind == "application/json" else f"{kind or 'no content type'}, {problem}"
        return UndocumentedError(
            f"{self._base_url}{path} answered 200, but not with what the API documents: {one_line(shown, 400)}",
            status=200,
            text=problem,
            request_id=self._request_id(response),
        )

    def _request_id(self, response: requests.Response) -> str | None:
        found = response.headers.get("x-request-id")
        return one_line(found.replace(self._key, "***"), 80) if found else None


def _own_words(body: bytes) -> str:
    """Return what the API itself says of an error: `error` and the fields of `details`, as one short line."""
    try:
        answer = decode(body)
    except ValueError:
        return ""
    if not isinstance(answer, dict) or "error" not in answer:
        return ""
    text = answer["error"] if isinstance(answer["error"], str) else encode(answer["error"])
    if answer.get("details"):
        text += f" {encode(answer['details'])}"
    return one_line(text, 300)


def retry_after(response: requests.Response) -> float | None:
    """Return the seconds that Retry-After asks for, as seconds or as a date (RFC 9110); None where it does not."""
    value = response.headers.get("Retry-After", "").strip()
    try:
        seconds = float(value)
        return seconds if seconds >= 0 else None
    except ValueError:
        pass
    try:
        until = email.utils.parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def answered(response: requests.Response) -> int | None:
    """Return when it was answered, in microseconds since 1970 by the API's clock; None where it does not say."""
    try:
        date = email.utils.parsedate_to_datetime(response.headers.get("Date", ""))
    except (ValueError, OverflowError):  # a zone of ten digits
        return None
    if date.year == MAXYEAR:  # no time can be added to it
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return int(date.timestamp() * 1e6)
