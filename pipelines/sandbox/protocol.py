"""The words of the protocol: parameters, refusals, page cursors. Pure; nothing here knows a job."""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Final, NamedTuple

import orjson

from pipelines.sandbox.lives import Job, Position

UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass
class Request:
    """One request: its path below /v2, its query, the answer's status (0: none), whether it had a key."""

    path: str
    query: dict[str, str]
    status: int
    has_key: bool


class Refused(Exception):  # noqa: N818 - an answer, not a defect
    """An answer other than 200."""

    def __init__(
        self,
        status: int,
        error: str,
        details: dict[str, list[str]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(error)
        self.status, self.headers = status, headers or {}
        self.body: Job = {"error": error} if details is None else {"error": error, "details": details}


class Filter(NamedTuple):
    """What a list is narrowed to."""

    owner: int | None
    status: str | None
    model: str | None
    search: str | None


class Cursor(NamedTuple):
    """What a page cursor holds; clients see it as opaque text."""

    epoch: int
    position: Position | None  # the last job shown; None: the top
    offset: int
    filter: Filter
    nonce: int  # tells apart cursors to one position

    def text(self) -> str:
        """The cursor as clients see it."""
        return base64.urlsafe_b64encode(self._signed()).decode().rstrip("=")

    def _signed(self) -> bytes:
        created, number = self.position or (None, 0)
        plain = orjson.dumps([self.epoch, created, f"{number:x}", self.offset, [*self.filter], self.nonce])
        return hashlib.blake2b(plain, digest_size=6).digest() + plain

    @classmethod
    def read(cls, text: str) -> "Cursor | None":
        """The cursor of a text; None where no such cursor was ever issued."""
        try:
            data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            epoch, created, number, offset, narrowed, nonce = orjson.loads(data[6:])
            position = None if created is None else (int(created), int(number, 16))
            cursor = cls(epoch, position, offset, Filter(*narrowed), nonce)
        except (ValueError, TypeError, binascii.Error):
            return None
        return cursor if cursor.text() == text else None


def invalid(field: str, text: str) -> Refused:
    """A 400 that names the parameter."""
    return Refused(400, "Invalid query parameters", {field: [text]})


def parameters(query: list[tuple[str, str]], known: tuple[str, ...]) -> dict[str, str]:
    """The known parameters, none of them twice; unknown ones are ignored."""
    values: dict[str, str] = {}
    for name, value in query:
        if name not in known:
            continue
        if name in values:
            raise invalid(name, "Expected one value, received several")
        values[name] = value
    return values


def one_of(query: dict[str, str], field: str, allowed: tuple[str, ...]) -> None:
    """Refuse a value that is not among those allowed."""
    if field in query and query[field] not in allowed:
        raise invalid(field, f"Expected one of {', '.join(allowed)}")
