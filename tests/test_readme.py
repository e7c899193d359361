"""What README shows in Python does what it says, as it is printed there."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from readme import shown
from reports.tables import account, base_tables, insert

from pipelines.reports import create_views


def test_pandas_gets_days_that_it_can_count_with_and_credits_to_the_last_digit(isolated: Path) -> None:
    (isolated / "data").mkdir()
    with base_tables(str(isolated / "data" / "warehouse.duckdb")) as connection:
        account(connection, 400, 40)
        for cost in ("10000000000000.0001", "0.2", None):
            job = {"id": f"{cost}", "status": "COMPLETED", "model": "dear", "credit_cost": cost, "created_at": "@60"}
            insert(connection, "jobs", [job])
        create_views(connection, "UTC")
        models = dict(connection.execute("select model, sum(credits) from reports.jobs group by model").fetchall())
        [(days,)] = connection.execute("select max(day) - min(day) from reports.daily_spend").fetchall()
    names: dict[str, Any] = {}
    exec(shown("**Python and pandas**"), names)
    by_model, weekly = names["by_model"], names["weekly"]
    assert by_model.to_dict() == models
    assert by_model["dear"] == Decimal("10000000000000.2001")
    assert days < (weekly.index[-1] - weekly.index[0] + timedelta(days=7)).days <= days + 14
    assert weekly.dtype == "float64"
    assert weekly.sum() == pytest.approx(float(sum(models.values())))
