"""Reads what can be read of a page of jobs that cannot be decoded, or held, as a whole.

Promises that one odd job keeps no other out: every field of a job is decoded by itself, and one that is nested too
deeply, is no JSON or has too many bytes is left out, with `unread_<name>` in its place: the reason, and its text
(of too many bytes: how many, their digest, and the beginning). The same text gives the same job each time, so that a
warehouse that holds it has nothing to write. What is no page of jobs is a ValueError, as everywhere.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from pipelines.apiframe.records import FIELDS, UNREAD, unread
from pipelines.exact import BYTE_ORDER_MARK, decode, shorten

BEGINNING = 1_000  # bytes that are kept of too many
SMALL = 2**16  # bytes: as many of what is documented are always kept

NOT_BLANK = re.compile(rb"[^ \t\r\n]")
#: Where something changes: within a string, within brackets, and in what is neither.
IN_STRING = re.compile(rb'["\\]')
IN_BRACKETS = re.compile(rb'"|[\[{]+|[\]}]+')
BARE = re.compile(rb'"|[\[{]+|[\]},]')
ESCAPED = re.compile(rb".", re.DOTALL)


def read_page(parts: Iterable[bytes], *, most: int, most_jobs: int = sys.maxsize) -> dict[str, Any]:
    """Return the page that `parts` make up; of its values no more than `most` bytes are kept.

    Raises ValueError where that is no page, or has more than `most_jobs`.
    """
    text = _Text(parts, most)
    page: dict[str, Any] = {}
    for name in _members(text):
        is_list = name == "jobs" and text.peek() == b"["
        page[name] = list(_jobs(text, most_jobs)) if is_list else text.value(SMALL).read()
    if text.peek():
        raise ValueError("something follows the JSON")
    return page


def _jobs(text: _Text, most: int) -> Iterator[Any]:
    for number, _ in enumerate(_items(text)):
        if number >= most:
            raise ValueError(f"there are more jobs on it than the {most} asked for")
        yield _job(text) if text.peek() == b"{" else text.value().read()


def _job(text: _Text) -> dict[str, Any]:
    job: dict[str, Any] = {}
    left_out = 0
    for name in _members(text):
        value = text.value(SMALL if name in FIELDS else 0)
        try:
            job[name] = value.read()
        except ValueError as problem:
            if text.room > 0 or name in FIELDS:
                job[UNREAD + name] = value.unread(str(problem))
            else:
                left_out += 1
    if left_out:
        job[f"{UNREAD}fields"] = left_out
    return job


def _members(text: _Text) -> Iterator[str]:
    """Yield the names in an object; whoever takes them takes the value of each."""
    for _ in _items(text, b"{}"):
        name = text.value(SMALL).read()
        if not isinstance(name, str):
            raise ValueError(f"{shorten(name)} is no name")
        text.take(b":")
        yield name


def _items(text: _Text, brackets: bytes = b"[]") -> Iterator[None]:
    text.take(brackets[:1])
    if text.peek() == brackets[1:]:
        text.take(brackets[1:])
        return
    while True:
        yield
        if text.take(b"," + brackets[1:]) != b",":
            return


class _Value:
    """The text of one value, kept while it has no more than `most` bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = 0
        self._digest = hashlib.sha256()
        self._kept = bytearray()

    def add(self, part: bytes) -> None:
        self._bytes += len(part)
        self._digest.update(part)
        if self._bytes <= self._most:
            self._kept += part
        else:
            self._kept = (self._kept + part[:BEGINNING])[:BEGINNING]

    @property
    def kept(self) -> int:
        return len(self._kept)

    def read(self) -> Any:
        if self._bytes > self._most:
            raise ValueError("too many bytes")
        return decode(bytes(self._kept))

    def unread(self, reason: str) -> dict[str, Any]:
        text = self._kept.decode(errors="replace")
        if self._bytes <= self._most:
            return unread(reason, text)
        return unread(reason, text, bytes=self._bytes, sha256=self._digest.hexdigest())


class _Text:
    """JSON text that comes in parts, taken from the front. `room` is how many bytes of values may still be kept."""

    def __init__(self, parts: Iterable[bytes], room: int) -> None:
        self.room = room
        self._parts = iter(parts)
        self._held = next(self._parts, b"").removeprefix(BYTE_ORDER_MARK)
        self._at = 0

    def peek(self) -> bytes:
        """Return the next byte that is not blank, without taking it; nothing at the end."""
        while True:
            if found := NOT_BLANK.search(self._held, self._at):
                self._at = found.start()
                return found[0]
            if not self._more():
                return b""

    def take(self, wanted: bytes) -> bytes:
        """Take the next byte, which has to be one of those wanted."""
        byte = self.peek()
        if not byte or byte not in wanted:
            raise ValueError("the JSON breaks off" if not byte else f"{byte!r} stands where one of {wanted!r} belongs")
        self._at += 1
        return byte

    def value(self, least: int = 0) -> _Value:
        """Take the next value, kept as far as there is room, or `least` bytes of it."""
        self.peek()
        value = _Value(max(self.room, least))
        depth, pattern, begin = 0, BARE, self._at
        while True:
            found = pattern.search(self._held, self._at)
            if found is None:
                value.add(self._held[begin:])
                begin = 0
                if not self._more():
                    raise ValueError("the JSON breaks off")
                continue
            token, self._at = found[0], found.end()
            if pattern is ESCAPED:
                pattern = IN_STRING
            elif token == b"\\":
                pattern = ESCAPED
            elif token == b'"' and pattern is not IN_STRING:
                pattern = IN_STRING
            elif token == b'"':
                if not depth:
                    break
                pattern = IN_BRACKETS
            elif token[:1] in b"[{":
                depth += len(token)
                pattern = IN_BRACKETS
            else:
                closed = min(depth, len(token))  # what follows belongs to what the value is in
                depth -= closed
                self._at = found.start() + closed
                if not depth:
                    break
        value.add(self._held[begin : self._at])
        self.room -= value.kept
        return value

    def _more(self) -> bool:
        self._held, self._at = next(self._parts, b""), 0
        return bool(self._held)
