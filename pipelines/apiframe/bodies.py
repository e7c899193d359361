"""What is made of the bytes of an answer: decoded JSON, the key blotted out of it.

A `Read` takes the answer, the key, and whether this was asked for before and could not be decoded then. ValueError
where it is not JSON.
"""

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterable
from typing import Any

import requests
from urllib3.exceptions import ReadTimeoutError

from pipelines.apiframe.salvage import read_page
from pipelines.apiframe.transport import TooLargeError, parts
from pipelines.exact import TooDeepError, decode

MOST_BYTES = 2**26  # of one answer: a page of documented jobs has some 50,000
MANY_BYTES = 2**20  # a page that has brought so many when its time is over is too long for it

Read = Callable[[requests.Response, bytes, bool], Any]


class TooLongPageError(Exception):
    """A page has more bytes than are taken in, or than come in time: a shorter one may be asked for."""


def plain(response: requests.Response, key: bytes, _again: bool) -> Any:
    """Decode it as it is."""
    return decode(b"".join(parts(response, MOST_BYTES)).replace(key, b"***"))


def page(response: requests.Response, key: bytes, again: bool) -> Any:
    """Decode a page of jobs; of one that cannot be decoded, what can be read. Raises TooLongPageError."""
    body = bytearray()
    try:
        for part in parts(response, MOST_BYTES):
            body += part
    except TooLargeError:
        raise TooLongPageError from None
    except ReadTimeoutError:
        if len(body) < MANY_BYTES:
            raise
        raise TooLongPageError from None
    return _decode(bytes(body).replace(key, b"***"), again)


def page_of_one(response: requests.Response, key: bytes, again: bool) -> Any:
    """Decode a page of one job, however many bytes it has: no more than MOST_BYTES of it are kept."""
    held, size = [], 0
    with contextlib.closing(_without(key, parts(response))) as rest:
        for part in rest:
            held.append(part)
            size += len(part)
            if size <= MOST_BYTES:
                continue
            try:
                return read_page(itertools.chain(held, rest), most=MOST_BYTES, most_jobs=1)
            except ValueError as problem:
                raise ValueError(f"it has more than {MOST_BYTES >> 20} MB, and {problem}") from None
    return _decode(b"".join(held), again)


def _decode(body: bytes, again: bool) -> Any:
    try:
        return decode(body)
    except ValueError as problem:
        if again or isinstance(problem, TooDeepError):  # what else is odd may have been lost on the way
            with contextlib.suppress(ValueError):
                return read_page([body], most=len(body))
        raise


def _without(key: bytes, parts: Iterable[bytes]) -> Generator[bytes, None, None]:
    """Blot out the key, also where it lies across two parts."""
    rest = b""
    for part in parts:
        text = (rest + part).replace(key, b"***")
        known = max(0, len(text) - len(key) + 1)
        yield text[:known]
        rest = text[known:]
    yield rest
