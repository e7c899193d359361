"""Views: given jobs, then rows. Cases lie in tests/reports/<view>/ as input.json and expected.csv."""

import csv
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from math import sqrt
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports.tables import base_tables, insert

from pipelines.errors import ApiframeWarehouseError, ConfigurationError
from pipelines.reports import ENGINES, FOLDER, create_views, read_rules, read_views
from pipelines.reports.queries import Period, summary
from pipelines.tables import tables

CASES = sorted(path.parent for path in Path(__file__).parent.glob("reports/*/input.json"))
VIEWS = {view.name: view for view in read_views()}


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    with base_tables() as connection:
        yield connection


def rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query).fetchall()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_view_gives_the_expected_rows(case: Path, warehouse: duckdb.DuckDBPyConnection) -> None:
    given_rows = json.loads((case / "input.json").read_text())
    for table in tables():
        insert(warehouse, table, given_rows.get(table, []))
    create_views(warehouse, given_rows["timezone"])
    with (case / "expected.csv").open() as lines:
        expected = list(csv.DictReader(lines))
    columns = list(expected[0])
    found = rows(
        warehouse,
        "select "
        + ", ".join(
            # Six digits: enough to tell an interval, few enough to write by hand.
            f"cast(round({column}, 6) as varchar)"
            if "rate" in column or "share" in column
            else f"cast({column} as varchar)"
            for column in columns
        )
        + f" from reports.{case.name}",
    )
    assert sorted(tuple(value or "" for value in row) for row in found) == sorted(
        tuple(row.values()) for row in expected
    )


def test_every_view_has_a_case_and_a_line_in_the_readme() -> None:
    assert {case.name for case in CASES} == set(VIEWS)
    table = re.findall(r"^\|.*\| `(\w+)` \|", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert sorted(table) == sorted(VIEWS)


@pytest.mark.parametrize("view", VIEWS.values(), ids=lambda view: view.name)
def test_description_is_true_and_in_the_database(view: Any, warehouse: duckdb.DuckDBPyConnection) -> None:
    create_views(warehouse, "UTC")
    described = rows(
        warehouse,
        f"select column_name, comment from duckdb_columns() "
        f"where schema_name = 'reports' and table_name = '{view.name}' order by column_index",
    )
    assert dict(described) == view.columns
    assert [name for name, _ in described] == list(view.columns)
    [(comment,)] = rows(
        warehouse, f"select comment from duckdb_views() where view_name = '{view.name}' and schema_name = 'reports'"
    )
    assert comment.startswith(view.description)
    assert view.description.startswith("One row ")
    assert view.needs == set(re.findall(r"\b(?:apiframe|reports)\.\w+", view.query))


def test_plain_views_stay_within_what_every_engine_knows() -> None:
    special = r"\b(qualify|arg_max|regexp\w*|group by all|lambda|unnest|list_\w+|epoch)\b|::|->"
    for view in VIEWS.values():
        assert view.engines < ENGINES or not re.search(special, view.query, re.IGNORECASE), view.name


@pytest.mark.parametrize(
    "key",
    [
        "jobs: id",
        "daily_spend: day, model",
        "monthly_spend: month, model",
        "month_end: model, is_total",
        "model_reliability: model",
        "daily_reliability: day, model",
        "failure_reasons: model, failure_reason",
        "turnaround: model",
        "daily_turnaround: day, model",
        "open_jobs: id",
        "webhooks: day, webhook_status",
        "assets: job_id, position",
        "balance: account, read_at",
        "prices_paid: model, credits",
        "focus: resource_id",
    ],
)
def test_grain_is_a_key(key: str, warehouse: duckdb.DuckDBPyConnection) -> None:
    for case in CASES:
        given_rows = json.loads((case / "input.json").read_text())
        insert(warehouse, "jobs", [{**job, "id": f"{case.name}-{job['id']}"} for job in given_rows["jobs"]])
        balances = given_rows.get("balances", [])
        insert(warehouse, "balances", [{**each, "account": f"{case.name}-{each['account']}"} for each in balances])
    create_views(warehouse, "UTC")
    view, columns = key.split(": ")
    assert rows(warehouse, f"select count(*) > 0 from reports.{view}") == [(True,)]
    assert rows(warehouse, f"select {columns} from reports.{view} group by {columns} having count(*) > 1") == []


def test_an_empty_warehouse_has_views_without_rows(warehouse: duckdb.DuckDBPyConnection) -> None:
    create_views(warehouse, "UTC")
    for name in VIEWS:
        assert rows(warehouse, f"select count(*) from reports.{name}") == [(int(name == "freshness"),)]


def test_the_running_month_is_marked(warehouse: duckdb.DuckDBPyConnection) -> None:
    insert(warehouse, "jobs", [{"id": "1", "created_at": "@0"}, {"id": "2", "created_at": "2024-01-01T00:00:00Z"}])
    create_views(warehouse, "UTC")
    assert rows(warehouse, "select is_running from reports.monthly_spend order by month") == [(False,), (True,)]


def test_a_month_that_is_not_known_to_its_end_is_compared_with_nothing(warehouse: duckdb.DuckDBPyConnection) -> None:
    jobs = {"2023-12-01": 10, "2024-01-01": 10, "2024-02-01": 5, "2024-03-01": 1}
    insert(
        warehouse,
        "jobs",
        [
            {"id": day, "status": "COMPLETED", "created_at": f"{day}T12:00:00Z", "credit_cost": cost}
            for day, cost in jobs.items()
        ],
    )
    create_views(warehouse, "America/New_York")
    changes = "select is_running, change from reports.monthly_spend order by month"
    assert rows(warehouse, changes) == [(False, None), (False, 0.0), (False, -0.5), (False, -0.8)]
    for synced, february in (("2024-03-01T04:59:59Z", (True, None)), ("2024-03-01T05:00:00Z", (False, -0.5))):
        warehouse.execute("delete from apiframe.sync_runs")
        insert(warehouse, "sync_runs", [{"started_at": synced}])
        assert rows(warehouse, changes) == [(False, None), (False, 0.0), february, (True, None)]


def test_views_are_made_again_only_where_something_changed(warehouse: duckdb.DuckDBPyConnection) -> None:
    def made() -> list[tuple[Any, ...]]:
        return rows(
            warehouse, "select view_name, view_oid from duckdb_views() where schema_name = 'reports' order by 1"
        )

    create_views(warehouse, "UTC")
    first = made()
    create_views(warehouse, "UTC")
    assert made() == first
    create_views(warehouse, "Europe/Berlin")
    second = made()
    assert second != first
    warehouse.execute("drop view reports.webhooks")
    warehouse.execute("create view reports.of_an_older_version as select 1")
    create_views(warehouse, "Europe/Berlin")
    assert [name for name, _ in made()] == sorted(VIEWS)


def test_a_fault_leaves_the_old_views(warehouse: duckdb.DuckDBPyConnection) -> None:
    create_views(warehouse, "UTC")
    with pytest.raises(ConfigurationError, match="Mars/Base"):
        create_views(warehouse, "Mars/Base")
    warehouse.execute("alter table apiframe.jobs drop column webhook_status")
    with pytest.raises(ApiframeWarehouseError, match="webhook_status"):
        create_views(warehouse, "Europe/Berlin")
    assert len(rows(warehouse, "select 1 from duckdb_views() where schema_name = 'reports'")) == len(VIEWS)


def test_users_rules_take_the_place_of_ours(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    rules = tmp_path / "error_classes.csv"
    rules.write_text('\ufefftext,reason\n"it\'s, {double(1)} ""odd""",o\'dd\n100%,percent\n', encoding="utf-8")
    insert(
        warehouse,
        "jobs",
        [
            {"id": str(place), "status": "FAILED", "error": error, "created_at": "2024-01-01T00:00:00Z"}
            for place, error in enumerate(['so IT\'S, {double(1)} "ODD"', "100%", "1000", "timeout"])
        ],
    )
    create_views(warehouse, "UTC", rules)
    assert rows(warehouse, "select failure_reason from reports.jobs order by id") == [
        ("o'dd",),
        ("percent",),
        ("unknown",),
        ("unknown",),
    ]
    create_views(warehouse, "UTC", tmp_path / "missing.csv")
    assert rows(warehouse, "select failure_reason from reports.jobs order by id")[-1] == ("time-out",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        'text,reason\n"no end,' + "x" * 1000,
        "text;reason\na;b\n",
        "text,reason\nonly\n",
        "text,reason\n ,b\n",
        "text,reason\na,b,c\n",
    ],
)
def test_a_broken_rule_file_is_refused_by_name(text: str, tmp_path: Path) -> None:
    file = tmp_path / "error_classes.csv"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=r"error_classes\.csv") as caught:
        read_rules(file)
    assert len(str(caught.value)) < len(str(file)) + 200


def test_our_rules_are_all_reachable() -> None:
    rules = read_rules()
    for place, (text, _) in enumerate(rules):
        assert not [earlier for earlier, _ in rules[:place] if earlier in text], text


START = datetime(2024, 3, 28, tzinfo=UTC)  # Europe's clocks change three days later
PRICES = {date(2024, 3, 29): Decimal("0.0123456789"), date(2024, 3, 31): Decimal(7), date(2024, 4, 2): Decimal("0.3")}


def wilson(failed: int, ended: int) -> tuple[float, float]:
    """Both roots of (p - rate)^2 = z^2 p (1 - p) / n, straight from the definition."""
    z2, rate = 1.959963984540054**2, failed / ended
    a, b, c = 1 + z2 / ended, -(2 * rate + z2 / ended), rate**2
    root = sqrt(max(0.0, b * b - 4 * a * c))
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


jobs = st.lists(
    st.fixed_dictionaries(
        {
            "status": st.sampled_from(
                ["QUEUED", "PROCESSING", "COMPLETED", "COMPLETED", "FAILED", "CANCELLED", "NEW", None]
            ),
            "model": st.sampled_from(["a", "b", "it's", "", None]),
            "credit_cost": st.none() | st.decimals(0, 1000, places=4),
            "asset_count": st.none() | st.integers(0, 8),
            "error": st.none() | st.sampled_from(["Timeout", "NSFW content", "x"]),
            "created_at": st.integers(0, 6 * 86_400).map(lambda after: START + timedelta(seconds=after)),
            "turnaround": st.none() | st.integers(-5, 500),
            "delisted_at": st.sampled_from([None, None, None, "2024-05-01T00:00:00Z"]),
        }
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(account=jobs, zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/Sao_Paulo"]))
def test_any_account_is_counted_as_plain_python_counts_it(account: list[dict[str, Any]], zone: str) -> None:
    """Credits and rates by day and model, from the jobs alone, without any of our SQL."""
    expected: dict[tuple[date, str | None], dict[str, Any]] = defaultdict(lambda: defaultdict(Decimal))
    for job in account:
        key = (job["created_at"].astimezone(ZoneInfo(zone)).date(), job["model"])
        group, cost = expected[key], job["credit_cost"]
        still_open = job["status"] in ("QUEUED", "PROCESSING") and not job["delisted_at"]
        group["jobs"] += 1
        group["finished"] += job["status"] == "COMPLETED"
        group["failed"] += job["status"] == "FAILED"
        group["open"] += still_open
        if cost is None:
            group["unknown"] += job["status"] != "FAILED"
        elif still_open:
            group["pending"] += cost
        else:
            group["credits"] += cost
            group["cost"] += cost * next((price for day, price in reversed(PRICES.items()) if day <= key[0]), 0)
            group["due"] += cost if job["status"] == "FAILED" else 0
    with base_tables() as connection:
        insert(
            connection,
            "jobs",
            [
                {
                    **job,
                    "id": f"{place}",
                    "completed_at": None
                    if job["turnaround"] is None
                    else (job["created_at"] + timedelta(seconds=job["turnaround"])).isoformat(),
                    "created_at": job["created_at"].isoformat(),
                }
                for place, job in enumerate(account)
            ],
        )
        lines = [{"valid_from": day, "price_per_credit": price, "currency": "USD"} for day, price in PRICES.items()]
        insert(connection, "prices", lines)
        create_views(connection, zone)
        spend = {
            row[:2]: row[2:]
            for row in rows(
                connection,
                """
            select day, model, jobs, finished, coalesce(credits, 0), coalesce(credits_pending, 0),
                credits_refund_due, credits_refunded, jobs_cost_unknown, coalesce(cost, 0) from reports.daily_spend""",
            )
        }
        job_by_job = rows(connection, "select day, model, coalesce(sum(cost), 0) from reports.jobs group by day, model")
        rates = {
            row[:2]: row[2:]
            for row in rows(
                connection,
                """
            select day, model, failed, open, failure_rate, failure_rate_low, failure_rate_high
            from reports.daily_reliability""",
            )
        }
        whole = summary(connection, Period(date(2024, 1, 1), date(2024, 12, 31), zone)).iloc[0]
        by_day = summary(connection, Period(date(2024, 1, 1), date(2024, 12, 31), zone), "day", "model")
    names = ("jobs", "finished", "credits", "pending", "due", "refunded", "unknown", "cost")
    assert spend == {key: tuple(group[name] for name in names) for key, group in expected.items()}
    assert {row[:2]: row[2] for row in job_by_job} == {key: group["cost"] for key, group in expected.items()}
    assert set(rates) == set(expected)
    for key, (failed, still_open, rate, low, high) in rates.items():
        assert (failed, still_open) == (expected[key]["failed"], expected[key]["open"])
        ended = int(expected[key]["failed"] + expected[key]["finished"])
        if not ended:
            assert (rate, low, high) == (None, None, None)
        else:
            assert (rate, low, high) == pytest.approx((failed / ended, *wilson(failed, ended)), abs=1e-9)
            assert 0 <= low <= rate <= high <= 1
    assert whole["jobs"] == len(account)
    assert (whole["credits"] or 0) == sum(group["credits"] for group in expected.values())
    by_day["model"] = by_day["model"].astype(object).where(by_day["model"].notna(), None)
    assert {(row.day, row.model): row.jobs for row in by_day.itertuples()} == {
        key: group["jobs"] for key, group in expected.items()
    }


def test_a_period_counts_its_days_and_models(warehouse: duckdb.DuckDBPyConnection) -> None:
    insert(
        warehouse,
        "jobs",
        [
            {
                "id": "1",
                "status": "COMPLETED",
                "model": "a",
                "credit_cost": 2,
                "created_at": "2024-01-01T22:59:59Z",
                "completed_at": "2024-01-01T23:00:09Z",
            },
            {"id": "2", "status": "COMPLETED", "model": "a", "credit_cost": 3, "created_at": "2024-01-01T23:00:00Z"},
            {"id": "3", "status": "FAILED", "model": None, "error": "timeout", "created_at": "2024-01-02T10:00:00Z"},
            {"id": "4", "status": "COMPLETED", "model": "b", "credit_cost": 5, "created_at": "2024-01-02T23:00:00Z"},
        ],
    )
    create_views(warehouse, "UTC")
    day = Period(date(2024, 1, 2), date(2024, 1, 2), "Europe/Berlin")
    assert list(summary(warehouse, day, "model")["jobs"]) == [1, 1]
    assert summary(warehouse, day.before()).iloc[0]["credits"] == 2
    nameless = Period(day.first, day.last, day.timezone, models=("",))
    assert summary(warehouse, nameless).iloc[0]["jobs"] == 1
    week = Period(date(2024, 1, 1), date(2024, 1, 7))
    assert summary(warehouse, week, "week")["week"].tolist() == [date(2024, 1, 1)]


@pytest.mark.parametrize(("days", "unit"), [(1, "day"), (120, "day"), (121, "week"), (840, "week"), (841, "month")])
def test_long_periods_are_shown_in_larger_units(days: int, unit: str) -> None:
    first = date(2024, 1, 1)
    assert Period(first, first + timedelta(days=days - 1)).unit() == unit


def test_refunds_that_are_due_come_newest_first_with_their_age(warehouse: duckdb.DuckDBPyConnection) -> None:
    costs = {"old": ("@7200", 1), "new": ("@60", 2), "back": ("@30", 0), "between": ("@600", 3)}
    insert(
        warehouse,
        "jobs",
        [{"id": name, "status": "FAILED", "created_at": at, "credit_cost": cost} for name, (at, cost) in costs.items()],
    )
    create_views(warehouse, "UTC")
    found = rows(warehouse, "select id, age_s from reports.refunds_due")
    assert [name for name, _ in found] == ["new", "between", "old"]
    assert [age for _, age in found] == pytest.approx([60, 600, 7200], abs=30)
