"""The figures at the top of the report."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import duckdb
import pytest
from pages.conftest import NOW
from reports.tables import insert

from pipelines.pages.headline import Headline

Make = Callable[..., Any]


def test_figures_are_held_against_the_days_before(add: Make, answer: Make) -> None:
    add(3, "COMPLETED", credit_cost=2, asset_count=1)
    add(1, "FAILED")
    add(2, "COMPLETED", credit_cost=2, asset_count=1, hours=25)
    add(2, "FAILED", hours=25)
    cards = {card.title: (card.value, card.note) for card in answer(Headline, days=1).cards()}
    assert cards == {
        "Credits spent": ("6", "+50.0 % on the day before, up to 11:00"),
        "Jobs created": ("4", "+0.0 % on the day before, up to 11:00"),
        "Files delivered": ("3", "+50.0 % on the day before, up to 11:00"),
        "Failed": ("25.0 %", "-25.0 points; 1 of 4 ended"),
        "Credits per finished job": ("2.00", "+0.0 % on the day before, up to 11:00"),
        "Credits pending": ("0", "open jobs: 0"),
    }


def hours(answer: Make, warehouse: duckdb.DuckDBPyConnection, synced_at: str, days: int = 1) -> str:
    """The note on the jobs of an account with one job at each half hour of six days, seen at noon."""
    for hour in range(6 * 24):
        made = NOW.replace(hour=0, minute=30) + timedelta(hours=hour - 5 * 24)
        if made <= min(datetime.fromisoformat(synced_at), NOW):
            insert(warehouse, "jobs", [{"id": str(hour), "status": "COMPLETED", "created_at": made.isoformat()}])
    insert(warehouse, "sync_runs", [{"started_at": synced_at}])
    return str(answer(Headline, days=days).cards()[1].note)


@pytest.mark.parametrize(
    ("synced_at", "days", "note"),
    [
        ("2024-04-16T10:21:00+00:00", 1, "+0.0 % on the day before, up to 10:21"),
        ("2024-04-16T10:21:00+00:00", 2, "+0.0 % on the 2 days before, the last of them up to 10:21"),
        ("2024-04-16T23:00:00+00:00", 1, "+0.0 % on the day before, up to 12:00"),  # a clock ahead of ours
        ("2024-04-15T09:00:00+00:00", 2, "+0.0 % on the 2 days before, up to 2024-04-13 09:00"),
        ("2024-04-15T09:00:00+00:00", 1, "history does not cover the day before"),  # of today nothing is known
    ],
)
def test_days_that_are_alike_do_not_differ_because_today_still_runs(
    warehouse: duckdb.DuckDBPyConnection, answer: Make, synced_at: str, days: int, note: str
) -> None:
    assert hours(answer, warehouse, synced_at, days).startswith(note)


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
    add(2, "COMPLETED", credit_cost=2, hours=25)
    price("2024-04-15", "0.015")
    section = answer(Headline, days=1)
    assert section.cards()[0] == ("Spent", "0.09 USD", "6 credits, +50.0 % on the day before, up to 11:00")
    assert section.sentence() == ""


def test_a_part_of_the_money_is_not_shown_but_said(add: Make, price: Make, answer: Make) -> None:
    add(3, "COMPLETED", credit_cost=2)
    add(2, "COMPLETED", credit_cost=2, hours=25)
    price("2024-04-16", "0.015")
    section = answer(Headline)
    assert section.cards()[0][:2] == ("Credits spent", "10")
    assert section.sentence() == "Credits are not given in money: 2 jobs without a price."
    price("2024-04-01", "1", "EUR")
    assert answer(Headline).sentence() == "Credits are not given in money: the prices are in more than one currency."
