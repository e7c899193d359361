"""Where the credits went."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from pages.conftest import NOW
from reports.tables import insert

from pipelines.pages.spend import Spend

Make = Callable[..., Any]


def test_the_model_and_the_day_that_took_most_are_named(add: Make, answer: Make) -> None:
    add(2, "COMPLETED", model="a", credit_cost=Decimal("1.5"))
    add(1, "COMPLETED", model="b", credit_cost=1, hours=30)
    add(1, "FAILED", model="b", credit_cost=1000)
    section = answer(Spend)
    assert section.title == "Credits per day and model"
    assert section.sentence() == (
        "1,004 credits, b took 99.7 %. The dearest day was 2024-04-16: 1,003 credits. "
        "Of 2024-04-16 only what came up to 11:00 is known: its bar is pale."
    )
    assert "The dearest week began on 2024-04-15: 1,004 credits." in answer(Spend, unit="week").sentence()


def test_a_running_day_that_has_cost_nothing_yet_has_no_bar_to_speak_of(add: Make, answer: Make) -> None:
    add(1, "COMPLETED", credit_cost=1, hours=30)
    add(1, "COMPLETED", credit_cost=0)
    assert answer(Spend).sentence().endswith(" Of 2024-04-16 only what came up to 11:00 is known.")


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


@pytest.mark.parametrize(("unit", "pale"), [("day", "2024-04-16"), ("week", "2024-04-15"), ("month", "2024-04-01")])
def test_the_bar_that_still_grows_is_pale_and_says_so(add: Make, answer: Make, unit: str, pale: str) -> None:
    for hours in (1, 24 * 20):
        add(1, "COMPLETED", credit_cost=1, hours=hours)
    drawn = answer(Spend, days=40, unit=unit).chart(900).to_dict()
    [bars] = drawn["datasets"].values()
    assert {bar["start"] for bar in bars if bar["state"] == "known in part"} == {pale}
    assert drawn["encoding"]["fillOpacity"]["condition"]["value"] < 1


def test_a_period_that_is_over_has_no_pale_bar(warehouse: duckdb.DuckDBPyConnection, add: Make, answer: Make) -> None:
    add(1, "COMPLETED", credit_cost=1)
    add(1, "COMPLETED", credit_cost=1, hours=-24)
    insert(warehouse, "sync_runs", [{"started_at": "2024-04-17T00:00:00Z"}])
    section = answer(Spend, now=NOW + timedelta(days=1))
    assert "pale" not in section.sentence()
    assert "fillOpacity" not in section.chart(900).to_dict()["encoding"]
