"""A small warehouse, and what a check finds in it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pytest
from reports.tables import base_tables, insert

from pipelines import settings
from pipelines.checks import CHECKS, Finding, run_checks
from pipelines.reports import create_views

NOW = datetime(2024, 4, 16, tzinfo=UTC)  # half of April is over


def ago(hours: float) -> str:
    return (NOW - timedelta(hours=hours)).isoformat()


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
        row = {"status": status, "model": "m", "created_at": ago(hours), "scope": "user", **cells}
        insert(warehouse, "jobs", [{"id": str(next(born)), **row} for _ in range(count)])

    return jobs


@pytest.fixture
def left(warehouse: duckdb.DuckDBPyConnection) -> Callable[..., None]:
    """Add a reading of the balance, so many hours ago."""

    def reading(hours: float, amount: str | None, problem: str | None = None, **cells: Any) -> None:
        row = {"read_at": ago(hours), "credits": amount, "problem": problem, **cells}
        insert(warehouse, "balances", [row])

    return reading


@pytest.fixture
def synced(warehouse: duckdb.DuckDBPyConnection) -> Callable[..., None]:
    """Have a sync end well, so many hours ago."""

    def sync(hours: float = 0) -> None:
        insert(
            warehouse,
            "sync_runs",
            [{"started_at": ago(hours), "finished_at": ago(hours), "scope": "user", "number": 1}],
        )

    return sync


@pytest.fixture
def findings(warehouse: duckdb.DuckDBPyConnection) -> Callable[..., list[Finding]]:
    """What a check of this name finds, with these settings."""

    def run(name: str, now: datetime = NOW, **overrides: object) -> list[Finding]:
        found = run_checks(warehouse, settings.load({}, **overrides), now)
        assert {finding.check for finding in found} == set(CHECKS)
        return [finding for finding in found if finding.check == name]

    return run


@pytest.fixture
def check(findings: Callable[..., list[Finding]]) -> Callable[..., Finding]:
    """The one finding of a check of this name."""

    def run(name: str, *given: Any, **overrides: object) -> Finding:
        [finding] = findings(name, *given, **overrides)
        return finding

    return run
