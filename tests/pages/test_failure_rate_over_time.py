"""Since when jobs fail more often."""

from collections.abc import Callable
from typing import Any

from pipelines.pages.failure_rate_over_time import FailureRateOverTime

Make = Callable[..., Any]


def test_the_day_that_lies_above_the_whole_period_is_named(add: Make, answer: Make) -> None:
    for day in range(10):
        add(10, "COMPLETED", hours=24 * day)
    add(10, "FAILED", hours=24 * 3)
    add(1, "CANCELLED", hours=24 * 20)
    section = answer(FailureRateOverTime)
    assert len(section.data) == 10  # a day on which no job ended has no rate
    assert section.sentence().startswith(
        "The day of 2024-04-13 stands out: 50.0 % of 20 ended jobs, against 9.1 % over the whole period."
    )


def test_even_days_are_said_to_be_even(add: Make, answer: Make) -> None:
    add(9, "COMPLETED")
    add(1, "FAILED")
    section = answer(FailureRateOverTime, unit="month")
    assert section.title == "Failure rate per month"
    assert section.sentence().startswith("No month's interval lies wholly above the 10.0 % of the whole period.")


def test_no_job_that_ended_is_said(add: Make, answer: Make) -> None:
    add(1, "QUEUED")
    assert answer(FailureRateOverTime).sentence() == "No job has finished or failed in this period."
