"""The account's books: every credit that came or went, when and why. Clients are told the balance alone."""

from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

MOST = 10**12  # a cost beyond it is nonsense that a test serves, and no sum of credits


class Entry(NamedTuple):
    """One line of the books. `credits` are what the account gains, so a charge is below zero."""

    at: datetime
    kind: str  # opening, charge, refund, top-up, renewal
    job: str | None
    credits: Decimal


class Ledger:
    """What was booked, and the balance: their sum, exactly. Jobs are rows here, times milliseconds."""

    def __init__(self) -> None:
        self.balance = Decimal(0)
        self.plan = "pro"
        self._booked: list[tuple[int, str, int | None, Decimal]] = []

    def book(self, at: int, kind: str, gained: Decimal, row: int | None = None) -> None:
        """Add a line."""
        self._booked.append((at, kind, row, gained))
        self.balance += gained

    def lines(self) -> list[tuple[int, str, int | None, Decimal]]:
        """Every line (moment, kind, row, credits gained), oldest first."""
        return sorted(self._booked, key=lambda line: line[0])

    def number(self) -> bytes:
        """The balance as a JSON number, without loss."""
        return format(self.balance.normalize(), "f").encode()


def credits_of(cost: Any, sign: int = 1) -> Decimal:
    """What a served creditCost comes to; nothing where it is no number."""
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not -MOST < cost < MOST:
        return Decimal(0)
    return _exact(str(cost), sign)


@lru_cache(maxsize=1024)  # one object for each of the few costs: 20 MB less for 100,000 jobs
def _exact(text: str, sign: int) -> Decimal:
    return sign * Decimal(text)
