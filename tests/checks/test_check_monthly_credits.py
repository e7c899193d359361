"""The credits of the month."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

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
    ("day", "spent", "state"),
    [(3, "79", "ok"), (4, "79", "warning"), (30, "79.9999", "ok"), (30, "80", "warning")],
    ids=["too early for a pace", "the pace leads above it", "almost over", "almost over and near"],
)
def test_a_warning_comes_before_the_budget_is_gone(
    day: int, spent: str, state: str, add: Make, check: Make, synced: Make
) -> None:
    synced()
    add(1, "COMPLETED", credit_cost=Decimal(spent), created_at="2024-04-01T00:00:00Z")
    assert check("monthly_credits", datetime(2024, 4, day, tzinfo=UTC), monthly_credits=100).state == state


def test_the_month_is_that_of_the_time_zone_and_its_end_is_foreseen(add: Make, check: Make, synced: Make) -> None:
    synced()
    add(1, "COMPLETED", credit_cost=50, created_at="2024-03-31T22:00:00Z")
    add(1, "COMPLETED", created_at="2024-04-02T22:00:00Z")
    half_of_april_in_berlin = datetime(2024, 4, 15, 22, tzinfo=UTC)
    finding = check("monthly_credits", half_of_april_in_berlin, timezone="Europe/Berlin")
    assert (finding.state, finding.measured, finding.threshold) == ("ok", 50, None)
    assert "100 by its end at this pace" in finding.message
    assert "1 job of unknown cost" in finding.message
    assert check("monthly_credits").measured == 0
