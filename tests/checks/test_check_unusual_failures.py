"""Failures beyond chance that still go on."""

from collections.abc import Callable
from typing import Any

import pytest

Make = Callable[..., Any]


@pytest.fixture
def steady(add: Make, synced: Make) -> None:
    """Twenty jobs a day for a month, one of which fails, up to the day before yesterday; NOW is midnight."""
    synced()
    for day in range(1, 31):
        add(19, "COMPLETED", hours=12 + 24 * day, credit_cost=2)
        add(1, "FAILED", hours=12 + 24 * day, credit_cost=0)


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize(("failed", "state"), [(3, "ok"), (12, "breached")])
def test_a_day_on_which_a_model_fails_is_told_with_what_was_expected(
    failed: int, state: str, add: Make, check: Make
) -> None:
    add(20 - failed, "COMPLETED", hours=12, credit_cost=2)
    add(failed, "FAILED", hours=12, credit_cost=0)
    found = check("unusual_failures")
    assert found.state == state
    if state == "breached":
        assert found.message == "12 jobs of m failed on 2024-04-15, 1.0 were expected: 20.9 credits' worth"
        assert found.subject == "m"


@pytest.mark.usefixtures("steady")
def test_one_that_is_over_is_told_no_more(add: Make, check: Make) -> None:
    add(20, "FAILED", hours=12 + 48, credit_cost=0)
    assert check("unusual_failures").state == "ok"
