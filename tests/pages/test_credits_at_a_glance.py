"""The figures at the top of the notebook on credits."""

from collections.abc import Callable
from typing import Any

from pipelines.pages.credits_at_a_glance import CreditsAtAGlance

Make = Callable[..., Any]


def test_what_was_spent_and_what_for(add: Make, answer: Make) -> None:
    add(2, "COMPLETED", credit_cost=3, asset_count=4)
    add(1, "QUEUED", credit_cost=5)
    add(1, "COMPLETED")
    assert {card.title: card.value for card in answer(CreditsAtAGlance).cards()} == {
        "Credits spent": "6",
        "Credits pending": "5",
        "Jobs created": "4",
        "Credits per finished job": "3.00",
        "Credits per file": "0.75",
        "Jobs of unknown cost": "1",
    }


def test_with_prices_money_comes_first_or_why_there_is_none(add: Make, price: Make, answer: Make) -> None:
    add(1, "COMPLETED", credit_cost=3)
    add(1, "COMPLETED", credit_cost=3, hours=30)
    assert answer(CreditsAtAGlance).cards()[0].title == "Credits spent"
    price("2024-04-16", "2.5", "EUR")
    assert answer(CreditsAtAGlance).cards()[0] == ("Spent", "-", "1 job without a price")
    price("2024-04-01", "1000", "EUR")
    assert answer(CreditsAtAGlance).cards()[0] == ("Spent", "3,007.50 EUR", "")
