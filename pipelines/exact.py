"""JSON, decimals and times without loss: what was read is written with the same digits, to the same microsecond.

And what is shown of it: one short printable line. Imports nothing heavy.
"""

from __future__ import annotations

import contextlib
import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
CREDIT_STEP = Decimal("0.0001")
CREDIT_LIMIT = 10**14
#: A number that a float does not hold exactly has at least sixteen digits: all digits become 0, the rest a blank.
DIGITS = bytes(ord("0") if chr(byte) in "0123456789." else ord(" ") for byte in range(256))
LONG_RUN = b"0" * 16
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
#: An escape in JSON text; `lone` is half of a pair of surrogates.
ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


class TooDeepError(ValueError):
    """JSON nested deeper than it can be decoded."""


def decode(body: bytes) -> Any:
    """Decode JSON exactly: numbers too long for a float or 64 bits stay what they are (as Decimal).

    Raises ValueError where the body is not JSON. Lone surrogates, which no database stores, become U+FFFD.
    """
    body = body.removeprefix(BYTE_ORDER_MARK)
    with contextlib.suppress(orjson.JSONDecodeError):
        if not _has_long_number(body):
            return orjson.loads(body)
    text = ESCAPE.sub(_without_lone_surrogate, body).decode("utf-8")

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
        return encode_shallow(value)
    except orjson.JSONEncodeError:
        return _encode_deep(value)


def encode_shallow(value: Any) -> str:
    """Encode what is nested no deeper than 254; JSONEncodeError where it is."""
    return orjson.dumps(value, default=encode_number).decode()


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
                rest += (False, held), (True, f"{',' * (number > 0)}{encode_shallow(name)}:")
            rest.append((True, "{"))
        elif isinstance(item, list):
            rest.append((True, "]"))
            for number, held in reversed(list(enumerate(item))):
                rest += (False, held), (True, "," * (number > 0))
            rest.append((True, "["))
        else:
            written.append(encode_shallow(item))
    return "".join(written)


def encode_number(value: Any) -> Any:
    """Encode what orjson does not know: a Decimal."""
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


def microseconds(duration: timedelta) -> int:
    """Return a duration in microseconds."""
    return duration // MICROSECOND


def moment(microseconds: int) -> datetime:
    """Return the UTC time of microseconds since 1970."""
    return EPOCH + timedelta(microseconds=microseconds)


def same_json(one: str, other: str) -> bool:
    """Tell whether two JSON texts mean the same; not where one is nested deeper than is stored any more."""
    try:
        return bool(decode(one.encode()) == decode(other.encode()))
    except (ValueError, RecursionError):
        return False


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
