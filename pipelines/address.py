"""What is chosen in a notebook, kept in the address of its page: a link that is sent shows the same.

Needs marimo. What an address holds anyone may have written: only what is there to be chosen is taken from it.
"""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import marimo as mo


def keep(key: str, values: Sequence[str]) -> None:
    """Write values into the address, or take the key out of it where there are none."""
    address = mo.query_params()
    if values:  # in one text: of a key that comes twice marimo passes on the last
        line = io.StringIO(newline="")
        csv.writer(line, lineterminator="").writerow(values)
        address.set(key, line.getvalue())
    elif key in address:
        address.remove(key)


def kept(key: str) -> list[str]:
    """Return the values that the address has for a key."""
    with contextlib.suppress(csv.Error):
        for text in mo.query_params().get_all(key)[-1:]:
            return next(csv.reader(io.StringIO(text, newline=""), strict=True), [""])
    return []


def days(first: date, last: date, usual: tuple[date, date]) -> Any:
    """Return a control to choose days from `first` to `last`, that begins as the address says, else as usual."""
    begins = usual
    with contextlib.suppress(ValueError):
        begin, end = map(date.fromisoformat, kept("days"))
        if begin <= end and begin <= last and end >= first:
            begins = max(begin, first), min(end, last)

    def moved(chosen: tuple[date, date]) -> None:
        keep("days", [] if tuple(chosen) == usual else [day.isoformat() for day in chosen])

    return mo.ui.date_range(start=first, stop=last, value=begins, label="Days", on_change=moved)


def dropdown(key: str, options: dict[str, Any], usual: Any, **given: Any) -> Any:
    """Return a control to choose one of `options`, values by name, that begins as the address says, else as usual."""
    usually = [name for name, value in options.items() if value == usual]
    [begins] = (_names(key, options) or usually)[:1]
    return mo.ui.dropdown(
        options, value=begins, on_change=lambda value: keep(key, [] if value == usual else [_text(value)]), **given
    )


def multiselect(key: str, options: dict[str, str], **given: Any) -> Any:
    """Return a control to choose some of `options`, that begins as the address says, else with none."""
    return mo.ui.multiselect(
        options,
        value=_names(key, options),
        on_change=lambda values: keep(key, [_text(value) for value in values]),
        **given,
    )


def _names(key: str, options: Mapping[str, Any]) -> list[str]:
    wanted = kept(key)
    return [name for name, value in options.items() if value is not None and _text(value) in wanted]


def _text(value: Any) -> str:
    return "" if value is None else str(value)
