"""A small warehouse, and a section's answer from it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pytest
from reports.tables import base_tables, insert

from pipelines.pages import Asked, Section
from pipelines.reports import create_views, queries
from pipelines.reports.queries import Period

NOW = datetime(2024, 4, 16, 12, tzinfo=UTC)


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    with base_tables() as connection:
        create_views(connection, "UTC")
        yield connection


@pytest.fixture
def add(warehouse: duckdb.DuckDBPyConnection) -> Callable[..., None]:
    """Add so many jobs of a status, an hour old unless told otherwise."""
    born = iter(range(10**6))

    def jobs(count: int, status: str, hours: float = 1, **cells: Any) -> None:
        created_at = NOW - timedelta(hours=hours)
        if "seconds" in cells:
            cells["completed_at"] = (created_at + timedelta(seconds=cells["seconds"])).isoformat()
        row = {"status": status, "model": "m", "created_at": created_at.isoformat(), **cells}
        insert(warehouse, "jobs", [{"id": f"job-{next(born)}", **row} for _ in range(count)])

    return jobs


@pytest.fixture
def price(warehouse: duckdb.DuckDBPyConnection) -> Callable[..., None]:
    """A price of a credit from a day on."""

    def line(valid_from: str, price_per_credit: str, currency: str = "USD") -> None:
        row = {"valid_from": valid_from, "price_per_credit": price_per_credit, "currency": currency}
        insert(warehouse, "prices", [row])

    return line


@pytest.fixture
def answer(warehouse: duckdb.DuckDBPyConnection) -> Callable[..., Any]:
    """What a section answers for the last `days`, up to NOW."""

    def load(
        kind: type[Section], days: int = 30, unit: str = "day", timezone: str = "UTC", now: datetime = NOW
    ) -> Section:
        known = queries.extent(warehouse)
        assert known
        asked = Asked(Period((NOW - timedelta(days=days - 1)).date(), NOW.date(), timezone), unit, now, known)
        return kind(asked, kind.load(warehouse, asked))

    return load


@pytest.fixture
def cells() -> Callable[..., list[list[str]]]:
    """The rows of a table as its readers see them, or of some of its columns."""

    def texts(section: Section, *titles: str) -> list[list[str]]:
        table = section.table()
        assert table
        chosen = titles or [column.title for column in table.columns]
        return [
            [column.text(value) for column, value in zip(table.columns, row, strict=True) if column.title in chosen]
            for row in table.rows()
        ]

    return texts
