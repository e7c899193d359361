"""The running calendar month, and what was spent in it, for the checks that hold it against a budget."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo

from pipelines.checks import Asked, State
from pipelines.wording import exact, number

WARN_AT = Decimal("0.8")  # of the month's budget


class Month(NamedTuple):
    """A month from its first day to `today`, and which share of it has passed."""

    first: date
    today: date
    passed: float

    def told(self, spent: Decimal, unit: str) -> str:
        """Return what was spent in it, and where that leads."""
        message = f"{exact(spent)} {unit} spent in {self.first:%Y-%m}"
        return (
            f"{message}, {number(float(spent) / self.passed)} by its end at this pace" if self.passed > 0 else message
        )


def month(now: datetime, timezone: str) -> Month:
    """Return the month of a moment, in the zone whose days count."""
    local = now.astimezone(ZoneInfo(timezone))
    first = local.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = (first + timedelta(days=32)).replace(day=1)
    passed = (now.timestamp() - first.timestamp()) / (following.timestamp() - first.timestamp())
    return Month(first.date(), local.date(), passed)


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
    return spent, f"{message}, without {unknown:,} jobs of unknown cost" if unknown else message


def state(spent: Decimal, budget: Decimal) -> State:
    """Return how a budget stands: a warning at 80 % of it; 0 is none."""
    if not budget or spent < WARN_AT * budget:
        return "ok"
    return "breached" if spent >= budget else "warning"
