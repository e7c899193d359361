"""What days to come will cost: cases by hand, and the view that says the same in SQL."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from random import Random

import pytest
from reports.tables import base_tables, insert

from pipelines.outlook import gapless, outlook
from pipelines.reports import create_views

TODAY = date(2024, 4, 15)  # a Monday
NOON = datetime(2024, 4, 15, 12)  # noqa: DTZ001 - clocks of the zone
MAY = date(2024, 5, 1)
WEEK = (10, 10, 10, 10, 10, 2, 0)  # from Monday on


def days(*costs: float) -> list[tuple[date, Decimal]]:
    """The days before today, the last cost that of yesterday."""
    return [(TODAY - timedelta(days=ago), Decimal(str(cost))) for ago, cost in enumerate(reversed(costs), 1)]


def test_each_weekday_costs_its_mean_of_four_weeks() -> None:
    found = outlook(days(*[cost * times for times in (9, 1, 2, 1, 2) for cost in WEEK]), TODAY)
    assert found
    assert found.by_weekday == (15, 15, 15, 15, 15, 3, 0)
    assert (found.days, found.is_new) == (28, False)
    [today, tomorrow, *_] = found.ahead(NOON, MAY)
    assert (today.day, today.expected, tomorrow.expected) == (TODAY, 7.5, 22.5), "half of today is still to come"
    assert len(found.ahead(NOON, MAY)) == 16
    assert found.ahead(NOON, TODAY) == []


def test_the_range_widens_and_never_goes_below_nothing() -> None:
    found = outlook(days(*[cost * times for times in (3, 1, 2, 1, 2) for cost in WEEK]), TODAY)
    assert found
    path = found.ahead(NOON, MAY)
    assert all(this.high - this.expected > last.high - last.expected for last, this in pairwise(path))
    assert path[0].low == 0
    assert all(0 <= day.low <= day.expected for day in path)


def test_a_steady_account_has_no_range() -> None:
    found = outlook(days(*[0.1] * 56), TODAY)
    assert found
    assert (found.is_new, found.per_day) == (False, pytest.approx(0.1))
    [*_, end] = found.ahead(NOON, MAY)
    assert (end.low, end.high) == (pytest.approx(1.55), pytest.approx(1.55))


@pytest.mark.parametrize(
    ("last", "is_new"), [(2, True), (0, True), (0.5, True), (1.1, False), (0.95, False)], ids=lambda value: str(value)
)
def test_a_last_week_that_stands_out_beyond_chance_goes_on(last: float, is_new: bool) -> None:
    luck = Random(3)
    weeks = [[cost * (luck.gauss(1, 0.2) if place < 7 else last) for cost in WEEK] for place in range(8)]
    found = outlook(days(*[cost for week in weeks for cost in week]), TODAY)
    assert found
    assert (found.is_new, found.days) == (is_new, 7 if is_new else 28)
    if is_new:
        assert found.per_day == pytest.approx(last * sum(WEEK) / 7)
        assert found.by_weekday[6] == 0, "the weekdays keep their proportions"


def test_a_single_dear_day_does_not_stand_out() -> None:
    costs = [10.0] * 56
    costs[-3] = 10_000
    found = outlook(days(*costs), TODAY)
    assert found
    assert not found.is_new


@pytest.mark.parametrize("known", [0, 6, 7, 13, 14, 20, 21])
def test_young_history_counts_in_whole_weeks_once_there_are_two(known: int) -> None:
    found = outlook(days(*([1, 2, 3, 4, 5, 6, 7] * 3)[-known:] if known else []), TODAY)
    if known < 7:
        assert found is None
        return
    assert found
    assert found.days == (known if known < 14 else known // 7 * 7)
    assert (len(set(found.by_weekday)) > 1) == (known >= 14)


def test_days_without_jobs_cost_nothing_and_older_ones_do_not_count() -> None:
    spent = {TODAY - timedelta(days=3): Decimal(28), TODAY: Decimal(99)}
    found = outlook(gapless(spent, TODAY - timedelta(days=90), TODAY), TODAY)
    assert found
    assert found.per_day == 1


def drawn(luck: Random) -> list[list[int]]:
    """The costs of some models by day: with weekdays, seldom used, launched late, or changed for good."""
    models = []
    for place in range(6):
        level, start, change = luck.choice([0.3, 20, 400]), luck.choice([0, 0, 53, 63, 70, 85]), luck.choice([1, 0, 3])
        shape = [1, 1, 1.2, 1, 0.9, 0.3, luck.choice([0, 0.2])] if place % 2 else [1] * 7
        factors = [shape[day % 7] * (change if day >= 80 else 1) * (day >= start) for day in range(90)]
        models.append([int(luck.gauss(1, 0.15) * level * factor + luck.random()) for factor in factors])
    return models


@pytest.mark.parametrize("seed", range(4))
def test_the_view_says_the_same_of_every_model_and_of_all(seed: int) -> None:
    luck = Random(seed)
    models, now = drawn(luck), datetime(2024, luck.choice([2, 4, 7]), luck.choice([1, 10, 28]), 9, 30, tzinfo=UTC)
    begun = now - timedelta(days=89)
    with base_tables() as connection:
        rows = [
            (f"{model}-{day}", f"m{model}", cost, begun + timedelta(days=day))
            for model, costs in enumerate(models)
            for day, cost in enumerate(costs)
            if cost
        ]
        cells = "id, status, model, credit_cost, created_at"
        connection.executemany(f"insert into apiframe.jobs ({cells}) values ($1, 'COMPLETED', $2, $3, $4)", rows)
        insert(connection, "sync_runs", [{"started_at": now.isoformat()}])
        create_views(connection, "UTC")
        found = connection.execute(
            "select is_total, model, so_far, expected_rest, low, high, paced_by_days, is_young from reports.month_end"
        ).fetchall()
    assert len(found) > 2
    for is_total, model, *figures in found:
        costs = [sum(each) for each in zip(*models, strict=True)] if is_total else models[int(model[1:])]
        assert figures == pytest.approx(expected(costs, begun.date(), now.replace(tzinfo=None)), rel=1e-9), model


def expected(costs: Sequence[int], first: date, now: datetime) -> list[float | None]:
    """What the view has to say, by the rule in Python."""
    spent = {first + timedelta(days=day): Decimal(cost) for day, cost in enumerate(costs) if cost}
    month = now.date().replace(day=1)
    so_far = float(sum(cost for day, cost in spent.items() if day >= month))
    found = outlook(gapless(spent, min(spent) + timedelta(days=1), now.date()), now.date())
    if found is None:
        return [so_far, None, None, None, None, True]
    [*_, end] = found.ahead(now, (month + timedelta(days=32)).replace(day=1))
    return [so_far, end.expected, so_far + end.low, so_far + end.high, found.days, False]
