"""What is expected of a day, and what is said of one that is not as expected: given jobs, then what the views tell."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from reports.tables import base_tables, insert

from pipelines import settings
from pipelines.reports import configured, definitions, make_views
from pipelines.settings import Impact

Spend = Callable[..., None]
Told = Callable[..., list[tuple[Any, ...]]]
SYNCED = datetime(2024, 4, 16, 12, tzinfo=UTC)  # a Tuesday
TODAY = SYNCED.date()


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    with base_tables() as connection:
        insert(connection, "sync_runs", [{"number": 1, "started_at": SYNCED.isoformat()}])
        yield connection


@pytest.fixture
def spend(warehouse: duckdb.DuckDBPyConnection) -> Spend:
    """Jobs of so many credits, evenly over each hour of the days from `first` to `last` days ago."""

    def days(first: int, last: int, jobs: int = 24, cost: float = 5, model: str = "m", failed: int = 0) -> None:
        warehouse.execute(
            """
            insert into apiframe.jobs by name
            select
                uuid() as id, $model as model, case when i < $failed then 'FAILED' else 'COMPLETED' end as status,
                $cost as credit_cost,
                cast($midnight as timestamptz) - to_days(cast(ago as integer))
                    + to_seconds(cast((i + 0.5) * 86400 / $jobs as bigint)) as created_at
            from range($last, $first + 1) as days(ago), range($jobs) as jobs(i)
            where created_at < cast($synced as timestamptz)
            """,
            {
                "model": model,
                "failed": failed,
                "cost": cost,
                "jobs": jobs,
                "first": first,
                "last": last,
                "midnight": f"{TODAY} 00:00:00+00",
                "synced": SYNCED.isoformat(),
            },
        )

    return days


@pytest.fixture
def told(warehouse: duckdb.DuckDBPyConnection) -> Told:
    """Columns of daily_expected, of the days that meet a condition."""

    def rows(columns: str, condition: str, worth: str = "5%") -> list[tuple[Any, ...]]:
        amount = Decimal(worth.removesuffix("%"))
        impact = Impact(amount / 100, is_share=True) if worth[-1] == "%" else Impact(amount, is_share=False)
        make_views(warehouse, definitions("UTC", worth=impact), "UTC")
        query = f"select {columns} from reports.daily_expected where {condition} order by all"
        return warehouse.execute(query).fetchall()

    return rows


def day(ago: int) -> date:
    return TODAY - timedelta(days=ago)


def test_a_day_that_costs_more_is_told_with_what_was_expected(spend: Spend, told: Told) -> None:
    spend(90, 0)
    spend(1, 1)
    found = told("day, reason, actual, expected, impact, share_of_day", "is_unusual")
    assert found == [(day(1), "above", 240, 120, 120, 1)]
    assert told("count(*)", "not is_young and not is_unusual and (actual < low or actual > high)") == [(0,)]


def test_nothing_is_unusual_of_a_model_that_is_younger_than_six_weeks(spend: Spend, told: Told) -> None:
    spend(41, 2)
    spend(1, 1, jobs=400)
    assert told("bool_and(is_young), count(high), bool_or(is_unusual)", "true") == [(True, 0, False)]


def test_a_week_has_its_days(spend: Spend, told: Told) -> None:
    for ago in range(90, 0, -1):
        spend(ago, ago, jobs=4 if day(ago).weekday() >= 5 else 40)
    sunday = 2
    assert day(sunday).weekday() == 6
    assert told("actual, expected, is_unusual", f"day = date '{day(sunday)}'") == [(20, 20, False)]
    spend(sunday, sunday, jobs=20)
    assert told("actual, expected, reason", f"day = date '{day(sunday)}'") == [(120, 20, "above")]


def test_a_step_is_news_for_two_weeks_and_then_the_new_normal(spend: Spend, told: Told) -> None:
    spend(100, 31)
    spend(30, 0, jobs=60)
    found = [unusual for (unusual,) in told("day", "is_unusual")]
    assert found == [day(ago) for ago in range(30, 30 - len(found), -1)]
    assert 7 <= len(found) <= 16


def test_days_without_jobs_are_days_too_and_a_model_that_stops_is_said(spend: Spend, told: Told) -> None:
    spend(120, 0, model="other", jobs=6)
    spend(120, 60)
    assert told("count(*), min(day), max(day)", "model = 'm'") == [(61 + 28, day(120), day(32))]
    found = told("day, reason, actual, expected", "is_unusual")
    assert found[0] == (day(59), "no longer used", 0, 120)
    assert {reason for _, reason, _, _ in found} == {"no longer used"}
    assert len(found) <= 16


def test_a_new_model_is_said_for_two_weeks_once_the_account_is_known(spend: Spend, told: Told) -> None:
    spend(90, 0)
    spend(60, 0, model="early", cost=1)
    spend(20, 1, model="new", cost=1)
    found = told("day, expected, impact, reason", "is_unusual and model = 'new'")
    assert found == [(day(ago), 0, 24, "new model") for ago in range(20, 6, -1)]
    assert told("day", "is_unusual and model = 'early'") == [], "the account was as young as the model"


def test_a_new_price_is_told_from_more_jobs(spend: Spend, told: Told) -> None:
    spend(90, 3)
    spend(2, 0, cost=12.5)
    assert told("reason, count(*)", "is_unusual group by reason") == [("new price", 3)]
    spend(0, 0, jobs=12, cost=5)
    assert told("reason, count(*)", "is_unusual group by reason") == [("above", 3)], "the old one is paid still"


def test_the_day_that_runs_is_held_against_its_hours(spend: Spend, told: Told) -> None:
    spend(90, 0)
    running = "is_running, actual, expected, is_unusual"
    assert told(running, f"day = date '{TODAY}'") == [(True, 60, 60, False)]
    spend(0, 0, jobs=48)
    assert told("actual, expected, impact, reason", f"day = date '{TODAY}'") == [(180, 60, 120, "above")]


def test_what_is_known_ends_with_the_last_good_sync(spend: Spend, told: Told) -> None:
    spend(90, 0)
    assert told("max(day)", "true") == [(TODAY,)], "though it is long ago"


@pytest.mark.parametrize(("worth", "is_said"), [("5%", False), ("2%", True), ("61", False), ("60", True)])
def test_only_what_is_worth_it_is_said(spend: Spend, told: Told, worth: str, is_said: bool) -> None:
    spend(90, 0, jobs=480, model="large")
    spend(90, 2, jobs=24, cost=2.5, model="small")
    spend(1, 1, jobs=48, cost=2.5, model="small")
    found = told("deviation > 2.5, impact, is_unusual", f"model = 'small' and day = date '{day(1)}'", worth)
    assert found == [(True, 60, is_said)]


def test_a_changed_impact_takes_effect_at_the_next_sync(isolated: Path) -> None:
    views = [configured(settings.load({}, min_impact=impact)) for impact in (None, "5%", "7%", "500")]
    kept, _, *others = [found.comments for found in views]
    assert kept == views[1].comments
    assert all(kept != found for found in others), "views whose comments differ are made again"


def test_failures_count_by_their_numbers(spend: Spend, told: Told) -> None:
    spend(90, 4, jobs=50, failed=2)
    spend(3, 3, jobs=3, failed=1)
    spend(2, 2, jobs=3, failed=3)
    spend(1, 1, jobs=50, failed=12)
    found = told("day, failed, ended, cast(round(failed_expected, 1) as varchar)", "is_failing")
    assert found == [(day(2), 3, 3, "0.1"), (day(1), 12, 50, "2.1")], "one of three is nothing"
    assert told("reason", f"day = date '{day(1)}'") == [("failures",)]


def test_a_job_of_another_century_is_no_calendar(
    spend: Spend, told: Told, warehouse: duckdb.DuckDBPyConnection
) -> None:
    spend(60, 0)
    for at in ("0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T12:00:00Z"):
        insert(warehouse, "jobs", [{"id": at, "model": "m", "status": "COMPLETED", "created_at": at, "credit_cost": 1}])
    assert told("count(*), min(day), max(day)", "true") == [(61, day(60), TODAY)]


def test_episodes_are_days_in_a_row_of_the_account(
    spend: Spend, told: Told, warehouse: duckdb.DuckDBPyConnection
) -> None:
    spend(90, 0)
    spend(90, 0, model="n", cost=2)
    spend(10, 9, jobs=48)
    spend(8, 8, jobs=96, model="n", cost=2)
    spend(3, 3, jobs=48)
    insert(warehouse, "prices", [{"valid_from": "2024-01-01", "price_per_credit": "0.02", "currency": "USD"}])
    told("1", "true")
    columns = "first_day, last_day, kind, reason, model, models, impact, cost_impact, currency"
    found = warehouse.execute(f"select {columns} from reports.unusual order by first_day").fetchall()
    assert [row[:6] for row in found] == [
        (day(10), day(8), "above", "above", "m", 2),
        (day(3), day(3), "above", "above", "m", 1),
    ]
    assert [(round(impact), round(cost, 1), currency) for *_, impact, cost, currency in found] == [
        (2 * 240 + 192, Decimal("13.4"), "USD"),
        (240, Decimal("4.8"), "USD"),
    ]


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent / "judge")


@pytest.mark.usefixtures("judge")
def test_a_constant_world_raises_an_alarm_in_sixty_days_at_most_and_its_bad_day_is_named() -> None:
    from dataclasses import replace

    import warehouse as judged
    from worlds import drawn

    world = drawn("smooth", 101)
    answers = judged.expected(world)
    above = [
        flag & (impact > 0) & each.judged
        for flag, impact, each in zip(
            judged.as_flags(answers, "is_unusual"), judged.as_array(answers, "impact"), world, strict=True
        )
    ]
    assert 60 * sum(int(told.sum()) for told in above) <= sum(int(each.judged.sum()) for each in world)
    account = drawn("smooth", 101)
    bad = account[1]
    jobs, credits_spent = bad.jobs.copy(), bad.credits.copy()
    jobs[200], credits_spent[200] = 2 * jobs[200], 2 * credits_spent[200]
    account[1] = replace(bad, jobs=jobs, credits=credits_spent)
    found = judged.episodes(account)
    day = judged.day_of(bad, 200)
    [(model, impact)] = found[found["first_day"] == day][["model", "impact"]].itertuples(index=False)
    assert (model, float(impact)) == ("1", pytest.approx(bad.credits[200], rel=0.3))


@pytest.mark.usefixtures("judge")
def test_the_judge_writes_what_it_found() -> None:
    import measures
    import results
    from worlds import drawn

    made = measures.cases(drawn("smooth", 1)[:2])
    page = results.page(made, made, None, measures.Plan(1), lambda: 1.0)
    assert "| recall of x3 |" in page
    assert "| daily_expected | " in page


@pytest.mark.parametrize("seed", range(4))
def test_of_few_jobs_every_figure_is_a_number(warehouse: duckdb.DuckDBPyConnection, told: Told, seed: int) -> None:
    """Of a weekday that had a job twice in eight weeks there is no mean without the highest and the lowest."""
    warehouse.execute(
        """
        insert into apiframe.jobs by name
        select
            uuid() as id, 'm' || hash(i, $seed) % 12 as model, 'COMPLETED' as status,
            hash(i, $seed, 1) % 50 as credit_cost,
            cast($synced as timestamptz) - to_minutes(cast(hash(i, $seed, 2) % (90 * 1440) as integer)) as created_at
        from range(100) as jobs(i)
        """,
        {"seed": seed, "synced": SYNCED.isoformat()},
    )
    figures = ("expected", "low", "high", "deviation", "impact", "share_of_day", "failed_expected")
    wrong = " or ".join(f"isnan(cast({figure} as double)) or isinf(cast({figure} as double))" for figure in figures)
    assert told("day, model", "true")
    assert told("day, model", wrong) == []
