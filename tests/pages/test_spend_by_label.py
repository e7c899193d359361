"""Who the jobs were for."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import duckdb
from reports.tables import insert

from pipelines.pages.spend_by_label import SpendByLabel

Make = Callable[..., Any]


def name(warehouse: duckdb.DuckDBPyConnection, *lines: tuple[str, str, str], others: int = 0) -> None:
    """Give job number ... a value of a label."""
    insert(
        warehouse,
        "labels",
        [
            {"job_id": f"job-{job}", "label": label, "value": value, "other_values": others}
            for job, label, value in lines
        ],
    )


def test_without_labels_there_is_nothing_to_see(add: Make, answer: Make) -> None:
    add(1, "COMPLETED", credit_cost=1)
    section = answer(SpendByLabel)
    assert (section.chart(900), section.table(), section.sentence(), section.question) == (None, None, "", "")


def test_each_label_tells_of_all_credits_and_of_those_that_have_none(
    warehouse: duckdb.DuckDBPyConnection, add: Make, answer: Make, cells: Make
) -> None:
    add(3, "COMPLETED", credit_cost=Decimal("1.5"))
    add(1, "COMPLETED", credit_cost=3)
    add(1, "PROCESSING", credit_cost=7)
    add(1, "COMPLETED", credit_cost=100, hours=24 * 40)  # not in the period
    name(warehouse, ("0", "project", "<b>alpha</b>"), ("3", "project", "beta"), ("5", "project", "alpha"))
    name(warehouse, ("1", "client", "x"), ("gone", "client", "y"), others=1)
    section = answer(SpendByLabel)
    assert section.question == "Who was it for?"
    assert cells(section, "Label", "Value", "Jobs", "Credits", "Share (%)", "Pending (credits)") == [
        ["client", "(none)", "4", "6", "80.0", "7"],
        ["client", "x", "1", "1.5", "20.0", "0"],
        ["project", "(none)", "3", "3", "40.0", "7"],
        ["project", "beta", "1", "3", "40.0", "0"],
        ["project", "<b>alpha</b>", "1", "1.5", "20.0", "0"],
    ]
    assert section.sentence() == (
        "client: 20.0 % of the credits have a value, 6 have none. "
        "To 1 job the file gives several values: the first counts. "
        "project: 60.0 % of the credits have a value, 3 have none."
    )
    assert len(section.chart(900).data) == 5


def test_a_chart_of_many_values_keeps_what_is_not_labelled(
    warehouse: duckdb.DuckDBPyConnection, add: Make, answer: Make
) -> None:
    add(40, "COMPLETED", credit_cost=1)
    name(warehouse, *((str(job), label, f"v{job}") for job in range(40) for label in ("a", "b")))
    drawn = list(answer(SpendByLabel).chart(340).data["name"])
    assert len(drawn) == 12
    assert {"a: (none)", "b: (none)"} <= set(drawn)


def test_a_period_without_credits_is_said(warehouse: duckdb.DuckDBPyConnection, add: Make, answer: Make) -> None:
    add(1, "COMPLETED")
    name(warehouse, ("0", "project", "alpha"))
    assert answer(SpendByLabel).sentence() == "project: no credits were spent in this period."


def test_what_has_no_value_may_have_no_known_cost(
    warehouse: duckdb.DuckDBPyConnection, add: Make, answer: Make
) -> None:
    add(1, "COMPLETED", credit_cost=2)
    add(1, "COMPLETED")
    name(warehouse, ("0", "project", "alpha"))
    assert answer(SpendByLabel).sentence() == "project: 100.0 % of the credits have a value, 0 have none."


def test_of_very_many_labels_some_are_named(warehouse: duckdb.DuckDBPyConnection, add: Make, answer: Make) -> None:
    add(1, "COMPLETED", credit_cost=2)
    name(warehouse, *(("0", f"label {number:02}", "x") for number in range(20)))
    section = answer(SpendByLabel)
    assert section.sentence().count("of the credits") == 6
    assert section.sentence().endswith(" 14 more labels.")
    assert len(section.chart(900).data) == 12
