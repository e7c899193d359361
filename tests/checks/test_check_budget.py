"""A budget of the month, in credits or in money."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from reports.tables import insert

from pipelines.checks import CHECKS

Make = Callable[..., Any]


def test_without_a_budget_nothing_is_said_twice(add: Make, check: Make, synced: Make) -> None:
    synced()
    add(1, "COMPLETED", credit_cost=10)
    finding = check("budget", monthly_credits=5)
    assert (finding.state, finding.measured, finding.threshold) == ("ok", None, None)
    assert "no budget set" in finding.message
    assert check("monthly_credits", monthly_credits=5).state == "breached"


@pytest.mark.parametrize(("spent", "state"), [("50", "ok"), ("50.0001", "warning"), ("100", "breached")])
@pytest.mark.parametrize("budget", [100, "100", "1_00.0000"])
def test_a_budget_in_credits(spent: str, state: str, budget: Any, add: Make, check: Make, synced: Make) -> None:
    synced()
    add(1, "COMPLETED", credit_cost=Decimal(spent))
    add(1, "COMPLETED", credit_cost=1000, created_at="2024-03-31T23:59:59Z")
    finding = check("budget", monthly_budget=budget)
    assert (finding.state, finding.measured, finding.threshold) == (state, Decimal(spent), 100)
    assert finding.message.endswith("(budget 100 credits)")
    assert "credits spent in 2024-04" in finding.message


@pytest.fixture
def priced(warehouse: duckdb.DuckDBPyConnection) -> Callable[..., None]:
    """Have a month of models that cost so much, each (cost, currency, credits)."""

    def months(*models: tuple[str | None, str | None, str]) -> None:
        warehouse.execute(
            "create or replace table apiframe.spent (day date, cost decimal(38, 12), currency varchar, "
            "credits decimal(38, 4)); create or replace view reports.daily_spend as from apiframe.spent"
        )
        warehouse.executemany("insert into apiframe.spent values (date '2024-04-05', ?, ?, ?)", models)

    return months


@pytest.mark.parametrize(
    ("models", "state", "measured"),
    [
        ([("49.99", "USD", "5000"), ("0", "USD", "0")], "ok", "49.99"),
        ([("40", "USD", "4000"), ("40", "USD", "4000")], "warning", "80"),
        ([("99.99", "USD", "9999"), ("0.01", "USD", "1")], "breached", "100"),
        ([("50", "USD", "5000"), (None, None, "1")], "unmeasured", "50"),
        ([("50", "USD", "5000"), ("1", "EUR", "100")], "unmeasured", "50"),
        ([("50", "USD", "5000"), (None, None, "0")], "ok", "50"),
        ([("100", "USD", "5000"), (None, None, "1")], "breached", "100"),
    ],
    ids=[
        "below",
        "near",
        "reached",
        "no price",
        "another currency",
        "what cost nothing",
        "reached whatever the rest is",
    ],
)
def test_a_budget_in_money_never_takes_a_part_for_the_whole(
    models: Any, state: str, measured: str, priced: Make, check: Make, synced: Make
) -> None:
    synced()
    priced(*models)
    finding = check("budget", monthly_budget="100 USD")
    assert (finding.state, finding.measured, finding.threshold) == (state, Decimal(measured), 100)
    assert finding.message.endswith("(budget 100 USD)")
    assert ("credits whose cost in USD is not known" in finding.message) == (
        any(c != "USD" and n != "0" for _, c, n in models)
    )


def test_a_month_in_money_is_foreseen_at_todays_price(
    warehouse: duckdb.DuckDBPyConnection, add: Make, check: Make, synced: Make
) -> None:
    synced()
    for ago in range(40):
        add(1, "COMPLETED", hours=24 * ago + 1, credit_cost=10)
    insert(warehouse, "prices", [{"valid_from": "2024-01-01", "price_per_credit": "0.5", "currency": "USD"}])
    finding = check("budget", monthly_budget="151 USD")
    spent, expected = "75.00 USD spent in 2024-04", "150.00 USD expected by its end"
    assert finding.message.startswith(f"{spent}, {expected} (80 % range: 150.00 USD to 150.00 USD) (budget")
    assert (finding.state, check("budget", monthly_budget="149 USD").state) == ("ok", "warning")
    insert(warehouse, "prices", [{"valid_from": "2024-04-16", "price_per_credit": "9", "currency": "EUR"}])
    finding = check("budget", monthly_budget="149 USD")
    assert (finding.state, finding.message) == ("ok", f"{spent} (budget 149 USD)"), "what is to come has no such price"


def test_views_of_another_version_leave_the_other_checks(
    warehouse: duckdb.DuckDBPyConnection, check: Make, synced: Make
) -> None:
    synced()
    warehouse.execute("create or replace view reports.daily_spend as select 1 as credits")
    states = {name: check(name, monthly_budget="100 USD").state for name in CHECKS}
    needed_by = ("budget", "unusual_spend", "unusual_failures")
    assert states == dict.fromkeys(CHECKS, "ok") | dict.fromkeys(needed_by, "unmeasured")
