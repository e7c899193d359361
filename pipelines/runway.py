"""How long the credits that are left will last: until which day, and how sure that is.

It is how long they last if spending goes on as `pipelines.outlook` expects it, without a renewal or a top-up. Decides
from figures alone; `pipelines.reports.spending` asks a warehouse for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Literal, NamedTuple

from pipelines.outlook import LEAST, TOLD_APART, Left, Spent, outlook
from pipelines.wording import counted, number

YEAR = 365  # days ahead; what lies beyond is not told

Verdict = Literal["unknown", "too young", "ended", "ends", "not within a year"]


STALE = timedelta(days=1)  # a balance that was read longer ago says so


class Runway(NamedTuple):
    """How long credits last from `at` on, a moment in the zone whose days count.

    With a chance of 80 % they end from `earliest` to `latest`, both included. An end that is null is not within a year.
    """

    verdict: Verdict
    at: datetime
    credits_left: Decimal | None = None
    credits_per_day: Decimal | None = None  # expected: the mean of these days
    days: int = 0  # of history, those that the pace rests on
    ends_on: date | None = None
    earliest: date | None = None
    latest: date | None = None
    by_weekday: tuple[Decimal, ...] = ()  # expected, from Monday on; none where they cannot be told apart
    path: tuple[Left, ...] = ()  # each day from that of `at` on, for a year
    problem: str = ""  # why it is unknown
    scope: str = "team"  # whose jobs count: with "user" the user's own, though the credits are the team's
    jobs_cost_unknown: int = 0  # jobs of these days that the spending lacks
    read_at: datetime | None = None  # when the balance was read


def forecast(left: Decimal | None, at: datetime, spent: Spent) -> Runway:
    """Return how long `left` credits last from `at` on, with what was spent on each whole day before.

    `spent` holds every day that is known, one without jobs too; `pipelines.outlook` says which count, and how. The ends
    of the range are rounded to whole days.
    """
    today = at.date()
    known = Runway("unknown", at, left, days=sum(day < today for day, _ in spent))
    if left is None:
        return known
    if left <= 0:
        return known._replace(verdict="ended", ends_on=today, earliest=today, latest=today)
    found = outlook(spent, today)
    if found is None:
        return known._replace(verdict="too young")
    are_told_apart = known.days >= TOLD_APART
    known = known._replace(
        verdict="not within a year",
        credits_per_day=_rounded(found.per_day),
        days=found.days,
        by_weekday=tuple(map(_rounded, found.by_weekday)) if are_told_apart else (),
    )
    if not found.per_day and not found.variance:
        return known
    ahead = found.ahead(at, today + timedelta(days=YEAR + 1))
    path = [Left(day, float(left) - high, float(left) - each, float(left) - low) for day, low, each, high in ahead]
    ends_on = next((day.day for day in path if day.expected <= 0), None)
    earliest, latest = _range(path, float(left), ends_on)
    verdict: Verdict = "ends" if ends_on else "not within a year"
    return known._replace(verdict=verdict, ends_on=ends_on, earliest=earliest, latest=latest, path=tuple(path))


def sentence(found: Runway) -> str:
    """Return what was found, as one line without its full stop."""
    if found.verdict == "unknown":
        return f"unknown: {found.problem}"
    if found.verdict == "ended":
        return "no credits are left"
    if found.verdict == "too young":
        return f"too young to tell: the jobs cover {counted(found.days, 'whole day')}, and it takes {LEAST}"
    jobs = f"{'your own jobs' if found.scope == 'user' else 'the jobs'} of {counted(found.days, 'day')}"
    if found.jobs_cost_unknown:
        jobs += f", without {found.jobs_cost_unknown:,} of unknown cost"
    stale = found.read_at is not None and found.at - found.read_at > STALE
    read = f", by a balance read on {found.read_at:%Y-%m-%d}" if stale else ""
    pace = f"at {number(found.credits_per_day, 1)} credits a day ({jobs}{read})"
    if found.ends_on:
        return f"until {found.ends_on} (80 % range: {found.earliest} to {found.latest or 'beyond a year'}) {pace}"
    early = f"; perhaps on {found.earliest} already (80 % range)" if found.earliest else ""
    return f"not used up within a year {pace}{early}"


def _range(path: Sequence[Left], left: float, ends_on: date | None) -> tuple[date | None, date | None]:
    """Return the first and the last day of the range, rounded: a day counts where the range reaches its middle."""
    before = (Left(path[0].day, left, left, left), *path)
    noons = [(this.day, (last.low + this.low) / 2, (last.high + this.high) / 2) for last, this in pairwise(before)]
    first = next((day for day, low, _ in noons if low <= 0), None)
    beyond = next((day for day, _, high in noons if high <= 0), None)
    if ends_on is None:
        return first, None
    return min(first or ends_on, ends_on), beyond and max(beyond - timedelta(days=1), ends_on)


def _rounded(amount: float) -> Decimal:
    return Decimal(amount).quantize(Decimal("0.0001"))
