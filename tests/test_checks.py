"""The house of the checks: found by listing a folder, each with its test; and what cannot be measured."""

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from reports.tables import base_tables, insert

from pipelines import settings
from pipelines.checks import CHECKS, run_checks
from pipelines.reports import create_views
from pipelines.stores.duckdb import connect_readonly

NOW = datetime(2024, 4, 16, tzinfo=UTC)


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    with base_tables() as connection:
        create_views(connection, "UTC")
        yield connection


def test_every_check_has_its_test() -> None:
    files = {file.stem for file in (Path(__file__).parent / "checks").glob("test_*.py")}
    assert files == {f"test_check_{name}" for name in CHECKS}


def test_what_cannot_be_measured_is_said_for_every_check(warehouse: duckdb.DuckDBPyConnection) -> None:
    with duckdb.connect() as bare:
        for connection, reason in ((None, "no warehouse"), (bare, "no views"), (warehouse, "no sync")):
            findings = run_checks(connection, settings.load({}), NOW)
            assert [finding.check for finding in findings] == list(CHECKS)
            assert {finding.state for finding in findings} == {"unmeasured"}
            assert all(reason in finding.message for finding in findings)


def test_a_quiet_account_is_in_order(warehouse: duckdb.DuckDBPyConnection) -> None:
    insert(warehouse, "sync_runs", [{"finished_at": NOW.isoformat()}])
    insert(warehouse, "balances", [{"read_at": NOW.isoformat(), "credits": "12.5"}])
    found = run_checks(warehouse, settings.load({}), NOW)
    assert [(finding.check, finding.state) for finding in found] == [(name, "ok") for name in CHECKS]


def test_a_warehouse_of_an_older_version_has_checks_that_cannot_be_measured(isolated: Path) -> None:
    file = isolated / "old.duckdb"
    file.write_bytes(gzip.decompress((Path(__file__).parent / "data" / "warehouse-0.1.0.duckdb.gz").read_bytes()))
    with connect_readonly(file) as connection:
        found = {finding.check: finding for finding in run_checks(connection, settings.load({}), NOW)}
    assert {found[name].state for name in ("refunds_due", "reconciliation")} == {"unmeasured"}
    assert found["stuck_jobs"].state != "unmeasured"
