"""What is said to stand out does so by more than chance, however many groups are looked at."""

import random
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate, product
from math import comb

import numpy as np
import pandas as pd
import pytest

from pipelines.pages import Asked
from pipelines.pages.failure_rate_over_time import FailureRateOverTime
from pipelines.pages.failure_rates import FailureRates
from pipelines.reports.queries import Extent, Period
from pipelines.significance import LEVEL, above, chance

FIRST = date(2026, 11, 1)
DAYS = [FIRST + timedelta(days=day) for day in range(30)]
RATES, VOLUMES = (0.005, 0.045, 0.2), (7, 70, 700)
PERIODS = 200


def test_the_chance_is_that_of_drawing_jobs_at_random() -> None:
    draw = random.Random(1)
    for _ in range(500):
        everything = draw.randint(2, 300)
        failed, drawn = draw.randint(0, everything), draw.randint(1, everything)
        ways = [
            comb(failed, count) * comb(everything - failed, drawn - count)
            for count in range(min(failed, drawn) + 1)
            if drawn - count <= everything - failed
        ]
        least = max(0, drawn + failed - everything)
        tails = list(accumulate(reversed(ways)))[::-1]
        for count, tail in enumerate(tails, least):
            found = chance(count, drawn, failed, everything)
            above_the_mean = count * everything > failed * drawn
            assert found == (pytest.approx(tail / comb(everything, drawn), rel=1e-9) if above_the_mean else 1.0)


@pytest.mark.parametrize(
    ("groups", "found"),
    [
        ([], []),
        ([(5, 10)], [False]),  # there is nothing to compare it with
        ([(0, 0), (0, 0)], [False, False]),
        ([(0, 100), (0, 100)], [False, False]),
        ([(100, 100), (100, 100)], [False, False]),
        ([(0, 100), (8, 100)], [False, True]),
        ([(0, 100), (8, 100)] + [(0, 0)] * 1000, [False, True] + [False] * 1000),  # nothing to look at
        ([(0, 100), (8, 100)] + [(4, 100)] * 100, [False] * 102),  # of so many some day is like that
        ([(50, 100), (40, 100), (1, 100), (1, 100), (1, 100)], [True, True, False, False, False]),
        ([(300_000, 1_000_000), (310_000, 1_000_000)], [False, True]),
    ],
)
def test_what_stands_out(groups: list[tuple[int, int]], found: list[bool]) -> None:
    assert above(groups) == found


def quiet(draw: np.random.Generator, rate: float, volume: int, groups: int) -> list[tuple[int, int]]:
    """A period in which nothing happened: volumes differ, the rate does not."""
    ended = draw.poisson(volume * draw.uniform(0.2, 1.8, groups))
    return list(zip(draw.binomial(ended, rate).tolist(), ended.tolist(), strict=True))


def sentence(counts: list[tuple[int, int]], by: str) -> str:
    """What the page says of them, by day or by model."""
    data = pd.DataFrame(counts, columns=["failed", "ended"])
    data = data.assign(
        **{by: DAYS if by == "day" else [f"model-{place}" for place in data.index]},
        failure_rate=data["failed"] / data["ended"],
        failure_rate_low=data["failed"] / data["ended"],
    )
    models = pd.Series([f"model-{place}" for place in data.index])
    known = Extent(FIRST, DAYS[-1], None, models=models, appeared=models, zones=[], scopes={})
    asked = Asked(Period(FIRST, DAYS[-1]), "day", datetime.now(UTC), known)
    section = FailureRateOverTime if by == "day" else FailureRates
    return section(asked, data[data["ended"] > 0]).sentence()


@pytest.mark.parametrize("by", ["day", "model"])
def test_where_nothing_happened_at_most_one_period_in_twenty_is_told_otherwise(by: str) -> None:
    groups = {"day": 30, "model": 12}[by]
    told = {}
    for rate, volume in product(RATES, VOLUMES):
        draw = np.random.default_rng(20261128)
        said = [sentence(quiet(draw, rate, volume, groups), by) for _ in range(PERIODS)]
        assert all("stand" in each for each in said)
        told[rate, volume] = sum("No " not in each for each in said)
    # Of so many periods of each kind chance allows for a few more; of all of them together for none.
    assert max(told.values()) <= LEVEL * PERIODS + 3 * (LEVEL * (1 - LEVEL) * PERIODS) ** 0.5
    assert 0 < sum(told.values()) <= LEVEL * PERIODS * len(told)


def test_the_day_of_an_outage_is_named() -> None:
    draw = np.random.default_rng(20261128)
    for rate, volume in product(RATES, (70, 700)):
        for _ in range(50):
            counts = quiet(draw, rate, volume, 30)
            counts[17] = (volume // 2, volume)
            assert f"{DAYS[17]}" in sentence(counts, "day")
