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


def test_with_prices_there_is_a_column_of_money(add: Make, price: Make, answer: Make, cells: Make) -> None:
    add(1, "COMPLETED", model="a", credit_cost=1000)
    add(1, "COMPLETED", model="b", credit_cost=1)
    add(1, "COMPLETED", model="b", credit_cost=1, hours=30)
    add(1, "COMPLETED", model="c", credit_cost=1, hours=30)
    assert "Cost" not in [column.title for column in answer(ResultCosts).table().columns]
    assert "prices.csv" not in answer(ResultCosts).sentence()
    price("2024-04-01", "0.001", "EUR")
    price("2024-04-16", "1.005", "USD")
    assert cells(answer(ResultCosts), "Model", "Credits", "Cost") == [
        ["a", "1,000", "1,005.00 USD"],
        ["b", "2", "-"],
        ["c", "1", "0.0010 EUR"],
    ]
    assert "a model has none where one is missing or the currency has changed" in answer(ResultCosts).sentence()
