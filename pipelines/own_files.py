"""The user's own CSV files in `.dlt`: lines with their numbers, or an error that names file and line."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from pipelines.errors import ConfigurationError

LONGEST_CELL = 200  # characters: of a name, not of a text


class Line(NamedTuple):
    """A line of a file that holds something; `number` counts from 1, the header included."""

    number: int
    cells: list[str]


def read_lines(file: Path, header: Sequence[str], most: int) -> Iterator[Line]:
    """Yield the lines behind the header, none of them blank; cells are stripped, and none is empty.

    Raises ConfigurationError where the file cannot be read, has another header, more than `most` lines, or a line that
    does not hold one text a column.
    """
    lines = split(file)
    if next(lines, Line(1, [])).cells != list(header):
        refuse(file, 1, f"the first line must be {','.join(header)}")
    for place, (number, cells) in enumerate(lines):
        if place == most:
            refuse(file, number, f"at most {most:,} lines")
        if len(cells) != len(header) or not all(cells):
            found = ",".join(cells)[:80]
            refuse(file, number, f"a line must hold {', '.join(header[:-1])} and {header[-1]}, not {found!r}")
        yield Line(number, cells)


def split(file: Path) -> Iterator[Line]:
    """Yield the lines that hold something, the header among them; cells are stripped. Raises ConfigurationError."""
    if file.exists() and not file.is_file():
        raise ConfigurationError(f"cannot read {file}: it is no file")
    try:
        content = file.read_bytes()
    except OSError as problem:
        raise ConfigurationError(f"cannot read {file}: {problem.strerror}") from None
    try:
        content.decode()  # as a whole, so that a line is known
    except UnicodeDecodeError as problem:
        refuse(file, content.count(b"\n", 0, problem.start) + 1, "is not UTF-8")
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline=""), strict=True)
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield Line(reader.line_num, cells)
    except csv.Error as problem:
        refuse(file, reader.line_num, str(problem))


def require_names(file: Path, number: int, cells: Sequence[str]) -> None:
    """Refuse what is too long for a name, or holds control characters, which no database and no page takes well."""
    whole = "".join(cells)
    if len(whole) <= LONGEST_CELL and whole.isprintable():
        return
    for cell in cells:
        if len(cell) > LONGEST_CELL:
            refuse(file, number, f"{cell[:40]!r}... is too long: at most {LONGEST_CELL} characters")
        if any(unicodedata.category(sign) == "Cc" for sign in cell):
            refuse(file, number, f"{cell[:40]!r} holds a control character")


def refuse(file: Path, number: int, reason: str) -> NoReturn:
    """Raise ConfigurationError with file and line."""
    raise ConfigurationError(f"{file}:{number}: {reason}")
