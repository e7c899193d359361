"""`apiframe_source` into SQLite, by way of dlt's SQLAlchemy, as README shows it; plain files are in test_source."""

import json
import sqlite3
import subprocess
import sys
from decimal import Decimal

import pytest
from beside import TOOLS, Account, program
from readme import shown
from support import microseconds, served

pytestmark = pytest.mark.recipes


def run(account: Account) -> None:
    program("sqlalchemy", "python")
    [packages] = (TOOLS / "sqlalchemy").glob("lib/python*/site-packages")
    done = subprocess.run(
        [sys.executable, "-c", shown("**SQLite**")],
        cwd=account.folder, capture_output=True, text=True, timeout=120, check=False,
        env=account.environment | {
            "PYTHONPATH": str(packages),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            "DLT_DATA_DIR": str(account.folder / "dlt"),  # dlt keeps root's pipelines in one place, whatever HOME is
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def wrong(account: Account) -> list[str]:
    """Jobs that are not there once, as they are served."""
    with sqlite3.connect(account.folder / "jobs.db") as connection:
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute("select * from jobs")]
    for row in rows:
        for name in ("created_at", "completed_at"):
            row[name] = row[name] and microseconds(f"{row[name]}+00:00")
        for name in ("result", "extra"):
            row[name] = row[name] and json.loads(row[name])
        row["credit_cost"] = None if row["credit_cost"] is None else Decimal(str(row["credit_cost"]))
    there = {row["id"]: row for row in rows}
    assert len(there) == len(rows), "a job is there twice"
    jobs = {job["id"]: served(job) for job in account.api.listing()}
    return [job for job, wanted in jobs.items() if {name: there.get(job, {}).get(name) for name in wanted} != wanted]


def test_each_job_is_there_once_as_it_is_served_also_after_it_has_changed(account: Account) -> None:
    moving = account.api.add(4, status="PROCESSING", result={"images": ["🎨", {"seed": 1.5}]})
    run(account)
    assert wrong(account) == []
    account.api.finish(moving[:2])
    account.api.finish(moving[2:], "FAILED")
    account.api.add(120, creditCost=12.3456, novel={"a": [1, None]})
    assert len(wrong(account)) == 124
    run(account)
    assert wrong(account) == []
