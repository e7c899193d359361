"""What the running month costs; NOW is noon of the 16th of April."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pandas as pd
import pytest
from pages.conftest import NOW
from reports.tables import insert

from pipelines import charts
from pipelines.pages.month import RunningMonth, _month
from pipelines.settings import Budget

Make = Callable[..., Any]


@pytest.fixture
def even(add: Make, warehouse: duckdb.DuckDBPyConnection) -> None:
    """Ten credits at 9 each day since the middle of February, up to today's, and a sync at noon."""
    for day in range(60):
        add(1, "COMPLETED", hours=3 + 24 * day, credit_cost=10)
    insert(warehouse, "sync_runs", [{"started_at": NOW.isoformat(), "finished_at": NOW.isoformat(), "number": 1}])


def with_budget(section: Any, amount: str, currency: str | None = None) -> Any:
    asked = replace(section.asked, budget=Budget(Decimal(amount), currency))
    return type(section)(asked, section.data)


@pytest.mark.usefixtures("even")
def test_so_far_and_by_its_end_and_against_the_month_before(answer: Make) -> None:
    section = answer(RunningMonth, days=1)
    assert [tuple(card) for card in section.cards()] == [
        (
            "April 2024 so far",
            "160 credits",
            "+0.0 % in 15 whole days, against the 150 credits of the first 15 of the month before",
        ),
        ("By its end", "305 credits", "80 % range: 305 to 305 credits"),
        ("March 2024", "310 credits", "the whole month"),
    ]
    assert section.sentence() == "The line goes on at the pace of the last 28 days, in its 80 % range."
    drawn = section.chart(900)
    assert drawn.layer[2].data["figure"].tolist() == [*range(0, 160, 10), 160][:17]
    assert charts.picture(drawn, "month")


@pytest.mark.usefixtures("even")
def test_a_last_week_that_stands_out_goes_on(answer: Make, add: Make) -> None:
    for day in range(1, 8):
        add(1, "COMPLETED", hours=3 + 24 * day, credit_cost=10)
    section = answer(RunningMonth)
    assert section.cards()[1].value == "520 credits", "14.5 days at twice the pace, after 70 more"
    assert section.sentence().startswith(
        "The line goes on at the pace of the last 7 days, which stand out from the weeks"
    )
    assert section.in_short().startswith(
        "April 2024: 230 credits so far, 520 credits expected by its end (80 % range: "
    )


@pytest.mark.usefixtures("even")
def test_what_is_to_come_is_not_told_in_a_currency_of_the_past(
    answer: Make, price: Make, warehouse: duckdb.DuckDBPyConnection
) -> None:
    price("2020-01-01", "0.25")
    assert answer(RunningMonth).cards()[1].value == "76.25 USD"
    price("2024-04-17", "3", "EUR")
    night = NOW + timedelta(hours=13)
    insert(warehouse, "sync_runs", [{"started_at": night.isoformat(), "finished_at": night.isoformat(), "number": 2}])
    section = answer(RunningMonth, now=night)
    assert [card.title for card in section.cards()] == ["April 2024 so far", "March 2024"]
    assert section.in_short() == section.sentence() == ""


@pytest.mark.usefixtures("even")
@pytest.mark.parametrize(
    ("amount", "outlook"),
    [("400", "likely end within it"), ("200", "likely end above it"), ("150", "It is exceeded by 10 credits")],
)
def test_the_budget_is_a_line_across(answer: Make, amount: str, outlook: str) -> None:
    section = with_budget(answer(RunningMonth), amount)
    assert section.cards()[-1].value == f"{amount} credits"
    assert outlook in section.sentence()
    assert section.chart(900).layer[3].data["figure"].tolist() == [float(amount)]


@pytest.mark.usefixtures("even")
def test_in_money_where_there_are_prices_and_the_budget_is_no_other(answer: Make, price: Make) -> None:
    price("2024-04-01", "0.5")
    assert answer(RunningMonth).cards()[0].value == "160 credits", "March has no price"
    price("2020-01-01", "0.25")
    section = answer(RunningMonth)
    assert section.cards()[0].value == "80.00 USD"
    assert section.cards()[0].note.startswith("+100.0 % in 15 whole days")
    assert with_budget(section, "100", "USD").cards()[-1] == ("Budget", "100.00 USD", "80.0 % spent")
    in_euro = with_budget(section, "100", "EUR")
    assert "The budget is in EUR" in in_euro.sentence()
    assert len(in_euro.chart(900).layer) == 3


def test_a_month_that_history_does_not_cover_is_compared_with_nothing(
    add: Make, answer: Make, warehouse: duckdb.DuckDBPyConnection
) -> None:
    add(1, "COMPLETED", credit_cost=10, hours=24 * 20)
    insert(warehouse, "sync_runs", [{"started_at": NOW.isoformat(), "finished_at": NOW.isoformat(), "number": 1}])
    section = answer(RunningMonth)
    assert [card.title for card in section.cards()] == ["April 2024 so far", "By its end"]
    assert section.chart(900) is None


@pytest.mark.parametrize(("day", "alike"), [(28, 27), (29, 28), (30, None), (31, None)])
def test_more_days_than_the_month_before_has_are_held_against_nothing(day: int, alike: int | None) -> None:
    days = [each.date() for each in pd.date_range(date(2026, 2, 1), date(2026, 3, day))]
    data = pd.DataFrame({"day": days, "credits": [Decimal(1)] * len(days), "cost": [None] * len(days)})
    found = _month(data, datetime(2026, 3, day, 1), None, Decimal(1), date(2026, 1, 1))  # noqa: DTZ001 - clocks of the zone
    assert (found.alike, found.before) == (alike, 28)
