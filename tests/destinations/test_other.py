"""A destination of dlt that this project does not know: it runs, with a warning. Here a named one, DuckDB behind it."""

from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from pipelines.cli import cli
from pipelines.errors import ConfigurationError
from pipelines.sandbox import Sandbox

pytestmark = pytest.mark.destinations


@pytest.fixture
def runner(api: Sandbox, isolated: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    for name, value in {
        "WAREHOUSE__DESTINATION": "elsewhere",
        "DESTINATION__ELSEWHERE__DESTINATION_TYPE": "duckdb",
        "DESTINATION__ELSEWHERE__CREDENTIALS": str(isolated / "elsewhere.db"),
        "SOURCES__APIFRAME__BASE_URL": api.base_url,
        "APIFRAME_API_KEY": api.api_key,
    }.items():
        monkeypatch.setenv(name, value)
    return CliRunner()


def test_it_is_kept_up_to_date_with_a_warning(api: Sandbox, runner: CliRunner, isolated: Path) -> None:
    for _ in range(2):
        found = runner.invoke(cli, ["sync"], catch_exceptions=False)
        assert "untested here" in found.stderr
        assert "merged into elsewhere" in found.stdout
        api.finish([job["id"] for job in api.listing() if job["status"] in ("QUEUED", "PROCESSING")])
        api.add(7)
    runner.invoke(cli, ["sync"], catch_exceptions=False)
    with duckdb.connect(str(isolated / "elsewhere.db")) as connection:
        rows = connection.execute("select id, status from apiframe.jobs").fetchall()
    assert len(rows) == len(set(rows)) == len(api.listing())
    assert dict(rows) == {job["id"]: job["status"] for job in api.listing()}


@pytest.mark.parametrize(
    "command", [["status"], ["query", "select 1"], ["sync", "--full"], ["sync", "--since", "2026-01-01"]]
)
def test_what_needs_a_warehouse_of_ours_says_so(runner: CliRunner, command: list[str]) -> None:
    with pytest.raises(ConfigurationError, match=r"only sync writes to it|are for duckdb, postgres and delta"):
        runner.invoke(cli, command, catch_exceptions=False)


@pytest.mark.parametrize("name", ["filesystem", "nosuch"])
def test_a_destination_that_cannot_serve_is_refused(
    runner: CliRunner, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE__DESTINATION", name)
    with pytest.raises(ConfigurationError, match=name):
        runner.invoke(cli, ["sync"], catch_exceptions=False)
