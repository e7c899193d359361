"""Figures and names as people read them: numbers, shares, durations, credits, money, times, labels. In English, once.

What is missing (None, NaN) is "-". Nothing is escaped here: the pages do that. Imports nothing heavy, since
every command prints.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

HALF_A_CENT = Decimal("0.005")
UNITS_OF_TIME = ((86400, "d", "days"), (3600, "h", "hours"), (60, "min", "minutes"))


def missing(value: Any) -> bool:
    """Tell whether there is no value: None, or a NaN or NaT of pandas."""
    return value is None or bool(value != value)


def number(value: Any, digits: int = 0) -> str:
    """Write a number with thousands apart."""
    return "-" if missing(value) else f"{value:,.{digits}f}"


def share(value: Any) -> str:
    """Write a share (0 to 1) in percent, without the sign: for a column that has it in its title."""
    return number(None if missing(value) else 100 * value, 1)


def percent(value: Any) -> str:
    """Write a share (0 to 1) in percent with one decimal."""
    return "-" if missing(value) else f"{share(value)} %"


def exact(amount: Any, sign: str = "", digits: int = 4) -> str:
    """Write credits with all their digits and thousands apart; `sign` "+" puts one before what is above zero too.

    Credits have four digits behind the point, costs have 14.
    """
    return "-" if missing(amount) else f"{amount:{sign},.{digits}f}".rstrip("0").rstrip(".")


def money(amount: Any, currency: Any) -> str:
    """Write an amount of money with two digits behind the point; with the first two above 0 where these would be 0."""
    if missing(amount) or missing(currency):
        return "-"
    digits = 1 - amount.adjusted() if 0 < abs(amount) <= HALF_A_CENT else 2
    return f"{amount:,.{digits}f} {currency}"


def seconds(duration: Any) -> str:
    """Write seconds in the unit that reads best."""
    if missing(duration):
        return "-"
    for size, unit, _ in UNITS_OF_TIME:
        if duration >= 2 * size:
            return f"{duration / size:,.1f} {unit}"
    return f"{duration:,.1f} s"


def unit_of_time(durations: Iterable[Any]) -> tuple[str, Callable[[Any], str]]:
    """Return the unit that reads best for most of these seconds, and what writes seconds in it: one for a column."""
    known = sorted(each for each in durations if not missing(each))
    middle = known[(len(known) - 1) // 2] if known else 0
    size, unit = next(((size, unit) for size, unit, _ in UNITS_OF_TIME if middle >= 2 * size), (1, "s"))
    return unit, lambda duration: number(None if missing(duration) else duration / size, 1)


def unbroken(text: str) -> str:
    """Keep a figure and the unit behind it on one line: "9.7 %", "2.1 min", "5.00 USD"."""
    return re.sub(r"(?<=\d) (?=%|(?:s|min|h|d|[A-Z]{3})\b)", "\u00a0", text)


def age(duration: int) -> str:
    """Write whole seconds in words, in the unit that reads best."""
    for size, _, unit in UNITS_OF_TIME:
        if duration >= 2 * size:
            return f"{duration // size} {unit}"
    return f"{duration} seconds"


def counted(count: int, thing: str) -> str:
    """Write how many there are of a thing: "1 request", "2 requests"."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def books(pairs: int, off: int, residual: Decimal, came_in: Decimal) -> str:
    """Say how many pairs of readings of the balance did not add up, by how many credits, and what was topped up."""
    told = f"{off:,} of {counted(pairs, 'pair')} of readings did not add up"
    told += f", by {exact(residual)} credits in all" if off else ""
    return told + (f"; {exact(came_in)} credits came in" if came_in else "")


def why_no_cost(row: Mapping[str, Any]) -> str:
    """Say why jobs that were paid for have no cost in money though there are prices; nothing where there are none.

    `row` holds credits, cost, currency and jobs_without_price, as the views count them.
    """
    if not missing(row["cost"]) or missing(row["credits"]) or not row["credits"]:
        return ""
    if not row["jobs_without_price"]:
        return "the prices are in more than one currency"
    return "" if missing(row["currency"]) else f"{counted(row['jobs_without_price'], 'job')} without a price"


def clock(moment: datetime, timezone: str) -> str:
    """Write the minute of a moment in a time zone."""
    from pipelines import zones

    return zones.clock(moment, timezone)


def label(text: Any, length: int = 28) -> str:
    """Return one printable line of at most `length` characters for a name or message that the API gave.

    A long one keeps its beginning and its end, in which names of versions differ. A missing or blank one is
    "(none)". The line is plain text: escape it where it becomes HTML.
    """
    kept = "" if missing(text) else str(text)
    if len(kept) > 8 * length:
        kept = kept[: 4 * length] + kept[-4 * length :]
    kept = " ".join("".join(c if c.isprintable() else " " for c in kept).split())
    tail = length // 3
    return (kept if len(kept) <= length else f"{kept[: length - tail - 1]}…{kept[-tail:]}") or "(none)"


def labels(values: Iterable[Any], length: int = 28) -> list[str]:
    """Label values so that different ones stay different: those cut to the same label are numbered."""
    plain = [None if missing(value) else value for value in values]
    names: dict[Any, str] = {}
    taken: set[str] = set()
    for value in sorted(dict.fromkeys(plain), key=str):
        first, count = label(value, length), 2
        name = first
        while name in taken:
            name, count = f"{first} ({count})", count + 1
        names[value] = name
        taken.add(name)
    return [names[value] for value in plain]
