"""How long the credits last."""

from collections.abc import Callable
from typing import Any

import pytest

Make = Callable[..., Any]


@pytest.fixture
def spending(add: Make, left: Make, synced: Make) -> Callable[..., None]:
    """Have 10 credits spent a day, on all of so many days, and so much left."""

    def account(days: int, amount: str, *more: int) -> None:
        synced()
        for day in range(days):
            add(1, "COMPLETED", hours=24 * day + 12, credit_cost=10)
        for day in more:
            add(1, "COMPLETED", hours=24 * day + 12, credit_cost=200)
        left(0, amount)

    return account


@pytest.mark.parametrize(("least", "state"), [(0, "ok"), (10, "ok"), (11, "breached")])
def test_fewer_days_than_the_threshold_are_a_breach(least: int, state: str, check: Make, spending: Make) -> None:
    spending(30, "105")
    finding = check("runway", min_days=least)
    assert (finding.state, finding.measured, finding.threshold) == (state, 10, least or None)
    assert finding.message.startswith("credits last: until 2024-04-26 (80 % range: 2024-04-26 to 2024-04-26) at 10.0 ")


def test_what_may_end_sooner_is_a_warning(check: Make, spending: Make) -> None:
    spending(30, "2000", 3, 9, 15)
    finding = check("runway", min_days=60)
    assert finding.state == "warning"
    assert finding.measured > 60


def test_none_left_is_a_breach_and_more_than_a_year_is_fine(check: Make, spending: Make, left: Make) -> None:
    spending(30, "100000")
    assert (check("runway", min_days=365).state, check("runway", min_days=365).measured) == ("ok", None)
    left(-0.001, "0")
    assert (check("runway", min_days=1).state, check("runway", min_days=1).measured) == ("breached", 0)


def test_an_account_that_is_too_young_cannot_be_measured(check: Make, spending: Make) -> None:
    spending(5, "100")
    assert check("runway").state == "ok"
    finding = check("runway", min_days=1)
    assert (finding.state, finding.measured) == ("unmeasured", None)
    assert "too young to tell" in finding.message
