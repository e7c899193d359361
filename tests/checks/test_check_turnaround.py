"""Models that take longer than they used to."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from checks.conftest import NOW

from pipelines.checks import Finding

Make = Callable[..., Any]


@pytest.fixture
def took(add: Make) -> Make:
    def jobs(model: str, hours: float, seconds: float, count: int = 20, status: str = "COMPLETED") -> None:
        completed_at = (NOW - timedelta(hours=hours) + timedelta(seconds=seconds)).isoformat()
        add(count, status, hours=hours, model=model, completed_at=completed_at)

    return jobs


def test_it_is_off_unless_it_is_set(synced: Make, check: Callable[..., Finding]) -> None:
    synced()
    assert check("turnaround").state == "ok"
    assert "max_turnaround_growth" in check("turnaround").message


def test_a_model_that_has_become_slow_breaches(
    took: Make, synced: Make, findings: Callable[..., list[Finding]]
) -> None:
    synced()
    for model, seconds in (("slower", 90), ("slow", 200), ("quick", 31)):
        took(model, 1, seconds)
        took(model, 48, 200 if model == "slow" else 30)
    took("slower", 24 * 40, 90)  # too long ago
    took("slower", 1, 900, status="FAILED")
    [found] = findings("turnaround", max_turnaround_growth=2)
    assert (found.state, found.subject, found.measured, found.threshold) == ("breached", "slower", 3, 2)
    assert found.message == (
        "95 % of 20 jobs of slower took at most 90.0 s in the last 24.0 h, 30.0 s in the 28 days before: "
        "3.0 times as long (at most 2)"
    )
    [found] = findings("turnaround", max_turnaround_growth=3)
    assert (found.state, found.subject) == ("ok", "slower")


def test_few_jobs_tell_nothing(took: Make, synced: Make, check: Callable[..., Finding]) -> None:
    synced()
    took("m", 1, 900, count=19)
    took("m", 48, 30)
    assert (check("turnaround", max_turnaround_growth=2).measured) is None
