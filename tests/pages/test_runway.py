"""What is left, and for how long."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pytest
from reports.tables import insert

from pipelines import charts
from pipelines.pages import Asked, answers
from pipelines.pages.runway import CreditsLeft
from pipelines.reports import queries
from pipelines.reports.queries import Period

Make = Callable[..., Any]
NOW = datetime(2024, 4, 16, 12, tzinfo=UTC)  # of the other fixtures


@pytest.fixture
def left(warehouse: duckdb.DuckDBPyConnection) -> Callable[..., None]:
    """Have a sync end well that read what is left, so many hours before NOW."""

    def reading(hours: float, amount: str | None, problem: str | None = None) -> None:
        at = (NOW - timedelta(hours=hours)).isoformat()
        insert(warehouse, "balances", [{"read_at": at, "credits": amount, "problem": problem, "account": "t"}])
        insert(warehouse, "sync_runs", [{"started_at": at, "finished_at": at, "scope": "user", "number": -hours}])

    return reading


def test_without_a_reading_there_is_no_section(add: Make, warehouse: duckdb.DuckDBPyConnection) -> None:
    add(1, "COMPLETED", credit_cost=1)
    known = queries.extent(warehouse)
    assert known
    asked = Asked(Period(NOW.date(), NOW.date()), "day", NOW, known)
    assert CreditsLeft.load(warehouse, asked) is None
    assert "runway" not in {section.name for section in answers("report", warehouse, asked)}


def test_what_is_left_and_until_when(add: Make, answer: Make, left: Make, cells: Make) -> None:
    for day in range(30):
        add(1, "COMPLETED", hours=24 * day + 1, credit_cost=10 if day % 7 else 3, scope="user")
    left(30, "150")
    left(0, "100")
    section = answer(CreditsLeft, timezone="Asia/Tokyo")
    assert [(card.title, card.value) for card in section.cards()] == [
        ("Credits left", "100"),
        ("Credits a day", "9.0"),
        ("They last until", "27 Apr 2024"),
    ]
    assert "until 2024-04-27 (80 % range: 2024-04-27 to 2024-04-27) at 9.0 credits a day" in section.sentence()
    assert "others of your team" in section.sentence()
    assert ["Tuesday", "3"] in cells(section)
    drawn = section.chart(900)
    charts.picture(drawn, "runway")
    readings = drawn.layer[2].data
    assert readings["at"].tolist() == ["2024-04-15T15:00:00Z", "2024-04-16T21:00:00Z", "2024-04-16T21:00:00Z"]
    assert readings["figure"].tolist() == [150, 100, 100]
    assert drawn.layer[1].data["figure"].iloc[-1] == 0


@pytest.mark.parametrize("amount", ["-3", "100"])
def test_an_account_that_is_too_young_or_has_nothing_left_still_has_a_picture(
    amount: str, add: Make, answer: Make, left: Make
) -> None:
    add(1, "COMPLETED", credit_cost=10)
    left(0, amount)
    section = answer(CreditsLeft)
    assert section.table() is None
    assert section.cards()[2].value == {"-3": "no credits are left", "100": "too young"}[amount]
    charts.picture(section.chart(340), "runway")


def test_a_balance_that_was_never_read_says_why(add: Make, answer: Make, left: Make) -> None:
    add(1, "COMPLETED", credit_cost=10)
    left(0, None, "<b>no team</b>")
    section = answer(CreditsLeft)
    assert (section.cards(), section.chart(900), section.table()) == ([], None, None)
    assert section.sentence() == "How long the credits last: unknown: <b>no team</b>."
