"""The credits of the month."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from checks.conftest import NOW

Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("spent", "state"), [("50", "ok"), ("50.0001", "warning"), ("99.9999", "warning"), ("100", "breached")]
)
def test_credits_of_the_month_against_the_budget(spent: str, state: str, add: Make, check: Make, synced: Make) -> None:
    synced()
    add(1, "COMPLETED", credit_cost=Decimal(spent))
    add(1, "FAILED", credit_cost=0)
    add(1, "QUEUED", credit_cost=1000)
    add(1, "COMPLETED", credit_cost=1000, created_at="2024-03-31T23:59:59Z")
    finding = check("monthly_credits", monthly_credits=100)
    assert (finding.state, finding.measured, finding.threshold) == (state, Decimal(spent), 100)
    assert finding.message.startswith(f"{spent} credits spent")


@pytest.mark.parametrize(
    ("history", "day", "budget", "state"),
    [
        (31, 1, 299, "warning"),
        (31, 4, 299, "warning"),
        (31, 4, 301, "ok"),
        (6, 1, 299, "ok"),
        (31, 30, 363, "ok"),
        (31, 30, 362, "warning"),
    ],
    ids=["on its first day", "it will end above", "it will end within", "too young to tell", "almost over", "near it"],
)
def test_a_warning_comes_before_the_budget_is_gone(
    history: int, day: int, budget: int, state: str, add: Make, check: Make, synced: Make
) -> None:
    """Ten credits a day, of so many days before April."""
    now = datetime(2024, 4, day, tzinfo=UTC)
    synced(hours=(NOW - now).total_seconds() / 3600)
    for ago in range(1, day + history):
        add(1, "COMPLETED", credit_cost=10, created_at=f"{now - timedelta(days=ago):%Y-%m-%d}T09:00:00Z")
    assert check("monthly_credits", now, monthly_credits=budget).state == state


def test_the_month_is_that_of_the_time_zone_and_its_end_is_foreseen(add: Make, check: Make, synced: Make) -> None:
    synced()
    for day in range(15):
        midnight_in_berlin = datetime(2024, 3, 31, 22, tzinfo=UTC) + timedelta(days=day)
        add(1, "COMPLETED", credit_cost=10, created_at=midnight_in_berlin.isoformat())
    add(1, "COMPLETED", created_at="2024-04-02T22:00:00Z")
    half_of_april_in_berlin = datetime(2024, 4, 15, 22, tzinfo=UTC)
    finding = check("monthly_credits", half_of_april_in_berlin, timezone="Europe/Berlin")
    assert (finding.state, finding.measured, finding.threshold) == ("ok", 150, None)
    assert finding.message.startswith(
        "150 credits spent in 2024-04, 300 expected by its end (80 % range: 300 to 300), without 1 job of unknown cost"
    )
    assert check("monthly_credits").measured == 140


def test_a_month_of_which_nothing_is_known_yet_is_not_foreseen(add: Make, check: Make, synced: Make) -> None:
    synced()
    for ago in range(30):
        add(1, "COMPLETED", credit_cost=10, hours=24 * ago + 1)
    finding = check("monthly_credits", NOW + timedelta(days=20))
    assert finding.message.startswith("0 credits spent in 2024-05 (")
