"""polars, as README shows it: decimals stay decimals."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from beside import QUESTIONS, TOOLS, Account, Rows, program
from readme import shown

pytestmark = pytest.mark.recipes

#: Runs what README shows for every line that comes in.
AGAIN = """
import json, sys
for _ in sys.stdin:
    exec(sys.argv[1])
    print(json.dumps([[model, str(credits)] for model, credits in by_model.rows()]), flush=True)
"""


@pytest.fixture
def by_model(account: Account) -> Iterator[Callable[[], Rows]]:
    """What README's lines make of the file, in a program that goes on."""
    program("polars", "python")
    [packages] = (TOOLS / "polars").glob("lib/python*/site-packages")
    command = [sys.executable, "-c", AGAIN, shown("**polars**")]
    environment = account.environment | {"PYTHONPATH": str(packages)}
    with subprocess.Popen(
        command, cwd=account.folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        asked, told = process.stdin, process.stdout

        def again() -> Rows:
            print(file=asked, flush=True)
            return [tuple(row) for row in json.loads(told.readline())]

        yield again
        asked.close()


def test_it_adds_up_credits_to_the_last_digit_while_syncs_go_on(account: Account, by_model: Callable[[], Rows]) -> None:
    question = QUESTIONS["spend by model"]
    with account.syncing() as questions:
        seen = [by_model() for _ in questions]
    for rows in seen:
        assert rows in account.answers[question]
    assert by_model() == account.asked(question) != seen[0]
