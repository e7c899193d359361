"""Dagster runs the command by schedule, as README shows it, and sees whether it went well."""

import json
import subprocess
from collections.abc import Callable

import pytest
from beside import Account, program
from readme import shown

pytestmark = pytest.mark.recipes

Dagster = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def dagster(account: Account) -> Dagster:
    """Dagster's own command, over the file that README shows."""
    file, home = account.folder / "schedule.py", account.folder / "dagster"
    file.write_text(shown("**Dagster**"))
    home.mkdir()

    def dagster(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [program("dagster", "dagster"), *arguments, "-f", str(file)],
            cwd=account.folder, capture_output=True, text=True, timeout=120, check=False,
            env=account.environment | {"DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "1"} | environment,
        )  # fmt: skip

    return dagster


def numbers(account: Account) -> int:
    return int(
        json.loads(account.command("query", "--format", "json", "select count(*) n from apiframe.sync_runs"))[0]["n"]
    )


def test_a_run_is_a_sync_and_an_exit_code_that_is_not_0_a_run_that_failed(account: Account, dagster: Dagster) -> None:
    before = numbers(account)
    done = dagster("job", "execute", "-j", "apiframe")
    assert done.returncode == 0, done.stderr
    assert "RUN_SUCCESS" in done.stderr
    assert numbers(account) == before + 1
    failed = dagster("job", "execute", "-j", "apiframe", APIFRAME_API_KEY="afk_wrong")
    assert failed.returncode == 1
    assert "RUN_FAILURE" in failed.stderr
    assert "returned non-zero exit status 3" in failed.stderr, "the key is refused"
    assert "afk_wrong" not in failed.stdout + failed.stderr
    assert numbers(account) == before + 1


def test_the_schedule_is_one_of_every_quarter_of_an_hour(dagster: Dagster) -> None:
    listed = dagster("schedule", "list")
    assert "Cron Schedule: */15 * * * *" in listed.stdout, listed.stderr
    assert "[RUNNING]" in listed.stdout, "it runs from the first start on"
