"""What was out of the ordinary; NOW is noon of the 16th of April."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import duckdb
import pytest
from pages.conftest import NOW
from reports.tables import insert

from pipelines import charts
from pipelines.pages.unusual import Unusual

Make = Callable[..., Any]


@pytest.fixture
def steady(add: Make, warehouse: duckdb.DuckDBPyConnection) -> None:
    """Ten jobs of two credits at nine each day for two months, up to today's, and a sync at noon."""
    for day in range(60):
        add(10, "COMPLETED", hours=3 + 24 * day, credit_cost=2)
    insert(warehouse, "sync_runs", [{"started_at": NOW.isoformat(), "finished_at": NOW.isoformat(), "number": 1}])


@pytest.mark.usefixtures("steady")
def test_an_ordinary_account_has_a_range_and_nothing_to_name(answer: Make) -> None:
    section = answer(Unusual, days=10)
    assert section.sentence() == (
        "The grey range is where four days of five are to be expected, by the weeks before. No day was unusual."
    )
    assert section.table() is None
    bars = section.chart(900).data
    assert bars["credits"].tolist() == [20.0] * 10
    assert (bars["low"] < 20).all()
    assert (bars["high"] > 20).all()
    assert set(bars["state"]) == {"as expected"}


@pytest.mark.usefixtures("steady")
def test_unusual_days_are_marked_named_and_listed(add: Make, answer: Make, cells: Make, price: Make) -> None:
    price("2024-01-01", "0.1")
    add(20, "COMPLETED", hours=3 + 24 * 4, credit_cost=2)
    add(1, "COMPLETED", hours=3 + 24, credit_cost=5, model="<b>new")
    for _ in range(6):
        add(1, "FAILED", hours=3 + 24 * 2, credit_cost=0)
    section = answer(Unusual, days=10)
    assert section.chart(900).data["state"].tolist().count("unusual") == 2
    said = section.sentence()
    assert "Unusual: m cost 60 credits on 2024-04-12, 20 were expected: " in said
    assert "6 jobs of m failed on 2024-04-14, 0.0 were expected" in said
    assert cells(section) == [
        ["2024-04-12", "2024-04-12", "m", "more than usual", "60 credits", "20 credits", "+40", "4.00 USD"],
        ["2024-04-14", "2024-04-14", "m", "failures beyond chance", "6 jobs failed", "0.0 failed", "+12", "-"],
        ["2024-04-15", "2024-04-15", "<b>new", "a new model", "5 credits", "0 credits", "+5", "0.50 USD"],
    ]
    assert charts.picture(section.chart(340), "unusual")


@pytest.mark.usefixtures("steady")
def test_longer_bars_have_a_table_alone(answer: Make) -> None:
    assert answer(Unusual, days=50, unit="week").chart(900) is None
    assert answer(Unusual, days=50, unit="week").sentence() == "No day was unusual."


def test_a_young_account_is_told_so(add: Make, answer: Make) -> None:
    add(3, "COMPLETED", credit_cost=2)
    section = answer(Unusual)
    assert section.chart(900) is None
    assert section.sentence() == "It takes six weeks of a model before a day of it can be called unusual."


@pytest.mark.usefixtures("steady")
def test_it_is_about_the_account_alone(answer: Make, warehouse: duckdb.DuckDBPyConnection) -> None:
    asked = answer(Unusual).asked
    assert Unusual.of_account
    assert Unusual.load(warehouse, replace(asked, period=replace(asked.period, scope="user"))) is None
