"""How long credits last: cases by hand, worlds by the thousand, and what a warehouse tells."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random

import pytest
from support import query

from pipelines import stores
from pipelines.reports.spending import runway
from pipelines.runway import Runway, forecast, sentence
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.sync import sync

Make = Callable[..., Settings]
NOON = datetime(2024, 4, 15, 12, tzinfo=UTC)  # a Monday
WEEK = (10, 10, 10, 10, 10, 0, 0)


def days(count: int, *costs: int | str) -> list[tuple[date, Decimal]]:
    """So many days before, with these costs from Monday on, or the same each day."""
    spent = [NOON.date() - timedelta(days=ago) for ago in range(count, 0, -1)]
    return [(day, Decimal(costs[day.weekday() % len(costs)])) for day in spent]


def test_a_steady_account_ends_on_the_day_that_division_gives() -> None:
    found = forecast(Decimal("104.99"), NOON, days(28, 10))
    assert (found.verdict, found.ends_on) == ("ends", date(2024, 4, 25))
    assert (found.earliest, found.latest) == (found.ends_on, found.ends_on)
    assert (found.credits_left, found.credits_per_day) == (Decimal("104.99"), 10)
    assert forecast(Decimal(5), NOON, days(28, 10)).ends_on == NOON.date(), "half of today is still to come"
    assert forecast(Decimal("5.01"), NOON, days(28, 10)).ends_on == NOON.date() + timedelta(days=1)


def test_weekdays_are_told_apart_once_each_was_there_twice() -> None:
    found = forecast(Decimal(50), NOON, days(28, *WEEK))
    assert (found.ends_on, found.by_weekday) == (date(2024, 4, 22), WEEK), "over a week-end in which nothing is spent"
    assert (found.earliest, found.latest) == (found.ends_on, found.ends_on)
    assert forecast(Decimal(50), NOON, days(14, *WEEK)).ends_on == date(2024, 4, 22)
    young = forecast(Decimal(50), NOON, days(13, *WEEK))
    assert (young.by_weekday, young.credits_per_day) == ((), Decimal("6.9231"))
    assert young.earliest
    assert young.ends_on
    assert young.latest
    assert young.earliest < young.ends_on < young.latest


def test_only_the_last_56_whole_days_count_and_28_of_them_for_the_pace() -> None:
    before = [(NOON.date() - timedelta(days=57), Decimal(10**6)), (NOON.date(), Decimal(10**6))]
    found = forecast(Decimal(500), NOON, days(56, 10))
    assert forecast(Decimal(500), NOON, before + days(56, 10)) == found
    once_dearer = [(day, cost + 3 * (number < 28)) for number, (day, cost) in enumerate(days(56, 10))]
    wide = forecast(Decimal(500), NOON, once_dearer)
    assert (wide.ends_on, wide.days, wide.credits_per_day) == (found.ends_on, 28, 10)
    assert wide.earliest < wide.ends_on < wide.latest, "four weeks ago it was otherwise"


@pytest.mark.parametrize(
    ("left", "spent", "verdict", "said"),
    [
        (None, days(28, 10), "unknown", "unknown: "),
        ("0", days(28, 10), "ended", "no credits are left"),
        ("-0.0001", [], "ended", "no credits are left"),
        ("100", [], "too young", "too young to tell: the jobs cover 0 whole days, and it takes 7"),
        ("100", days(6, 10), "too young", "the jobs cover 6 whole days"),
        (
            "100",
            days(28, 0),
            "not within a year",
            "within a year at 0.0 credits a day (the jobs of 28 days)",
        ),
        ("0.0001", days(7, 0), "not within a year", "(the jobs of 7 days)"),
        ("3655.1", days(28, 10), "not within a year", "not used up within a year at 10.0 credits a day"),
        ("3640", days(28, 10), "ends", "until 2025-04-14 (80 % range: 2025-04-14 to 2025-04-14) at 10.0 credits a day"),
        ("99999999999999.9999", days(28, "0.0001"), "not within a year", "at 0.0 credits a day"),
    ],
)
def test_what_cannot_be_told_or_needs_no_telling(
    left: str | None, spent: list[tuple[date, Decimal]], verdict: str, said: str
) -> None:
    found = forecast(None if left is None else Decimal(left), NOON, spent)
    assert found.verdict == verdict
    assert said in sentence(found)
    assert (found.ends_on is not None) == (verdict in ("ends", "ended"))


def test_a_range_may_reach_beyond_the_year_on_either_side() -> None:
    spent = [(day, cost * (place % 2) * 2) for place, (day, cost) in enumerate(days(28, 10))]
    for left, reach in ((3600, "to beyond a year)"), (3800, "perhaps on ")):
        found = forecast(Decimal(left), NOON, spent)
        assert (found.earliest is not None, found.latest) == (True, None)
        assert reach in sentence(found)


def test_the_sentence_says_whose_jobs_count_and_what_they_lack() -> None:
    found = forecast(Decimal(50), NOON, days(21, 10))._replace(scope="user", jobs_cost_unknown=1234)
    assert sentence(found).endswith("a day (your own jobs of 21 days, without 1,234 of unknown cost)")


def steady(luck: Random, _: date) -> float:
    return luck.gammavariate(6, 20)


def weekly(luck: Random, day: date) -> float:
    return luck.gammavariate(6, 20) * (1, 1, 1.2, 1, 0.9, 0.3, 0.15)[day.weekday()]


def few(luck: Random, _: date) -> float:
    return float(10 * sum(luck.random() < 0.25 for _ in range(32)))


@pytest.mark.parametrize("history", [14, 28])
@pytest.mark.parametrize("world", [steady, weekly, few])
def test_the_range_holds_the_day_in_four_worlds_of_five(world: Callable[[Random, date], float], history: int) -> None:
    """2,000 worlds, whose credits would last 5 to 150 days."""
    luck, held = Random(1), 0
    for number in range(2000):
        at = NOON + timedelta(hours=luck.randrange(7 * 24))
        today = at.date()
        past = [today - timedelta(days=ago) for ago in range(history, 0, -1)]
        spent = [(day, world(luck, day)) for day in past]
        left = (5, 15, 50, 150)[number % 4] * sum(cost for _, cost in spent) / history
        found = forecast(Decimal(f"{left:.4f}"), at, [(day, Decimal(f"{cost:.4f}")) for day, cost in spent])
        left -= world(luck, today) * (1 - at.hour / 24)
        while left > 0:
            today += timedelta(days=1)
            left -= world(luck, today)
        held += (found.earliest or date.max) <= today <= (found.latest or date.max)
    assert 0.75 <= held / 2000 <= 0.85


def of(chosen: Settings) -> Runway | None:
    with stores.connect(chosen) as connection:
        return runway(connection, chosen.timezone)


@pytest.mark.everywhere
def test_a_warehouse_tells_the_balance_less_what_was_spent_since(settings_for: Make) -> None:
    with Sandbox(jobs=800, days=40) as api:
        chosen = settings_for(api, balance_every="3h", scope="team", timezone="America/New_York")
        sync(chosen)
        [(read,)] = query(chosen.path, "select credits from apiframe.balances")
        first = of(chosen)
        assert first
        assert first.credits_per_day
        assert (first.credits_left, first.scope) == (read, "team")
        assert first.days in (7, 28), "the last week may stand out"
        last = first.at.date() - timedelta(days=1)
        [(spent,)] = query(
            chosen.path,
            "select sum(credit_cost) from apiframe.jobs where cast(created_at at time zone 'America/New_York' as date) "
            f"between date '{last - timedelta(days=first.days - 1)}' and date '{last}'",
        )
        assert first.credits_per_day == round(spent / first.days, 4)
        api.advance(timedelta(hours=2))
        born = api.add(3, model="midjourney")
        sync(chosen)
        later = of(chosen)
        assert later
        costs = query(chosen.path, f"select id, credit_cost from apiframe.jobs where created_at > '{first.read_at}'")
        assert set(born) <= {identity for identity, _ in costs}
        assert later.credits_left == read - sum(cost or 0 for _, cost in costs)
        assert later.read_at == first.read_at
        for amount, verdict in ((10**9, "not within a year"), (10 * first.credits_per_day, "ends")):
            api.renew("pro", amount)
            api.advance(timedelta(hours=4))
            sync(chosen)
            renewed = of(chosen)
            assert renewed
            assert renewed.verdict == verdict


def test_a_reading_that_fails_leaves_the_one_before(api: Sandbox, settings_for: Make) -> None:
    chosen = settings_for(api, balance_every="1h")
    sync(chosen)
    known = of(chosen)
    assert known
    api.fault("500", times=None, path="/me")
    api.advance(timedelta(days=2))
    sync(chosen)
    found = of(chosen)
    assert found
    assert (found.read_at, found.scope) == (known.read_at, "user")
    assert found.at > known.at + timedelta(days=1)


def test_a_balance_that_was_never_read_is_unknown_and_says_why(api: Sandbox, settings_for: Make) -> None:
    off = settings_for(api)
    sync(off)
    assert of(off) is None
    api.fault("500", times=None, path="/me")
    chosen = settings_for(api, balance_every="1h")
    sync(chosen)
    found = of(chosen)
    assert found
    assert (found.verdict, found.credits_left) == ("unknown", None)
    assert "500" in sentence(found)


@pytest.mark.parametrize("jobs", [0, 1])
def test_an_account_without_a_past_is_too_young(jobs: int, settings_for: Make) -> None:
    with Sandbox(jobs=0) as api:
        api.add(jobs)
        chosen = settings_for(api, balance_every="1h")
        sync(chosen)
        found = of(chosen)
        assert found
        assert (found.verdict, found.days) == ("too young", 0)


def test_one_that_rests_for_a_month_does_not_end_within_a_year(api: Sandbox, settings_for: Make) -> None:
    chosen = settings_for(api, balance_every="1h")
    sync(chosen)
    api.advance(timedelta(days=40))
    sync(chosen)
    found = of(chosen)
    assert found
    assert (found.verdict, found.credits_per_day, found.days) == ("not within a year", 0, 28)
