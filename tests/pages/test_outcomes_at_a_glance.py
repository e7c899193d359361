"""The figures at the top of the notebook on failures."""

from collections.abc import Callable
from typing import Any

from pipelines.pages.outcomes_at_a_glance import OutcomesAtAGlance

Make = Callable[..., Any]


def test_every_outcome_is_counted(add: Make, answer: Make) -> None:
    for count, status in enumerate(("COMPLETED", "FAILED", "CANCELLED", "QUEUED", "NEW"), 1):
        add(count, status)
    assert [card.value for card in answer(OutcomesAtAGlance).cards()] == ["66.7 %", "2", "1", "3", "4", "5"]
