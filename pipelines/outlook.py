"""What the days to come will likely cost, judged by those that are over: one rule for month, budget and run-out.

A day is expected to cost the mean of its weekday in the last four weeks. Where the last seven days stand out from them,
by three standard errors, the weekdays keep their proportions, and a week costs what the last one did. Decides from
figures alone. `reports.month_end` says the same in SQL, `tests/judge/months.py` how well it does beside other rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from math import sqrt
from statistics import fmean
from typing import NamedTuple

DAYS = 56  # of history that count, for the range; for the pace the newest 28: each weekday four times
PACE = 28
WEEK = 7
LEAST = 7  # days of history that tell anything
TOLD_APART = 14  # days of history from which on a weekday has a mean of its own: each was there twice
ROUNDING = 1e-6  # of the mean: less is no news
STANDS_OUT = 3  # standard errors
#: Quantile of Student's t, 90 %: a tenth lies beyond, on either side. By degrees of freedom, from one on.
STUDENT = (3.078, 1.886, 1.638, 1.533, 1.476, 1.440, 1.415, 1.397, 1.383, 1.372, 1.363, 1.356)

Spent = Sequence[tuple[date, Decimal]]


class Left(NamedTuple):
    """Credits that will be left, or spent, at the end of a day: as expected, and but for a tenth on either side."""

    day: date
    low: float
    expected: float
    high: float


class Outlook(NamedTuple):
    """What a day will cost. `by_weekday` is from Monday on, all the same where they cannot be told apart."""

    by_weekday: tuple[float, ...]
    days: int  # that the pace rests on: 28, fewer while history is young, 7 where the last week stands out
    is_new: bool  # the last week stands out
    variance: float  # of a day that comes
    quantile: float

    @property
    def per_day(self) -> float:
        """Mean of a week's days."""
        return fmean(self.by_weekday)

    def ahead(self, at: datetime, until: date) -> list[Left]:
        """Return what will be spent from `at` to the end of each day before `until`, the rest of today first.

        The range is that of a sum of independent days, whose mean is not known but estimated from `days` of them
        (Montgomery, Peck, Vining: Introduction to Linear Regression Analysis, prediction of new observations). It does
        not go below nothing.
        """
        path: list[Left] = []
        passed = (60 * at.hour + at.minute) / 1440
        spent = 0.0
        for number in range((until - at.date()).days):
            day = at.date() + timedelta(days=number)
            spent += self.by_weekday[day.weekday()] * (1.0 if number else 1 - passed)
            ahead = number + 1 - passed
            off = self.quantile * sqrt(self.variance * (ahead + ahead**2 / self.days))
            path.append(Left(day, max(0.0, spent - off), spent, spent + off))
        return path


def outlook(spent: Spent, today: date) -> Outlook | None:
    """Return what a day will cost from `today` on, None where fewer than 7 days tell of it.

    `spent` holds every day that is known without a gap, one without jobs too; the 56 before `today` count, in whole
    weeks from 14 on.
    """
    costs = [float(cost) for day, cost in sorted(spent, reverse=True) if 0 < (today - day).days <= DAYS]
    if len(costs) < LEAST:
        return None
    if len(costs) < TOLD_APART:
        level = fmean(costs)
        return Outlook((level,) * WEEK, len(costs), False, *_range(costs, level))
    weeks = [sum(costs[start : start + WEEK]) for start in range(0, len(costs) - WEEK + 1, WEEK)]  # the newest first
    lately = costs[: min(PACE, WEEK * len(weeks))]
    means = [fmean(lately[place::WEEK]) for place in range(WEEK)]
    mean, last = fmean(means), weeks[0] / WEEK
    by_chance = STANDS_OUT**2 * _chance(lately) * (1 / WEEK - 1 / len(lately))
    is_new = (last - mean) ** 2 > by_chance + (ROUNDING * mean) ** 2
    scale = last / mean if is_new else 1.0
    newest = today.weekday() - 1
    by_weekday = tuple(scale * means[(newest - weekday) % WEEK] for weekday in range(WEEK))
    days = WEEK if is_new else len(lately)
    # What is new would count as chance in every week before it.
    return Outlook(by_weekday, days, is_new, *_range(weeks, fmean(weeks) if is_new else WEEK * mean, WEEK))


def gapless(spent: Mapping[date, Decimal], since: date, today: date) -> Spent:
    """Return each day from `since` to the one before `today`, with nothing where it is not among those of `spent`."""
    days = (since + timedelta(days=number) for number in range((today - since).days))
    return [(day, spent.get(day, Decimal(0))) for day in days]


def _chance(costs: Sequence[float]) -> float:
    """Return the variance of a day, by what lies between it and its weekday a week before: a trend adds little."""
    return fmean((new - old) ** 2 for new, old in zip(costs, costs[WEEK:], strict=False)) / 2


def _range(sums: Sequence[float], expected: float, days: int = 1) -> tuple[float, float]:
    """Return the variance of a day, by how far sums of so many days lay from what was expected, and the quantile.

    Weeks show what days hide: that the level wanders.
    """
    freedom = len(sums) - 1
    return sum((each - expected) ** 2 for each in sums) / freedom / days, STUDENT[freedom - 1]
