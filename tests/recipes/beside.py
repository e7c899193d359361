"""One published file, programs of others that read it, and syncs that go on meanwhile."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.sandbox import Sandbox

#: Values as text: programs differ in what they make a decimal, and are to agree in its digits.
Rows = list[tuple[str | None, ...]]

#: `make test-recipes` puts them there, each into an environment of its own.
TOOLS = Path(sys.prefix) / "recipes"
#: What is asked of every program.
QUESTIONS = {
    "spend by model": "select model, sum(credits) as credits from reports.daily_spend group by model order by model",
    "failure rate by model": "select model, finished, failed, cast(failure_rate as decimal(6, 4)) as rate "
    "from reports.model_reliability order by model",
    "refunds due": "select id, model, credits, error from reports.refunds_due order by id",
}


def program(tool: str, name: str) -> str:
    """A program of a tool; skips where that could not be installed."""
    found = TOOLS / tool / "bin" / name
    if not found.exists():
        pytest.skip(f"{name} is not installed in {found.parent}: make test-recipes installs it where it can")
    return str(found)


def texts(rows: Iterable[Iterable[Any]]) -> Rows:
    return [tuple(None if value is None else str(value) for value in row) for row in rows]


class Account:
    """An account that changes, and the folder of whoever keeps its warehouse."""

    def __init__(self, api: Sandbox, folder: Path) -> None:
        self.api, self.folder, self.path = api, folder, folder / "data" / "warehouse.duckdb"
        self.environment = {
            "HOME": os.environ["HOME"],
            "PATH": os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ["PATH"]]),
            "APIFRAME_API_KEY": api.api_key,
            "SOURCES__APIFRAME__BASE_URL": api.base_url,
        }
        self.syncs = 0
        #: question -> what it was answered after each sync
        self.answers: dict[str, list[Rows]] = {question: [] for question in QUESTIONS.values()}

    def command(self, *arguments: str) -> str:
        """What the installed command prints; it has to succeed."""
        done = subprocess.run(
            ["apiframe-warehouse", *arguments],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def sync(self) -> None:
        """Sync, and note what each question is answered now; every second time something has changed before."""
        if self.syncs % 2:
            self.api.add(2, status="COMPLETED", model="kling-2.6", creditCost=12.3456)
            self.api.add(1, status="FAILED", model="veo-3.1", creditCost=7.0001, error='it\'s "odd" 🎨')
        self.command("sync", "--quiet")
        with duckdb.connect(str(self.path), read_only=True) as connection:
            for question, answers in self.answers.items():
                answers.append(texts(connection.execute(question).fetchall()))
        self.syncs += 1

    @contextlib.contextmanager
    def syncing(self) -> Iterator[Iterator[str]]:
        """Syncs go on beside the block, and each has to be well; it is given questions to ask until three are done."""
        stop, problems, until = threading.Event(), [], self.syncs + 3

        def go_on() -> None:
            try:
                while not stop.is_set():
                    self.sync()
                    stop.wait(0.3)
            except BaseException as problem:
                problems.append(problem)

        def questions() -> Iterator[str]:
            while self.syncs < until and not problems:
                yield from self.answers

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            yield questions()
        finally:
            stop.set()
            thread.join()
        assert not problems, problems[0]

    def compare(self, seen: list[tuple[str, Rows]], ask: Callable[[str], Rows]) -> None:
        """What was seen while syncs went on is of one whole sync each; now it is what `query` says."""
        for question, rows in seen:
            assert rows in self.answers[question], "no sync has left this"
        for question, answers in self.answers.items():
            assert ask(question) == self.asked(question) == answers[-1]
            assert answers[-1] != answers[0], "nothing has changed meanwhile"

    def asked(self, question: str) -> Rows:
        """What the command `query` answers now."""
        return texts(
            row.values() for row in json.loads(self.command("query", "--format", "json", question), parse_float=str)
        )
