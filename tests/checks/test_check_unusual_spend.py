"""Spending out of the ordinary that still goes on."""

from collections.abc import Callable
from typing import Any

import duckdb
import pytest
from reports.tables import insert

Make = Callable[..., Any]


@pytest.fixture
def steady(add: Make, synced: Make) -> None:
    """Ten jobs of two credits at noon each day for two months, up to yesterday; NOW is midnight."""
    synced()
    for day in range(60):
        add(10, "COMPLETED", hours=12 + 24 * day, credit_cost=2)


@pytest.mark.usefixtures("steady")
def test_an_ordinary_account_is_in_order(check: Make) -> None:
    assert check("unusual_spend").state == "ok"


@pytest.mark.usefixtures("steady")
def test_a_day_that_runs_away_is_told_with_model_and_credits(
    add: Make, findings: Make, warehouse: duckdb.DuckDBPyConnection
) -> None:
    add(30, "COMPLETED", hours=12, credit_cost=2)
    insert(warehouse, "prices", [{"valid_from": "2024-01-01", "price_per_credit": "0.5", "currency": "USD"}])
    [found] = findings("unusual_spend")
    assert (found.state, found.subject, found.measured) == ("breached", "m", 60)
    assert found.message == (
        "m cost 80 credits on 2024-04-15, 20 were expected: more than usual, 60 credits (30.00 USD) more"
    )


@pytest.mark.usefixtures("steady")
def test_what_is_over_is_told_no_more(add: Make, check: Make) -> None:
    add(30, "COMPLETED", hours=12 + 48, credit_cost=2)
    assert check("unusual_spend").state == "ok"


@pytest.mark.usefixtures("steady")
def test_less_is_a_warning(add: Make, check: Make, warehouse: duckdb.DuckDBPyConnection) -> None:
    warehouse.execute("delete from apiframe.jobs where created_at > timestamptz '2024-04-15 00:00:00+00'")
    found = check("unusual_spend")
    assert (found.state, found.subject, found.measured) == ("warning", "m, less", -20)
    assert found.message.endswith("20 were expected: no longer used, 20 credits less")


@pytest.mark.usefixtures("steady")
def test_a_new_model_is_said(add: Make, check: Make) -> None:
    add(1, "COMPLETED", hours=12, credit_cost=5, model="new\x1b[31m")
    found = check("unusual_spend")
    assert (found.state, found.message) == (
        "breached",
        "new [31m cost 5 credits on 2024-04-15, 0 were expected: a new model, 5 credits more",
    )


def test_nothing_is_said_of_what_is_too_young(add: Make, check: Make, synced: Make) -> None:
    synced()
    add(1, "COMPLETED", hours=12 + 24, credit_cost=1)
    add(90, "COMPLETED", hours=12, credit_cost=100)
    assert (check("unusual_spend").state, check("unusual_failures").state) == ("ok", "ok")
