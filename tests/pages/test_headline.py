"""The figures at the top of the report."""

from collections.abc import Callable
from typing import Any

from pipelines.pages.headline import Headline

Make = Callable[..., Any]


def test_figures_are_held_against_the_days_before(add: Make, answer: Make) -> None:
    add(3, "COMPLETED", credit_cost=2, asset_count=1)
    add(1, "FAILED")
    add(2, "COMPLETED", credit_cost=2, asset_count=1, hours=24)
    add(2, "FAILED", hours=24)
    cards = {card.title: (card.value, card.note) for card in answer(Headline, days=1).cards()}
    assert cards == {
        "Credits spent": ("6", "+50.0 % on the day before"),
        "Jobs created": ("4", "+0.0 % on the day before"),
        "Files delivered": ("3", "+50.0 % on the day before"),
        "Failed": ("25.0 %", "-25.0 points; 1 of 4 ended"),
        "Credits per finished job": ("2.00", "+0.0 % on the day before"),
        "Credits pending": ("0", "open jobs: 0"),
    }


def test_a_period_before_that_history_does_not_cover_is_not_compared(add: Make, answer: Make) -> None:
    add(1, "COMPLETED", credit_cost=2)
    notes = [card.note for card in answer(Headline).cards()]
    assert notes[0] == "history does not cover the 30 days before"
    assert notes[3] == "0 of 1 ended"


def test_jobs_of_unknown_cost_are_warned_of(add: Make, answer: Make) -> None:
    add(2, "COMPLETED", credit_cost=2)
    assert answer(Headline).sentence() == ""
    add(1, "COMPLETED")
    assert answer(Headline).sentence().startswith("The cost of 1 of 3 jobs is unknown")


def test_with_prices_money_comes_first_and_credits_beside_it(add: Make, price: Make, answer: Make) -> None:
    add(3, "COMPLETED", credit_cost=2)
    add(2, "COMPLETED", credit_cost=2, hours=24)
    price("2024-04-15", "0.015")
    section = answer(Headline, days=1)
    assert section.cards()[0] == ("Spent", "0.09 USD", "6 credits; +50.0 % on the day before")
    assert section.sentence() == ""


def test_a_part_of_the_money_is_not_shown_but_said(add: Make, price: Make, answer: Make) -> None:
    add(3, "COMPLETED", credit_cost=2)
    add(2, "COMPLETED", credit_cost=2, hours=24)
    price("2024-04-16", "0.015")
    section = answer(Headline)
    assert section.cards()[0][:2] == ("Credits spent", "10")
    assert section.sentence() == "Credits are not given in money: 2 jobs without a price."
    price("2024-04-01", "1", "EUR")
    assert answer(Headline).sentence() == "Credits are not given in money: the prices are in more than one currency."
