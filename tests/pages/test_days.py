"""What is behind the bars."""

from collections.abc import Callable
from typing import Any

from pipelines.pages.days import Days

Make = Callable[..., Any]


def test_each_day_in_figures_the_newest_first_and_all_of_them_below(add: Make, answer: Make, cells: Make) -> None:
    add(3, "COMPLETED", credit_cost="1.5", asset_count=2)
    add(1, "FAILED", credit_cost=0)
    add(1, "COMPLETED", hours=30)
    section = answer(Days)
    assert cells(section) == [
        ["2024-04-16", "4", "3", "1", "25.0", "6", "4.5"],
        ["2024-04-15", "1", "1", "0", "0.0", "0", "-"],
    ]
    table = section.table()
    assert [column.text(value) for column, value in zip(table.columns, table.total, strict=True)] == [
        *("All", "5", "4", "1", "20.0", "6", "4.5")
    ]


def test_cost_is_there_where_there_are_prices_and_never_of_a_part(
    add: Make, answer: Make, cells: Make, price: Make
) -> None:
    add(1, "COMPLETED", credit_cost=10)
    add(1, "COMPLETED", credit_cost=20, hours=30)
    price("2024-04-16", "0.02")
    section = answer(Days, unit="week")
    assert cells(section, "Week from", "Cost") == [["2024-04-15", "-"]]
    assert answer(Days).table().total[-1] == "-"
    price("2024-04-01", "0.01")
    assert cells(answer(Days), "Cost") == [["0.20 USD"], ["0.20 USD"]]
    assert answer(Days).table().total[-1] == "0.40 USD"
