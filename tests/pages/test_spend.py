"""Where the credits went."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from pipelines.pages.spend import Spend

Make = Callable[..., Any]


def test_the_model_and_the_day_that_took_most_are_named(add: Make, answer: Make) -> None:
    add(2, "COMPLETED", model="a", credit_cost=Decimal("1.5"))
    add(1, "COMPLETED", model="b", credit_cost=1, hours=30)
    add(1, "FAILED", model="b", credit_cost=1000)
    section = answer(Spend)
    assert section.title == "Credits per day and model"
    assert section.sentence() == "1,004 credits, b took 99.7 %. The dearest day was 2024-04-16: 1,003 credits."
    assert "The dearest week began on 2024-04-15: 1,004 credits." in answer(Spend, unit="week").sentence()


def test_without_credits_there_is_still_a_picture(add: Make, answer: Make) -> None:
    add(1, "COMPLETED")
    section = answer(Spend)
    assert section.sentence() == "No credits were spent in this period."
    assert section.chart(900) is not None


def test_the_bars_are_in_money_where_all_of_it_is_known(add: Make, answer: Make, price: Make) -> None:
    add(1, "COMPLETED", credit_cost=10)
    add(1, "COMPLETED", credit_cost=20, hours=30)
    price("2024-04-16", "0.5")
    assert answer(Spend).title == "Credits per day and model"
    price("2024-01-01", "0.25")
    section = answer(Spend)
    assert section.title == section.question == "Spend per day and model, in USD"
    assert section.chart(900).data["USD"].tolist() == [5, 5]
