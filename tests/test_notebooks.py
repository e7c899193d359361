"""Both notebooks without a browser: they run, and show what SQL says."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import marimo as mo
import pytest
from reports.tables import account, base_tables, hostile, insert

from pipelines.pages import Section
from pipelines.reports import create_views
from pipelines.stores.duckdb import connect_readonly

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = ("credit_spend", "failure_rates")


def run(name: str, **given: Any) -> tuple[str, dict[str, Section]]:
    """Run a notebook; return all it shows, as text, and its answers by section."""
    shown, defined = cells(name, **given)
    return shown, defined.get("answers", {})


def cells(name: str, **given: Any) -> tuple[str, dict[str, Any]]:
    """Run a notebook; return all it shows, as text, and what its cells define."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shown, defined = module.app.run(defs=given)
    return "\n".join(str(getattr(part, "text", "")) for part in shown if part is not None), dict(defined)


@pytest.fixture
def path(isolated: Path) -> Path:
    """Where the notebooks look for the warehouse: config's default, under the project folder."""
    (isolated / "data").mkdir()
    return isolated / "data" / "warehouse.duckdb"


@pytest.fixture
def warehouse(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with base_tables(str(path)) as connection:
        account(connection)
        create_views(connection, "UTC")
    with connect_readonly(path) as connection:
        yield connection


def sql(connection: duckdb.DuckDBPyConnection, query: str) -> list[Any]:
    return list(connection.execute(query).fetchall()[0])


RECENT = "day > (select max(day) from reports.jobs) - 30"


def test_credit_spend_shows_the_totals_of_the_views(warehouse: duckdb.DuckDBPyConnection) -> None:
    shown, answers = run("credit_spend")
    spent, pending, jobs, unknown = sql(
        warehouse,
        "select sum(credits), sum(credits_pending), cast(sum(jobs) as integer), "
        f"cast(sum(jobs_cost_unknown) as integer) from reports.daily_spend where {RECENT}",
    )
    total = answers["credits_at_a_glance"].data.iloc[0]
    assert (total["credits"], total["credits_pending"], total["jobs"]) == (spent, pending, jobs)
    assert total["jobs_cost_unknown"] == unknown > 0
    assert answers["spend"].data.summary["credits"].sum() == answers["result_costs"].data["credits"].sum() == spent
    assert f"{spent:,.0f}" in shown


def test_failure_rates_shows_the_totals_of_the_views(warehouse: duckdb.DuckDBPyConnection) -> None:
    shown, answers = run("failure_rates")
    failed, finished = sql(
        warehouse,
        "select cast(sum(failed) as integer), cast(sum(finished) as integer) "
        f"from reports.daily_reliability where {RECENT}",
    )
    total = answers["outcomes_at_a_glance"].data.iloc[0]
    assert (total["failed"], total["finished"]) == (failed, finished)
    for section in ("failure_rates", "failure_rate_over_time"):
        assert answers[section].data["failed"].sum() == failed
    assert answers["failure_reasons"].data["jobs"].sum() == failed
    assert f"{100 * failed / (failed + finished):.1f} %" in shown


def test_credits_are_shown_to_the_last_digit(path: Path) -> None:
    with base_tables(str(path)) as connection:
        for cost in ("10000000000000.0001", "0.2"):
            job = {"id": cost, "status": "COMPLETED", "credit_cost": cost, "created_at": "@60"}
            insert(connection, "jobs", [job])
        create_views(connection, "UTC")
    assert run("credit_spend")[0].count("10,000,000,000,000.2001") >= 2  # headline, sentence


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_filters_change_what_is_counted(name: str, warehouse: duckdb.DuckDBPyConnection) -> None:
    first, last = sql(warehouse, "select max(day) - 9, max(day) - 2 from reports.jobs")
    [(expected,)] = warehouse.execute(
        "select count(*) from reports.jobs where model = 'model-3' "
        "and cast(created_at at time zone 'Asia/Tokyo' as date) between ? and ?",
        [first, last],
    ).fetchall()
    chosen = mo.ui.dictionary(
        {
            "days": mo.ui.date_range(value=(first, last)),
            "zone": mo.ui.dropdown(["Asia/Tokyo"], value="Asia/Tokyo"),
            "models": mo.ui.multiselect(["model-3"], value=["model-3"]),
            "unit": mo.ui.dropdown(["week"], value="week"),
        }
    )
    answers = run(name, filters=chosen)[1]
    glance = next(iter(answers.values()))
    last_one = answers["result_costs" if name == "credit_spend" else "turnaround"]
    assert glance.data["jobs"][0] == expected > 0
    assert glance.asked.unit == "week"
    assert last_one.data["model"].tolist() == ["model-3"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_days_of_every_time_zone_can_be_chosen(name: str, warehouse: duckdb.DuckDBPyConnection) -> None:
    [first, last] = sql(
        warehouse,
        "select min(cast(created_at at time zone 'Etc/GMT+12' as date)), "
        "max(cast(created_at at time zone 'Pacific/Kiritimati' as date)) from reports.jobs",
    )
    days = cells(name)[1]["filters"].elements["days"]
    assert days.start <= first
    assert days.stop >= last


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_hostile_text_stays_text(name: str, path: Path) -> None:
    with base_tables(str(path)) as connection:
        hostile(connection)
        create_views(connection, "UTC")
        connection.execute("delete from apiframe.sync_runs")
    shown, answers = run(name)
    assert "Last good sync: never." in shown
    assert len(answers["result_costs" if name == "credit_spend" else "failure_rates"].data) == 7
    assert "<img src=x" not in shown
    assert "<script>" not in shown


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_without_a_warehouse_there_is_a_page_that_says_what_to_run(name: str) -> None:
    shown, _ = run(name)
    assert "make sync" in shown
    assert "make demo" in shown


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_warehouse_without_jobs_or_views_says_so_too(name: str, path: Path) -> None:
    with base_tables(str(path)) as connection:
        connection.execute("select 1")
    assert "make sync" in run(name)[0]
    with duckdb.connect(str(path)) as connection:
        create_views(connection, "UTC")
    assert "holds no jobs" in run(name)[0]
