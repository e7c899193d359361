"""Both notebooks without a browser: they run, and show what SQL says."""

import importlib.util
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import marimo as mo
import pytest
from marimo._runtime.params import QueryParams
from marimo._runtime.state import StateRegistry
from reports.tables import account, base_tables, hostile, insert

from pipelines import address
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
    assert f"{100 * failed / (failed + finished):.1f} %" in shown.replace("\u00a0", " ")


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
    assert "apiframe-warehouse sync" in shown
    assert "apiframe-warehouse demo" in shown


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_warehouse_without_jobs_or_views_says_so_too(name: str, path: Path) -> None:
    with base_tables(str(path)) as connection:
        connection.execute("select 1")
    assert "apiframe-warehouse sync" in run(name)[0]
    with duckdb.connect(str(path)) as connection:
        create_views(connection, "UTC")
    assert "holds no jobs" in run(name)[0]


# Filters


@pytest.fixture
def parts(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A warehouse of two scopes and of two labels, one of them with a name that means harm."""
    with base_tables(str(path)) as connection:
        account(connection)
        connection.execute("update apiframe.jobs set scope = 'team' where hash(id) % 3 = 0")
        for label, value in (("customer", "acme"), ("<b>*x*</b>", "y")):
            connection.execute(
                f"insert into apiframe.labels by name select id as job_id, '{label}' as label, '{value}' as value, "
                "0 as other_values from apiframe.jobs where hash(id) % 5 = 0"
            )
        create_views(connection, "UTC")
    with connect_readonly(path) as connection:
        yield connection


@pytest.fixture
def link(monkeypatch: pytest.MonkeyPatch) -> Callable[..., QueryParams]:
    """The address that a page is opened with; what is chosen changes it."""

    def opened(**given: str) -> QueryParams:
        # As marimo gives it to a notebook that is served; one that is run has none.
        params = QueryParams({key.replace("_", " "): text for key, text in given.items()}, _registry=StateRegistry())
        monkeypatch.setattr(address.mo, "query_params", lambda: params)
        return params

    return opened


def test_an_account_of_one_scope_without_labels_is_not_asked_about_them(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert list(cells("credit_spend")[1]["filters"].elements) == ["days", "zone", "models", "unit"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_configured_scope_is_shown_and_said(name: str, parts: duckdb.DuckDBPyConnection) -> None:
    shown, answers = run(name)
    [expected] = sql(parts, f"select count(*) from reports.jobs where {RECENT} and scope = 'user'")
    total = next(iter(answers.values())).data.iloc[0]
    assert total["jobs"] == expected > 0
    assert "<p>Your own jobs (scope user)" in shown


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_link_shows_what_was_chosen(
    name: str, parts: duckdb.DuckDBPyConnection, link: Callable[..., QueryParams]
) -> None:
    [last] = sql(parts, "select max(day) from reports.jobs")
    days = f"{last - timedelta(days=8)},{last - timedelta(days=1)}"
    link(
        days=days,
        scope="team",
        per="week",
        model="model-1,model-2",
        label_customer="acme",
        of="model-2",
        first="dearest",
    )
    shown, defined = cells(name)
    [jobs, behind] = sql(
        parts,
        "select count(*), count(*) filter (model = 'model-2') from reports.labelled_jobs "
        f"where label = 'customer' and value = 'acme' and day between date '{days[:10]}' and date '{days[11:]}' "
        "and model in ('model-1', 'model-2')",
    )
    first = next(iter(defined["answers"].values()))
    assert (first.data.iloc[0]["jobs"], first.asked.unit) == (jobs, "week")
    assert f"<p>All {behind} jobs, dearest first." in shown.replace('<span class="paragraph">', "<p>")
    assert "Only jobs with customer = acme." in shown


def test_what_is_chosen_is_written_into_the_address(
    parts: duckdb.DuckDBPyConnection, link: Callable[..., QueryParams]
) -> None:
    there = link()
    address.keep("model", ["a,b", 'c"d', ""])
    assert address.kept("model") == ["a,b", 'c"d', ""]
    address.keep("model", [])
    address.keep("model", [])
    assert "model" not in there


@pytest.mark.parametrize("hostile_text", ["<script>", "x,y,z", "9999-99-99,1", '"', "\0", "2026-01-01,0001-01-01"])
def test_what_an_address_says_that_is_not_there_to_choose_is_left_out(
    hostile_text: str, parts: duckdb.DuckDBPyConnection, link: Callable[..., QueryParams]
) -> None:
    usual = cells("credit_spend")[1]["filters"].value
    keys = ("days", "zone", "model", "per", "scope", "label_customer", "of", "on", "first")
    link(**dict.fromkeys(keys, hostile_text))
    shown, defined = cells("credit_spend")
    assert defined["filters"].value == usual
    assert "<script>" not in shown


def test_a_label_is_shown_as_it_is_written(parts: duckdb.DuckDBPyConnection) -> None:
    shown = cells("credit_spend")[0]
    assert "<b>" not in shown
    assert "<em>x" not in shown


# The jobs behind a bar


def test_the_jobs_behind_a_bar_are_listed_with_their_ids(
    warehouse: duckdb.DuckDBPyConnection, link: Callable[..., QueryParams]
) -> None:
    [day] = sql(warehouse, "select max(day) - 3 from reports.jobs")
    link(on=f"{day}", of="model-2", first="newest failures")
    shown, defined = cells("failure_rates")
    ids = [
        identity
        for (identity,) in warehouse.execute(
            f"select id from reports.jobs where day = date '{day}' and model = 'model-2' and is_failed"
        ).fetchall()
    ]
    assert ids
    assert all(f"<td>{identity}</td>" in shown for identity in ids)
    assert f"All {len(ids)} job" in shown
    link(first="dearest")
    shown, defined = cells("credit_spend")
    [jobs] = sql(warehouse, f"select count(*) from reports.jobs where {RECENT}")
    assert f"200 of {jobs:,} jobs, dearest first." in shown
    assert set(defined["drill"].elements["start"].options) > {f"{day}"}


def test_tables_are_printed_whole(warehouse: duckdb.DuckDBPyConnection) -> None:
    shown = cells("credit_spend")[0]
    printed = shown.split('<table class="whole"')
    assert max(part.count("<tr>") for part in printed) == 201, "the jobs and their header"
    assert any("<tr><td>All</td>" in part for part in printed), "a total"


# The demo's


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_without_a_warehouse_the_demos_is_shown_and_said_to_be_made_up(name: str, path: Path) -> None:
    with base_tables(str(path.with_name("demo.duckdb"))) as connection:
        account(connection, 100, 5)
        create_views(connection, "UTC")
    shown, answers = run(name)
    assert "Made-up data" in shown
    assert next(iter(answers.values())).data.iloc[0]["jobs"] == 100
    with base_tables(str(path)) as connection:
        account(connection, 10, 5)
        create_views(connection, "UTC")
    shown, answers = run(name)
    assert "Made-up data" not in shown
    assert next(iter(answers.values())).data.iloc[0]["jobs"] == 10
