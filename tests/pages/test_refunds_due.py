"""Which refunds to ask for."""

from collections.abc import Callable
from typing import Any

from pipelines.pages.refunds_due import MOST, RefundsDue

Make = Callable[..., Any]


def test_the_newest_by_their_ids_and_all_of_any_date_in_figures(
    add: Make, answer: Make, cells: Make, price: Make
) -> None:
    for day in range(12):
        add(1, "FAILED", hours=24 * 10 * day, credit_cost="2.5", error="odd")
    add(1, "COMPLETED", credit_cost=7)
    section = answer(RefundsDue)
    assert section.sentence().startswith("12 failed jobs of any date still cost 30 credits. The vendor")
    shown = cells(section)
    assert shown[0] == ["job-0", "m", "2024-04-16 12:00", "odd", "2.5"]
    assert len(shown) == MOST
    assert section.table().caption == "Refunds due, the newest 10 of 12"
    price("2020-01-01", "0.01")
    assert "still cost 30 credits, 0.30 USD." in answer(RefundsDue).sentence()
    assert answer(RefundsDue).table().total[-1] == "0.30 USD"


def test_one_job_is_not_many(add: Make, answer: Make) -> None:
    add(1, "FAILED", credit_cost=1)
    assert answer(RefundsDue).sentence().startswith("1 failed job of any date still costs 1 credits.")


def test_a_part_has_no_cost(add: Make, answer: Make, price: Make) -> None:
    add(1, "FAILED", credit_cost=1)
    add(1, "FAILED", credit_cost=1, hours=24 * 40)
    price("2024-04-01", "0.01")
    assert "still cost 2 credits." in answer(RefundsDue).sentence()


def test_where_none_is_due_a_sentence_says_so(add: Make, answer: Make) -> None:
    add(1, "FAILED", credit_cost=0)
    section = answer(RefundsDue)
    assert section.sentence() == "No failed job of any date still costs credits."
    assert section.table() is None
