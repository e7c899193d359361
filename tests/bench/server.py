"""The benchmark's API in a process of its own: one command a line on stdin, one JSON answer a line on stdout."""

import gc
import json
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb

from pipelines.sandbox import Sandbox, lists

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)  # the sandbox's clock at the start: the same jobs in every run
JOBS_A_DAY = 1111  # 100,000 jobs are 90 days: an account that grows older, not busier

#: What is compared, by the API's name. `expired` is not: it flips a day after the end, for jobs nobody reads again.
COMPARED = {
    "status": "status",
    "progress": "progress",
    "creditCost": "credit_cost",
    "error": "error",
    "webhookStatus": "webhook_status",
    "createdAt": "created_at",
    "completedAt": "completed_at",
}
TIMES = ("createdAt", "completedAt")


class Control:
    """The commands."""

    def __init__(self, jobs: int, mix: str) -> None:
        self.api = Sandbox(jobs=jobs, days=max(1, round(jobs / JOBS_A_DAY)), now=NOW, mix=mix).start()
        self.open_jobs: dict[str, list[str]] = defaultdict(list)
        self.truth: dict[str, tuple[Any, ...]] | None = None

    def where(self) -> dict[str, str]:
        return {"base_url": self.api.base_url, "api_key": self.api.api_key}

    def latency(self, seconds: float) -> None:
        self.api.latency = seconds

    def advance(self, hours: float) -> None:
        """Let time pass without births."""
        self.truth = None
        self.api.advance(timedelta(hours=hours))

    def live(self, hours: float) -> int:
        """Let time pass as it does for this account."""
        self.truth = None
        return self.api.live_on(timedelta(hours=hours))

    def add(self, count: int, group: str | None = None) -> None:
        """New jobs; those of a group stay open until they are finished."""
        self.truth = None
        if group is None:
            self.api.add(count, status="COMPLETED")
        else:
            self.open_jobs[group] += self.api.add(count, status="PROCESSING")

    def finish(self, group: str, count: int) -> None:
        self.truth = None
        ids = self.open_jobs[group]
        self.api.finish(ids[:count])
        del ids[:count]

    def settle(self) -> None:
        """End every open job but those of a group."""
        self.truth = None
        kept = {identity for ids in self.open_jobs.values() for identity in ids}
        still_open = (job["id"] for job in self.api.listing() if job["status"] in ("QUEUED", "PROCESSING"))
        self.api.finish([identity for identity in still_open if identity not in kept])

    def counts(self) -> dict[str, float]:
        """Requests since this was last asked, and this process's CPU seconds."""
        requests = len(self.api.requests)
        self.api.requests.clear()
        return {"requests": requests, "cpu": time.process_time()}

    def compare(self, file: str, table: str) -> int:
        """How many rows of a table are missing, too many, or not as the API serves them now."""
        if self.truth is None:
            self.truth = {job["id"]: tuple(_plain(name, job[name]) for name in COMPARED) for job in self.api.listing()}
        columns = ", ".join(
            f"epoch_ms({column}::timestamptz)" if name in TIMES else column for name, column in COMPARED.items()
        )
        with duckdb.connect(file, read_only=True) as connection:
            connection.execute("set TimeZone = 'UTC'")
            rows = connection.execute(f"select id, {columns} from {table}").fetchall()
        wrong = max(0, len(rows) - len(self.truth))
        found = {row[0]: row[1:] for row in rows}
        return wrong + sum(found.get(identity) != row for identity, row in self.truth.items())


def _plain(name: str, value: Any) -> Any:
    """A value as DuckDB gives it back; 10, 10.0 and Decimal(10) are equal."""
    if name in TIMES and value is not None:
        return int(datetime.fromisoformat(value).timestamp() * 1000 + 0.5)
    return value


def main() -> None:
    lists._KEPT = 2_000_000  # one page is as cheap as another, also of a million jobs (500 MB)
    gc.disable()  # its pauses would be measured
    control = Control(int(sys.argv[1]), sys.argv[2])
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        sys.stdout.write(json.dumps(getattr(control, command)(*arguments)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
