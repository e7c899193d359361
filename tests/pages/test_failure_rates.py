"""Which model fails too often."""

from collections.abc import Callable
from typing import Any

from pipelines import charts
from pipelines.pages.failure_rates import FailureRates

Make = Callable[..., Any]


def test_a_model_is_named_where_it_fails_more_often_than_the_others(add: Make, answer: Make, cells: Make) -> None:
    add(95, "COMPLETED", model="good")
    add(5, "FAILED", model="good")
    add(10, "COMPLETED", model="bad")
    add(10, "FAILED", model="bad")
    add(3, "QUEUED", model="none ended")
    section = answer(FailureRates)
    assert section.sentence() == (
        "12.5 % of the 120 jobs that ended failed. One model stands out beyond chance: bad (50.0 % of 20)."
    )
    assert sorted(cells(section, "Model", "Failed (%)", "95 % interval (%)")) == [
        ["bad", "50.0", "29.9 to 70.1"],
        ["good", "5.0", "2.2 to 11.2"],
        ["none ended", "-", "-"],
    ]


def test_the_rate_of_all_is_a_line_across(add: Make, answer: Make) -> None:
    add(3, "COMPLETED", model="good")
    assert charts.picture(answer(FailureRates).chart(340), "rates")
    add(1, "FAILED", model="bad")
    drawn = answer(FailureRates).chart(900)
    assert drawn.layer[0].data["overall"].tolist() == [25]
    assert charts.picture(drawn, "rates")


def test_where_no_job_has_ended_there_is_no_such_line(add: Make, answer: Make) -> None:
    add(3, "QUEUED")
    assert charts.picture(answer(FailureRates).chart(900), "rates")


def test_every_such_model_is_named_the_dearest_first(add: Make, answer: Make) -> None:
    add(200, "COMPLETED", model="good", credit_cost=1)
    for model, cost in (("cheap", 1), ("dear", 9)):
        add(10, "COMPLETED", model=model, credit_cost=cost)
        add(10, "FAILED", model=model)
    assert (
        answer(FailureRates)
        .sentence()
        .endswith("2 models stand out beyond chance, the dearest first: dear (50.0 % of 20), cheap (50.0 % of 20).")
    )


def test_what_may_be_chance_is_not_named(add: Make, answer: Make) -> None:
    add(9, "COMPLETED", model="good")
    add(1, "FAILED", model="unlucky")
    add(3, "COMPLETED", model="unlucky")
    assert answer(FailureRates).sentence().endswith("No model stands out: the differences may be chance.")


def test_no_job_that_ended_is_said(add: Make, answer: Make) -> None:
    add(1, "QUEUED")
    assert answer(FailureRates).sentence() == "No job has finished or failed in this period."
