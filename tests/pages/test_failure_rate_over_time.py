"""Since when jobs fail more often."""

from collections.abc import Callable
from typing import Any

from pipelines.pages.failure_rate_over_time import FailureRateOverTime

Make = Callable[..., Any]


def test_the_day_that_fails_more_often_than_the_others_is_named(add: Make, answer: Make) -> None:
    for day in range(10):
        add(10, "COMPLETED", hours=24 * day)
    add(10, "FAILED", hours=24 * 3)
    add(1, "CANCELLED", hours=24 * 20)
    section = answer(FailureRateOverTime)
    assert len(section.data) == 10  # a day on which no job ended has no rate
    assert section.sentence().startswith(
        "The day of 2024-04-13 stands out: 50.0 % of 20 ended jobs, against 9.1 % over the whole period."
    )


def test_of_several_days_the_worst_come_first(add: Make, answer: Make) -> None:
    for day in range(20):
        add(50, "COMPLETED", hours=24 * day)
    for day, failed in ((3, 20), (4, 30), (9, 25), (12, 28)):
        add(failed, "FAILED", hours=24 * day)
    assert (
        answer(FailureRateOverTime)
        .sentence()
        .startswith(
            "4 days stand out against the 9.3 % of the whole period, beginning with the worst: "
            "2024-04-12, 37.5 % of 80 ended jobs; 2024-04-04, 35.9 % of 78 ended jobs; "
            "2024-04-07, 33.3 % of 75 ended jobs."
        )
    )


def test_even_days_are_said_to_be_even(add: Make, answer: Make) -> None:
    add(9, "COMPLETED")
    add(1, "FAILED")
    section = answer(FailureRateOverTime, unit="month")
    assert section.title == "Failure rate per month"
    assert section.sentence().startswith("No month stands out against the 10.0 % of the whole period.")


def test_no_job_that_ended_is_said(add: Make, answer: Make) -> None:
    add(1, "QUEUED")
    assert answer(FailureRateOverTime).sentence() == "No job has finished or failed in this period."
