"""The running calendar month, what was spent in it and how it will end, for the checks that hold it to a budget."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from typing import NamedTuple

from pipelines.checks import Asked, State
from pipelines.outlook import DAYS, Left, gapless, outlook
from pipelines.reports import queries
from pipelines.wording import counted, exact, money
from pipelines.zones import local

WARN_AT = Decimal("0.8")  # of the month's budget


class Month(NamedTuple):
    """A month from its first day to `today`, and the credits that its rest is expected to cost.

    These are None while history is young, or ended before the month began.
    """

    first: date
    today: date
    rest: Left | None

    def told(self, spent: Decimal, unit: str, rate: float | None = 1) -> str:
        """Return what was spent in it, and where that leads where a credit costs `rate`, or that is not known."""
        write = exact if unit == "credits" else partial(money, currency=unit)
        message = f"{write(spent)}{' credits' if unit == 'credits' else ''} spent in {self.first:%Y-%m}"
        if self.rest is None or not self.rest.high or rate is None:
            return message
        digits = Decimal(1) if unit == "credits" else Decimal("0.01")
        low, total, high = (write(spent + Decimal(rate * each).quantize(digits)) for each in self.rest[1:])
        return f"{message}, {total} expected by its end (80 % range: {low} to {high})"

    def state(self, spent: Decimal, budget: Decimal, rate: float | None = 1) -> State:
        """Return how a budget stands; 0 is none.

        A warning at 80 % of it, or where the month is expected to end above it.
        """
        if not budget:
            return "ok"
        if spent >= budget:
            return "breached"
        ends_above = self.rest is not None and rate is not None and float(spent) + rate * self.rest.expected > budget
        return "warning" if spent >= WARN_AT * budget or ends_above else "ok"


def month(asked: Asked) -> Month:
    """Return the running month, in the zone whose days count."""
    today = local(asked.connection, asked.now, asked.settings.timezone).date()
    first = today.replace(day=1)
    return Month(first, today, _rest(asked, first, (first + timedelta(days=32)).replace(day=1)))


def _rest(asked: Asked, first: date, over: date) -> Left | None:
    at = queries.known_until(asked.connection, asked.now, asked.settings.timezone)
    if at.date() < first:
        return None
    since = at.date() - timedelta(days=DAYS)
    spent = dict(
        asked.rows(
            """
            select {local_day(created_at)} as day, coalesce(sum(credits), 0) from reports.jobs
            where {local_day(created_at)} between $since and $last group by 1
            """,
            since=since,
            last=at.date() - timedelta(days=1),
        )
    )
    # The oldest day of all may be no whole one.
    if not asked.rows("select 1 from reports.jobs where {local_day(created_at)} < $since limit 1", since=since):
        since = min(spent, default=at.date()) + timedelta(days=1)
    found = outlook(gapless(spent, since, at.date()), at.date())
    return found.ahead(at, over)[-1] if found else None


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
