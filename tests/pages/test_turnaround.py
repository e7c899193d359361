"""How long one waits for a result."""

from collections.abc import Callable
from typing import Any

from pipelines.pages.turnaround import Turnaround

Make = Callable[..., Any]


def test_models_by_their_median_slowest_first(add: Make, answer: Make, cells: Make) -> None:
    for seconds in (10, 20, 30):
        add(1, "COMPLETED", model="quick", seconds=seconds)
    add(1, "COMPLETED", model="slow", seconds=7200)
    add(1, "FAILED", model="failed", seconds=1)
    section = answer(Turnaround)
    assert section.sentence().startswith(
        "slow is the slowest: half of its jobs finish within 2.0 h, 95 % within 2.0 h."
    )
    assert cells(section) == [
        ["slow", "1", "7,200.0", "7,200.0", "7,200.0", "7,200.0"],
        ["quick", "3", "20.0", "28.0", "29.0", "29.8"],
    ]
    table = section.table()
    assert [column.title for column in table.columns][2:] == [
        *("Half within (s)", "90 % within (s)", "95 % within (s)", "99 % within (s)")
    ]


def test_without_finished_jobs_there_is_a_sentence_alone(add: Make, answer: Make) -> None:
    add(1, "FAILED", seconds=1)
    section = answer(Turnaround)
    assert (section.chart(900), section.table()) == (None, None)
    assert section.sentence() == "No job has finished in this period."
