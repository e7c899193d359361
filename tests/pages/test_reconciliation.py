"""Whether jobs and balance add up, for those who read pages."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import duckdb
from pages.conftest import NOW
from reports.tables import insert

from pipelines.pages.reconciliation import Reconciliation

Make = Callable[..., Any]


def readings(warehouse: duckdb.DuckDBPyConnection, *balances: float) -> None:
    """A sync with a reading an hour, the last one just now."""
    for hours, left in enumerate(reversed(balances)):
        read, ended = ((NOW - timedelta(hours=hours, seconds=-later)).isoformat() for later in (0, 5))
        insert(warehouse, "balances", [{"read_at": read, "account": "t", "credits": left}])
        run = {"started_at": read, "finished_at": ended, "scope": "team", "mode": "incremental"}
        insert(warehouse, "sync_runs", [run])


def test_pairs_that_do_not_add_up_are_shown_with_their_size(
    warehouse: duckdb.DuckDBPyConnection, add: Make, answer: Make, cells: Make
) -> None:
    add(1, "COMPLETED", hours=2.5, credit_cost=40)
    readings(warehouse, 100, 59.75, 59.75, 1059.75)
    section = answer(Reconciliation, timezone="Asia/Tokyo")
    assert section.sentence() == (
        "From 2024-04-16 18:00 to 2024-04-16 21:00 1 of 3 pairs of readings did not add up, by -0.25 credits in all; "
        "1,000 credits came in. The last pair: top-up."
    )
    assert cells(section, "To (Asia/Tokyo)", "Verdict", "Credits", "Jobs that explain it") == [
        ["2024-04-16 21:00", "top-up", "+1,000", ""],
        ["2024-04-16 19:00", "charge without a job", "-0.25", ""],
    ]


def test_where_all_adds_up_there_is_no_table(warehouse: duckdb.DuckDBPyConnection, add: Make, answer: Make) -> None:
    add(1, "COMPLETED", hours=0.5, credit_cost=40)
    readings(warehouse, 100, 60)
    section = answer(Reconciliation)
    assert section.table() is None
    assert section.sentence().endswith(" 0 of 1 pair of readings did not add up. The last pair: balances.")


def test_without_readings_nothing_is_asked(add: Make, answer: Make) -> None:
    add(1, "COMPLETED")
    section = answer(Reconciliation)
    assert (section.table(), section.sentence(), section.question) == (None, "", "")
