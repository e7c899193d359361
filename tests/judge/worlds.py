"""Accounts to judge forecasts on: jobs, failures and credits by day and model.

Drawn ones of many kinds, and real ones that packages ship: flights a day by carrier, cancelled ones as failures, and
the orders of a shop, as heavy-tailed money. In what is drawn nothing is wrong, unless `planted` put it there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Amounts = npt.NDArray[np.float64]

FIRST = date(2025, 1, 1)  # of every drawn account
DAYS = 365
YOUNG = 42  # days from a model's first job on that nobody is judged by: six of each weekday
APART = (21, 35)  # days from one planted day to the next
STEP_DAYS = 14  # that a planted step lasts


@dataclass(frozen=True)
class Series:
    """What a model of an account made each day from `first` on, in whole numbers of jobs and exact cents of credits.

    `judged` are the days on which an alarm is a false one, where nothing is planted.
    """

    account: str
    model: str
    kind: str
    first: date
    jobs: Counts
    failed: Counts
    credits: Amounts
    judged: npt.NDArray[np.bool_]

    @property
    def days(self) -> list[date]:
        """Its days."""
        return [self.first + timedelta(days=place) for place in range(len(self.jobs))]


class Planted(NamedTuple):
    """What is wrong with a series from one day on, for some days; `size` times what the days would have cost."""

    kind: Literal["spike", "dip", "step", "leak", "failures"]
    size: float
    place: int
    days: int


def drawn(kind: str, seed: int) -> list[Series]:
    """Return an account of this kind: some models of different size."""
    draw = np.random.default_rng([list(KINDS).index(kind), seed])
    account = f"{kind} {seed}"
    return [_series(account, f"model-{place}", kind, draw) for place in range(int(draw.integers(3, 7)))]


def _series(account: str, model: str, kind: str, draw: np.random.Generator) -> Series:
    days = np.arange(DAYS)
    price = float(draw.choice([1, 2, 4, 5, 8, 10, 12.5, 25, 50]))
    level = float(np.exp(draw.normal(np.log(120), 1)))
    growth = np.exp(draw.normal(0.1, 0.4) * days / DAYS)
    usual = level * growth * (1 + draw.normal(0, 0.03, DAYS)).clip(0.5)
    mean, judged = KINDS[kind](usual, days, draw)
    judged &= days >= _first(mean) + YOUNG
    mean = np.maximum(mean, 0)
    spread = draw.uniform(0.002, 0.02)  # how much more than chance a day's count varies
    jobs = draw.poisson(mean * draw.gamma(1 / spread, spread, DAYS)).astype(np.int64)
    failed = draw.binomial(jobs, draw.uniform(0.01, 0.08)).astype(np.int64)
    dear = draw.binomial(jobs, draw.uniform(0, 0.3))  # a setting that costs four times as much
    return Series(account, model, kind, FIRST, jobs, failed, (jobs + 3 * dear) * price, judged)


def _first(mean: Amounts) -> int:
    return int(np.argmax(mean > 0))


def _smooth(usual: Amounts, days: Counts, draw: np.random.Generator) -> tuple[Amounts, npt.NDArray[np.bool_]]:
    return usual, days >= 0


def _weekly(usual: Amounts, days: Counts, draw: np.random.Generator) -> tuple[Amounts, npt.NDArray[np.bool_]]:
    profile = 1 + draw.normal(0, 0.1, 7)
    profile[5:] *= draw.uniform(0.1, 0.7, 2)
    return usual * profile[(days + FIRST.weekday()) % 7], days >= 0


def _bursty(usual: Amounts, days: Counts, draw: np.random.Generator) -> tuple[Amounts, npt.NDArray[np.bool_]]:
    return usual * np.exp(draw.normal(0, draw.uniform(0.3, 0.6), DAYS)), days >= 0


def _batch(usual: Amounts, days: Counts, draw: np.random.Generator) -> tuple[Amounts, npt.NDArray[np.bool_]]:
    """A job that runs once a week, or on weekdays, and now and then does not."""
    weekdays = draw.choice(7, size=int(draw.integers(1, 6)), replace=False)
    runs = np.isin((days + FIRST.weekday()) % 7, weekdays) & (draw.random(DAYS) > 0.02)
    return np.where(runs, usual * 3, usual * 0.05), days >= 0


def _launch(usual: Amounts, days: Counts, draw: np.random.Generator) -> tuple[Amounts, npt.NDArray[np.bool_]]:
    since = days - draw.integers(60, 200)
    mean, judged = _weekly(usual, days, draw)
    return np.where(since < 0, 0, mean * (1 - np.exp(-since.clip(0) / 10))), judged


def _end(usual: Amounts, days: Counts, draw: np.random.Generator) -> tuple[Amounts, npt.NDArray[np.bool_]]:
    last = int(draw.integers(200, 320))
    mean, _ = _weekly(usual, days, draw)
    return np.where(days <= last, mean, 0), days <= last


def _holidays(usual: Amounts, days: Counts, draw: np.random.Generator) -> tuple[Amounts, npt.NDArray[np.bool_]]:
    """Some single days off, and a week at the end of the year: their alarms are not false, nor asked for."""
    mean, _ = _weekly(usual, days, draw)
    off = np.isin(days, draw.choice(np.arange(70, 355), size=9, replace=False)) | (days >= DAYS - 8)
    return np.where(off, mean * draw.uniform(0.2, 0.5), mean), ~off


def _few(usual: Amounts, days: Counts, draw: np.random.Generator) -> tuple[Amounts, npt.NDArray[np.bool_]]:
    return usual / usual.mean() * draw.uniform(0.3, 4), days >= 0


def _steps(usual: Amounts, days: Counts, draw: np.random.Generator) -> tuple[Amounts, npt.NDArray[np.bool_]]:
    """A team that doubles or halves its use for good, twice: told once, and no more false after two weeks."""
    mean, _ = _weekly(usual, days, draw)
    judged = days >= 0
    for start in (int(draw.integers(90, 160)), int(draw.integers(220, 300))):
        mean = np.where(days >= start, mean * draw.choice([0.5, 1.6, 2.0]), mean)
        judged &= (days < start) | (days >= start + STEP_DAYS)
    return mean, judged


KINDS: dict[str, Callable[[Amounts, Counts, np.random.Generator], tuple[Amounts, npt.NDArray[np.bool_]]]] = {
    "smooth": _smooth,
    "weekly": _weekly,
    "bursty": _bursty,
    "batch": _batch,
    "launch": _launch,
    "end": _end,
    "holidays": _holidays,
    "few": _few,
    "steps": _steps,
}


def planted(series: Series, kind: str, size: float, seed: int) -> tuple[Series, list[Planted]]:
    """Return the series with something wrong every few weeks, and what it is; none of it on a day without jobs."""
    draw = np.random.default_rng([seed, *map(ord, series.account + series.model)])
    jobs, failed, costs = series.jobs.astype(float), series.failed.copy(), series.credits.copy()
    found: list[Planted] = []
    place = int(np.argmax(series.judged)) + int(draw.integers(*APART))
    lasts = {"step": STEP_DAYS, "leak": len(jobs), "failures": 1}.get(kind, 1)
    while place < len(jobs):
        days = slice(place, place + lasts)
        if series.judged[place] and series.jobs[place]:
            if kind == "failures":
                failed[days] = np.minimum(jobs[days], np.maximum(failed[days], 1) * size).astype(np.int64)
            else:
                jobs[days] *= size
                costs[days] = np.round(costs[days] * size, 2)
            found.append(Planted(kind, size, place, lasts))  # type: ignore[arg-type]
            if kind == "leak":
                break
        place += lasts + int(draw.integers(*APART))
    whole = np.round(jobs).astype(np.int64)
    return replace(series, jobs=whole, failed=np.minimum(failed, whole), credits=costs), found
