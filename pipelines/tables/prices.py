"""What a credit cost, and from when: the lines of the user's own `.dlt/prices.csv`.

The file is read at every sync, and checked before anything else is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.exact import CREDIT_LIMIT, CREDIT_STEP, one_line
from pipelines.own_files import Line, refuse, split
from pipelines.tables import Column, Table

if TYPE_CHECKING:
    from pipelines.settings import Settings
    from pipelines.tables._sync import Sync

PACK = ("paid", "credits")
COLUMNS = ("valid_from", "price_per_credit", *PACK, "currency")
MOST_PRICES = 1000
#: Credits have four digits behind the point: their product with a price is exact in the 38 digits of every engine.
PRICE_STEP = Decimal("0.0000000001")
PRICE_LIMIT = 10**8
EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)


class Price(NamedTuple):
    """A row of `prices`: what a credit costs from a day on; `paid` and `credits` where it was told as a pack."""

    valid_from: date
    price_per_credit: Decimal
    currency: str
    paid: Decimal | None
    credits: Decimal | None


def rows(sync: Sync) -> list[Price] | None:
    """Return the lines of the file, None where the warehouse holds the same already."""
    found: list[Price] = sync.given[TABLE.name]
    return None if sync.warehouse.read(TABLE, "order by valid_from") == found else found


def check(settings: Settings) -> list[Price]:
    """Return the project's prices. Raises ConfigurationError, with file and line, where the file cannot be used."""
    return read_prices(settings.project / ".dlt" / "prices.csv")


def read_prices(file: Path) -> list[Price]:
    """Read the prices from a CSV file, oldest first; none where there is no such file.

    The first line names the columns: valid_from, currency, and price_per_credit, or paid and credits, or all of them.
    The price of a pack is paid / credits, rounded to ten digits behind the point, half to even. Raises
    ConfigurationError with file and line.
    """
    return sorted(_prices(file)) if os.path.lexists(file) else []


def _prices(file: Path) -> Iterator[Price]:
    lines, seen = split(file), dict[date, int]()
    at, names = next(lines, Line(1, []))
    try:
        _require_header(names)
        for at, cells in lines:
            if len(seen) == MOST_PRICES:
                raise ValueError(f"at most {MOST_PRICES} prices")
            price = _price(names, cells)
            if price.valid_from in seen:
                raise ValueError(
                    f"there is a price from {price.valid_from} on already, in line {seen[price.valid_from]}: "
                    "one line a day (of packs bought on one day, add up what was paid and the credits)"
                )
            seen[price.valid_from] = at
            yield price
    except ValueError as problem:
        refuse(file, at, str(problem))


def _require_header(names: list[str]) -> None:
    """Raise ValueError where the names of the columns do not tell what is in a line."""
    given = set(names)
    forms = ("price_per_credit" in given, given.issuperset(PACK))
    if len(given) < len(names) or given - set(COLUMNS) or not ({"valid_from", "currency"} <= given and any(forms)):
        raise ValueError(
            "the first line must name the columns: valid_from,price_per_credit,currency or "
            f"valid_from,paid,credits,currency, not {one_line(','.join(names), 80)!r}"
        )


def _price(names: Sequence[str], cells: Sequence[str]) -> Price:
    """Return the price in a line. Raises ValueError with what is wrong."""
    if len(cells) != len(names):
        raise ValueError(f"{len(names)} cells are wanted ({','.join(names)}), there are {len(cells)}")
    line = dict.fromkeys(COLUMNS, "") | dict(zip(names, cells, strict=True))
    valid_from = _day(line["valid_from"])
    if not re.fullmatch("[A-Z]{3}", line["currency"]):
        raise ValueError(f"currency must be three capital letters like USD, not {one_line(line['currency'], 40)!r}")
    is_pack = bool(line["paid"] or line["credits"])
    if is_pack == bool(line["price_per_credit"]):
        raise ValueError("a line holds either price_per_credit, or paid and credits")
    if not is_pack:
        price = _number("price_per_credit", line["price_per_credit"], PRICE_STEP, PRICE_LIMIT)
        return Price(valid_from, price, line["currency"], None, None)
    paid, amount = (_number(name, line[name], CREDIT_STEP, CREDIT_LIMIT) for name in PACK)
    price = EXACT.divide(paid, amount).quantize(PRICE_STEP, context=EXACT)
    if not 0 < price < PRICE_LIMIT:
        raise ValueError(f"{paid} for {amount} credits is no price: it must lie between {PRICE_STEP:f} and 10^8")
    return Price(valid_from, price, line["currency"], paid, amount)


def _day(text: str) -> date:
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise ValueError(f"valid_from must be a day like 2026-01-31, not {one_line(text, 40)!r}")


def _number(name: str, text: str, step: Decimal, limit: int) -> Decimal:
    """Return a number above zero as its column holds it, without rounding."""
    whole, digits = len(str(limit)) - 1, -int(step.as_tuple().exponent)
    if re.fullmatch(rf"\d{{1,{whole}}}(\.\d{{1,{digits}}})?", text, re.ASCII) and (number := Decimal(text)) > 0:
        return number.quantize(step)
    raise ValueError(
        f"{name} must be a number above zero like 0.01, with at most {digits} digits behind the point and {whole} "
        f"before it, not {one_line(text, 40)!r}"
    )


TABLE = Table(
    "prices",
    "One row per price of a credit, as prices.csv has it; it holds until the next one.",
    (
        Column("valid_from", "DATE", "The first day on which it holds, in reports.timezone."),
        Column("price_per_credit", "DECIMAL(18,10)", "What a credit costs; of a pack paid / credits, half to even."),
        Column("currency", "VARCHAR", "In which currency, as ISO 4217 writes it."),
        Column("paid", "DECIMAL(18,4)", "What a pack cost; null where the price was told alone."),
        Column("credits", "DECIMAL(18,4)", "What was in the pack.", unit="credits"),
    ),
    mode="replace",
    key=("valid_from",),
    rows=rows,
    check=check,
)
