"""Why jobs fail."""

from collections.abc import Callable
from typing import Any

from pipelines.pages.failure_rates import FailureRates
from pipelines.pages.failure_reasons import FailureReasons

Make = Callable[..., Any]


def test_reasons_by_their_jobs_and_what_no_rule_explains(add: Make, answer: Make, cells: Make) -> None:
    add(2, "FAILED", error="Timeout", hours=30)
    add(1, "FAILED", error="timeout!\x1b[31m", model="other")
    add(1, "FAILED", error="odd")
    section = answer(FailureReasons)
    assert section.sentence() == (
        "Most failures are put down to time-out: 3 of 4 failed jobs. No rule in error_classes.csv explains 25.0 %."
    )
    assert cells(section) == [
        ["time-out", "timeout! [31m", "3", "75.0", "2", "2024-04-16"],
        ["unknown", "odd", "1", "25.0", "1", "2024-04-16"],
    ]


def test_where_all_is_explained_it_says_so(add: Make, answer: Make) -> None:
    add(1, "FAILED", error="timeout")
    assert answer(FailureReasons).sentence().endswith("Every failure is explained by a rule in error_classes.csv.")


def test_without_failures_there_is_a_sentence_alone(add: Make, answer: Make) -> None:
    add(1, "COMPLETED")
    section = answer(FailureReasons)
    assert (section.chart(900), section.table()) == (None, None)
    assert section.sentence() == "No job failed in this period."


def test_days_are_those_of_the_time_zone(add: Make, answer: Make, cells: Make) -> None:
    add(1, "FAILED", hours=13, error="timeout")  # 23:00 UTC, the day before
    add(1, "COMPLETED")
    assert cells(answer(FailureReasons, timezone="Europe/Berlin"), "Last seen") == [["2024-04-16"]]
    assert cells(answer(FailureReasons), "Last seen") == [["2024-04-15"]]


def test_one_job_is_not_many(add: Make, answer: Make) -> None:
    add(1, "FAILED", error="Timeout")
    assert "1 of 1 failed job. " in answer(FailureReasons).sentence()
    assert answer(FailureRates).sentence().startswith("100.0 % of the 1 job that ended failed")
