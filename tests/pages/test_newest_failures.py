"""What failed last."""

from collections.abc import Callable
from typing import Any

from pipelines.pages.newest_failures import MOST, NewestFailures

Make = Callable[..., Any]


def test_the_ten_newest_by_their_ids(add: Make, answer: Make, cells: Make) -> None:
    for hours in range(12, 0, -1):
        add(1, "FAILED", hours=hours, error="Timeout <b>")
    add(1, "COMPLETED", hours=0)
    shown = cells(answer(NewestFailures))
    assert shown[0] == ["job-11", "m", "2024-04-16 11:00", "time-out", "Timeout <b>"]
    assert len(shown) == MOST


def test_where_nothing_failed_there_is_no_section(add: Make, answer: Make) -> None:
    add(1, "COMPLETED")
    assert answer(NewestFailures).data is None
