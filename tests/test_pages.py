"""The house of the sections: found by listing a folder, each with its test, none able to take a page down."""

import pkgutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from reports.tables import account, base_tables

from pipelines import charts, notebook, pages
from pipelines.pages import Asked
from pipelines.report import write_report
from pipelines.reports import create_views, queries
from pipelines.reports.queries import Period

TESTS = Path(__file__).parent
NOW = datetime.now(UTC)
FIRST = NOW.date() - timedelta(days=9)


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    with base_tables() as connection:
        account(connection, 400, 20)
        create_views(connection, "UTC")
        yield connection


def report(connection: duckdb.DuckDBPyConnection, target: Path) -> str:
    write_report(connection, target, FIRST, NOW.date(), "UTC", NOW)
    return target.read_text()


def asked(connection: duckdb.DuckDBPyConnection) -> Asked:
    known = queries.extent(connection)
    assert known
    return Asked(Period(FIRST, NOW.date()), "day", NOW, known)


def test_every_file_is_a_section_of_a_page_that_exists_and_has_its_test() -> None:
    files = {found.name for found in pkgutil.iter_modules(pages.__path__)}
    notebooks = {file.stem for file in (TESTS.parent / "notebooks").glob("*.py")}
    shown = {kind.__module__.rpartition(".")[2] for page in {"report", *notebooks} for kind in pages.sections(page)}
    assert shown == files
    assert {file.stem for file in (TESTS / "pages").glob("test_*.py")} == {f"test_{name}" for name in files}


def test_a_section_whose_view_is_missing_leaves_the_rest_of_the_report(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    usual = report(warehouse, tmp_path / "report.html")
    warehouse.execute("drop view reports.open_jobs")
    page = report(warehouse, tmp_path / "report.html")
    assert "Not available: the warehouse has no views, or those of another version" in page
    assert page.partition("Stuck jobs</h2>")[0] == usual.partition("Stuck jobs</h2>")[0]
    assert "How this is counted" in page
    assert "could not be drawn" not in usual


def test_a_chart_that_cannot_be_drawn_leaves_a_line_in_its_place(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charts, "OF_EVERY_OBJECT", set())
    warehouse.execute("update apiframe.jobs set model = 'toString' where model = 'model-2'")  # Vega fails on it
    page = report(warehouse, tmp_path / "report.html")
    assert page.count("This chart could not be drawn") == 2  # failure rates and turnaround by model
    assert page.count("<figure>") >= 3
    assert ">toString</td>" in page
    assert "of the" in page.partition("Reliability</h2>")[2]  # the sentence is there all the same


def test_a_notebook_shows_a_section_that_failed_and_the_others(
    warehouse: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.execute("drop view reports.open_jobs")
    answers = {section.name: section for section in pages.answers("report", warehouse, asked(warehouse))}

    def broken(_: object, width: object) -> None:
        raise ValueError(width)

    monkeypatch.setattr(type(answers["spend"]), "chart", broken)
    shown = notebook.show(answers).text
    assert "This chart could not be drawn (ValueError)." in shown
    assert "Not available: the warehouse has no views" in shown
    assert "that ended failed" in shown


def test_sections_that_ask_for_the_same_figures_share_them(warehouse: duckdb.DuckDBPyConnection) -> None:
    one = asked(warehouse)
    assert one.summary(warehouse, "model") is one.summary(warehouse, "model")
    assert len(one.summary(warehouse, "day")) == 10
