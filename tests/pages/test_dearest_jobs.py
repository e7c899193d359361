"""Which single jobs cost most."""

from collections.abc import Callable
from typing import Any

from pipelines.pages.dearest_jobs import MOST, DearestJobs

Make = Callable[..., Any]


def test_the_ten_dearest_by_their_ids(add: Make, answer: Make, cells: Make, price: Make) -> None:
    for cost in range(12):
        add(1, "COMPLETED", credit_cost=cost)
    add(1, "COMPLETED", credit_cost=99, hours=24 * 40)
    shown = cells(answer(DearestJobs, timezone="Asia/Tokyo"))
    assert shown[0] == ["job-11", "m", "COMPLETED", "2024-04-16 20:00", "11"]
    assert len(shown) == MOST
    price("2024-01-01", "0.5")
    assert cells(answer(DearestJobs), "Cost")[0] == ["5.50 USD"]


def test_where_nothing_was_spent_there_is_no_section(add: Make, warehouse: Any, answer: Make) -> None:
    add(1, "COMPLETED")
    assert answer(DearestJobs).data is None
