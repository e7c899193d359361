"""The running calendar month, and what was spent in it, for the checks that hold it against a budget."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from typing import NamedTuple

from pipelines.checks import Asked, State
from pipelines.wording import counted, exact, money
from pipelines.zones import begins, local

WARN_AT = Decimal("0.8")  # of the month's budget
LEAST_DAYS = 3  # whole ones, before their pace says anything


class Month(NamedTuple):
    """A month from its first day to `today`, and which share of it has passed."""

    first: date
    today: date
    passed: float

    def told(self, spent: Decimal, unit: str) -> str:
        """Return what was spent in it, and where that leads."""
        write = partial(money, currency=unit) if unit != "credits" else exact
        message = f"{write(spent)}{' credits' if unit == 'credits' else ''} spent in {self.first:%Y-%m}"
        if self.today.day <= LEAST_DAYS:
            return message
        pace = (spent / Decimal(self.passed)).quantize(Decimal(1))
        return f"{message}, {write(pace)} by its end at this pace"


def month(asked: Asked) -> Month:
    """Return the running month, in the zone whose days count."""
    zone = asked.settings.timezone
    today = local(asked.connection, asked.now, zone).date()
    first = today.replace(day=1)
    begun, over = (begins(asked.connection, day, zone) for day in (first, (first + timedelta(days=32)).replace(day=1)))
    return Month(first, today, (asked.now - begun) / (over - begun))


def credits_spent(asked: Asked, running: Month) -> tuple[Decimal, str]:
    """Return the credits spent in a month, and what there is to say of them."""
    [(spent, unknown)] = asked.rows(
        """
        select coalesce(sum(credits), 0), count(*) filter (where is_cost_unknown)
        from reports.jobs where {local_day(created_at)} between $first and $today
        """,
        first=running.first,
        today=running.today,
    )
    message = running.told(spent, "credits")
    return spent, f"{message}, without {counted(unknown, 'job')} of unknown cost" if unknown else message


def state(spent: Decimal, budget: Decimal, running: Month) -> State:
    """Return how a budget stands; 0 is none.

    A warning at 80 % of it, or where the month would end above it at the pace of its days so far, once there are three.
    """
    if not budget:
        return "ok"
    if spent >= budget:
        return "breached"
    ends_above = running.today.day > LEAST_DAYS and float(spent) / running.passed > budget
    return "warning" if spent >= WARN_AT * budget or ends_above else "ok"
