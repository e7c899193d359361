"""The rules that one writes in five minutes, and two of statsforecast: a score for each day, from its past alone.

A score says how unusual a day is above; what counts as an alarm is a threshold that the judge gives each rule.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from worlds import YOUNG, Series

Scores = npt.NDArray[np.float64]
NINE_TENTHS = 1.2815515655446004  # quantile of the normal distribution: half of an 80 % range, in deviations
REFIT = 28  # days between two fits of a model of statsforecast; on the days between it goes on with new data


def _past(series: Series, days: int) -> Scores:
    """Return the days before each day, the last one last; nan before the first."""
    return sliding_window_view(np.concatenate([np.full(days, np.nan), series.credits]), days)[:-1]


def _job(series: Series) -> float:
    """Return what one job costs: a rule that divides by nothing would be unfair to it."""
    return float(series.credits.sum() / max(series.jobs.sum(), 1))


def mean_of_seven(series: Series) -> Scores:
    """So many times the mean of the seven days before."""
    return (series.credits + _job(series)) / (_past(series, 7).mean(axis=1) + _job(series))


def z_of_thirty(series: Series) -> Scores:
    """So many standard deviations of thirty days above their mean."""
    past = _past(series, 30)
    return (series.credits - past.mean(axis=1)) / np.maximum(past.std(axis=1, ddof=1), _job(series))


def mad_of_thirty(series: Series) -> Scores:
    """So many median absolute deviations of thirty days above their median."""
    past = _past(series, 30)
    middle = np.median(past, axis=1)
    spread = 1.4826 * np.median(np.abs(past - middle[:, None]), axis=1)
    return (series.credits - middle) / np.maximum(spread, np.maximum(middle / 20, _job(series)))


def seasonal_naive(series: Series) -> Scores:
    """So many deviations, of 28 such differences, above the same weekday of last week."""
    difference = series.credits - _past(series, 7)[:, 0]
    before = sliding_window_view(np.concatenate([np.full(28, np.nan), difference]), 28)[:-1]
    return difference / np.maximum(before.std(axis=1), _job(series))


def trend_of_thirty(series: Series) -> Scores:
    """So many deviations above the line through thirty days."""
    past, at = _past(series, 30), np.arange(30) - 14.5
    mean, slope = past.mean(axis=1), past @ at / (at @ at)
    off = past - mean[:, None] - slope[:, None] * at
    return (series.credits - mean - 15.5 * slope) / np.maximum(off.std(axis=1, ddof=2), _job(series))


SIMPLE: dict[str, Callable[[Series], Scores]] = {
    "7-day mean": mean_of_seven,
    "z on 30 days": z_of_thirty,
    "median/MAD on 30 days": mad_of_thirty,
    "seasonal naive": seasonal_naive,
    "linear trend": trend_of_thirty,
}


def of_statsforecast(name: str, series: Sequence[Series]) -> list[Scores]:
    """Return how many deviations, by the model's own interval, each day lies above its forecast of the day before."""
    from statsforecast import StatsForecast, models

    model = {"AutoETS": models.AutoETS(season_length=7), "MSTL": models.MSTL(season_length=7)}[name]
    scores = []
    for days, group in groupby(series, key=lambda each: len(each.jobs)):  # as they come: accounts of one length
        alike = list(group)
        frame = pd.DataFrame(
            {
                "unique_id": np.repeat(np.arange(len(alike)), days),
                "ds": np.tile(np.arange(days), len(alike)),
                "y": np.concatenate([each.credits for each in alike]),
            }
        )
        found = StatsForecast(models=[model], freq=1).cross_validation(
            df=frame, h=1, step_size=1, n_windows=days - YOUNG, refit=REFIT, level=[80]
        )
        spread = (found[f"{name}-hi-80"] - found[name]) / NINE_TENTHS
        above = np.full((len(alike), days), np.nan)
        above[found["unique_id"].to_numpy(int), found["ds"].to_numpy(int)] = (found["y"] - found[name]) / spread
        scores.extend(above)
    return scores


def main() -> None:
    """Score pickled series in a Python of its own: statsforecast wants an older pandas than this project."""
    name, given, target = sys.argv[1:]
    series = [Series(**fields) for fields in pickle.loads(Path(given).read_bytes())]
    Path(target).write_bytes(pickle.dumps(of_statsforecast(name, series)))


if __name__ == "__main__":
    main()
