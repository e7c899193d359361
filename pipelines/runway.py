"""How long the credits that are left will last: until which day, and how sure that is.

It is how long they last if spending goes on as in the last four weeks, without a renewal or a top-up. Decides from
figures alone; `pipelines.reports.spending` asks a warehouse for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from math import sqrt
from typing import Literal, NamedTuple

from pipelines.wording import counted, number

DAYS = 28  # of history that count: each weekday four times
LEAST = 7  # days of history that tell anything
TOLD_APART = 14  # days of history from which on a weekday has a mean of its own: each was there twice
YEAR = 365  # days ahead; what lies beyond is not told
QUANTILE = 1.2815515655446004  # of the normal distribution, 90 %: a tenth lies beyond, on either side

Verdict = Literal["unknown", "too young", "ended", "ends", "not within a year"]
Spent = Sequence[tuple[date, Decimal]]


class Left(NamedTuple):
    """Credits that will be left at the end of a day: as expected, and but for a tenth of luck on either side."""

    day: date
    low: float
    expected: float
    high: float


STALE = timedelta(days=1)  # a balance that was read longer ago says so


class Runway(NamedTuple):
    """How long credits last from `at` on, a moment in the zone whose days count.

    With a chance of 80 % they end from `earliest` to `latest`, both included. An end that is null is not within a year.
    """

    verdict: Verdict
    at: datetime
    credits_left: Decimal | None = None
    credits_per_day: Decimal | None = None  # mean of the days of history
    days: int = 0  # of history
    ends_on: date | None = None
    earliest: date | None = None
    latest: date | None = None
    by_weekday: tuple[Decimal, ...] = ()  # mean credits from Monday on; none where they cannot be told apart
    path: tuple[Left, ...] = ()  # each day from that of `at` on, for a year
    problem: str = ""  # why it is unknown
    scope: str = "team"  # whose jobs count: with "user" the user's own, though the credits are the team's
    jobs_cost_unknown: int = 0  # jobs of these days that the spending lacks
    read_at: datetime | None = None  # when the balance was read


def forecast(left: Decimal | None, at: datetime, spent: Spent) -> Runway:
    """Return how long `left` credits last from `at` on, with what was spent on each whole day before.

    `spent` holds every day that is known, one without jobs too; the 28 before the day of `at` count. Each day to come
    is expected to cost the mean of its weekday (of all days, where there are less than 14). The range is the usual
    prediction interval of a sum of independent days (Montgomery, Peck, Vining: Introduction to Linear Regression
    Analysis, prediction of new observations): the chance of each day to come, and that the means of so few days are
    off, with Student's t since the variance is estimated too. Its ends are rounded to whole days.
    """
    today = at.date()
    history = _lately(spent, today)
    known = Runway("unknown", at, left, days=len(history))
    if left is None:
        return known
    if left <= 0:
        return known._replace(verdict="ended", ends_on=today, earliest=today, latest=today)
    if len(history) < LEAST:
        return known._replace(verdict="too young")
    groups = _weekdays(history) if len(history) >= TOLD_APART else [[cost for _, cost in history]]
    total = sum((cost for _, cost in history), Decimal(0))
    known = known._replace(
        verdict="not within a year",
        credits_per_day=_mean([total], len(history)),
        by_weekday=tuple(_mean(group, len(group)) for group in groups) if len(groups) == 7 else (),
    )
    if total <= 0:
        return known
    path = _path(float(left), at, [[float(cost) for cost in group] for group in groups])
    ends_on = next((day.day for day in path if day.expected <= 0), None)
    earliest, latest = _range(path, float(left), ends_on)
    verdict: Verdict = "ends" if ends_on else "not within a year"
    return known._replace(verdict=verdict, ends_on=ends_on, earliest=earliest, latest=latest, path=tuple(path))


def spending_ahead(at: datetime, spent: Spent, until: date) -> list[Left]:
    """Return what will be spent from `at` to the end of each day before `until`, as `forecast` expects it.

    `spent` holds every day that is known, at least 7 of the 28 before that of `at`.
    """
    history = _lately(spent, at.date())
    groups = _weekdays(history) if len(history) >= TOLD_APART else [[cost for _, cost in history]]
    path = _path(0.0, at, [[float(cost) for cost in group] for group in groups])
    return [Left(day, max(0.0, -high), -left, -low) for day, low, left, high in path if day < until]


def _lately(spent: Spent, today: date) -> Spent:
    return [(day, cost) for day, cost in spent if timedelta(0) < today - day <= timedelta(days=DAYS)]


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


def _path(left: float, at: datetime, groups: list[list[float]]) -> list[Left]:
    """Return what is left at the end of each day of a year, the rest of today first. Groups are weekdays, or one."""
    means = [sum(group) / len(group) for group in groups]
    freedom = sum(map(len, groups)) - len(groups)
    squares = sum((cost - mean) ** 2 for group, mean in zip(groups, means, strict=True) for cost in group)
    width = _student(freedom) * sqrt(squares / freedom)
    path, times, spent, chance, doubt = [], [0.0] * len(groups), 0.0, 0.0, 0.0
    for ahead in range(YEAR + 1):
        day = at.date() + timedelta(days=ahead)
        share = 1.0 if ahead else 1 - (at.hour * 3600 + at.minute * 60 + at.second) / 86400
        group = day.weekday() % len(groups)
        # Of the variance of the sum: one a day that comes, and that of a mean as often squared as it is used.
        chance += share
        doubt += ((times[group] + share) ** 2 - times[group] ** 2) / len(groups[group])
        times[group] += share
        spent += share * means[group]
        off = width * sqrt(chance + doubt)
        path.append(Left(day, left - spent - off, left - spent, left - spent + off))
    return path


def _range(path: Sequence[Left], left: float, ends_on: date | None) -> tuple[date | None, date | None]:
    """Return the first and the last day of the range, rounded: a day counts where the range reaches its middle."""
    before = (Left(path[0].day, left, left, left), *path)
    noons = [(this.day, (last.low + this.low) / 2, (last.high + this.high) / 2) for last, this in pairwise(before)]
    first = next((day for day, low, _ in noons if low <= 0), None)
    beyond = next((day for day, _, high in noons if high <= 0), None)
    if ends_on is None:
        return first, None
    return min(first or ends_on, ends_on), beyond and max(beyond - timedelta(days=1), ends_on)


def _weekdays(history: Spent) -> list[list[Decimal]]:
    return [[cost for day, cost in history if day.weekday() == weekday] for weekday in range(7)]


def _student(freedom: int) -> float:
    """Return the quantile of Student's t that belongs to QUANTILE (Abramowitz, Stegun 26.7.5; to 0.002 from 6 on)."""
    z = QUANTILE
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def _mean(costs: Sequence[Decimal], count: int) -> Decimal:
    return (sum(costs, Decimal(0)) / count).quantize(Decimal("0.0001"))
