"""What a result costs."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from pipelines.pages.result_costs import ResultCosts

Make = Callable[..., Any]


def test_models_with_their_share_of_the_credits_dearest_first(add: Make, answer: Make, cells: Make) -> None:
    add(1, "COMPLETED", model="a", modality="image", credit_cost=Decimal("0.0003"), asset_count=2)
    add(1, "COMPLETED", model="b", modality="video", credit_cost=Decimal("0.0001"), asset_count=1)
    add(1, "QUEUED", model="b", credit_cost=7)
    add(1, "COMPLETED", model="unpriced")
    titles = ("Model", "Kind", "Credits", "Share (%)", "Credits per file", "Pending (credits)", "Cost unknown (jobs)")
    assert cells(answer(ResultCosts), *titles) == [
        ["a", "image", "0.0003", "75.0", "0.00", "0", "0"],
        ["b", "video", "0.0001", "25.0", "0.00", "7", "0"],
        ["unpriced", "(none)", "-", "-", "-", "0", "1"],
    ]
