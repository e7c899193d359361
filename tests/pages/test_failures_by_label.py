"""Whose jobs fail."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import duckdb
from reports.tables import insert

from pipelines.pages import Asked
from pipelines.pages.failures_by_label import FailuresByLabel
from pipelines.reports import queries
from pipelines.reports.queries import Period

Make = Callable[..., Any]
DAY = datetime(2024, 4, 16, tzinfo=UTC)


def load(warehouse: duckdb.DuckDBPyConnection, **chosen: Any) -> Any:
    known = queries.extent(warehouse)
    assert known
    asked = Asked(Period(DAY.date(), DAY.date(), **chosen), "day", DAY, known)
    return FailuresByLabel.load(warehouse, asked)


def test_without_labels_it_is_not_there(warehouse: duckdb.DuckDBPyConnection, add: Make) -> None:
    add(1, "FAILED")
    assert load(warehouse) is None


def test_each_value_has_its_rate_and_so_has_what_carries_none(
    warehouse: duckdb.DuckDBPyConnection, add: Make, answer: Make, cells: Make
) -> None:
    add(2, "FAILED")
    add(4, "COMPLETED")
    add(1, "PROCESSING")
    jobs = (("job-0", "<b>"), ("job-2", "<b>"), ("job-3", "y"), ("job-6", "z"))
    insert(
        warehouse,
        "labels",
        [{"job_id": job, "label": "customer", "value": value, "other_values": 0} for job, value in jobs],
    )
    section = answer(FailuresByLabel)
    assert cells(section, "Label", "Value", "Finished", "Failed", "Failed (%)") == [
        ["customer", "<b>", "1", "1", "50.0"],
        ["customer", "(none)", "2", "1", "33.3"],
        ["customer", "y", "1", "0", "0.0"],
    ]
    assert len(load(warehouse, labels=(("customer", ("<b>",)),))) == 1
    add(1, "FAILED", hours=48)  # not in the period
    assert list(load(warehouse)["failed"]) == [1, 1, 0]
