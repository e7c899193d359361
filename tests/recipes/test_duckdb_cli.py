"""DuckDB's own command line, of 1.x, with the line that README shows."""

import json
import subprocess
from functools import partial

import pytest
from beside import Account, Rows, program, texts
from readme import lines

from pipelines.reports import read_views
from pipelines.tables import tables

pytestmark = pytest.mark.recipes


def ask(account: Account, sql: str) -> Rows:
    [line] = [line for line in lines("**DuckDB CLI**") if line.startswith("duckdb ")]
    command = line.replace("duckdb", program("duckdb-cli", "duckdb"), 1) + " -bail -json"
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        input=sql, cwd=account.folder, env=account.environment, capture_output=True, text=True, timeout=99, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return texts(row.values() for row in json.loads(done.stdout, parse_float=str))


def test_it_answers_as_the_command_does_while_syncs_go_on(account: Account) -> None:
    with account.syncing() as questions:
        seen = [(question, ask(account, question)) for question in questions]
    account.compare(seen, partial(ask, account))


def test_every_table_and_view_is_read(account: Account) -> None:
    [example] = [line for line in lines("**DuckDB CLI**") if line.startswith("from ")]
    assert len(ask(account, example)) > 3
    places = [f"apiframe.{name}" for name in tables()] + [f"reports.{view.name}" for view in read_views()]
    counts = " union all ".join(f"select '{place}' as place, count(*) as rows from (from {place})" for place in places)
    assert ask(account, counts) == account.asked(counts)
