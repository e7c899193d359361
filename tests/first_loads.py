"""Random first loads of an account that is never at rest: each ends in the warehouse that the API serves, or is named.

    python tests/first_loads.py --loads 200 --seed 1     two hundred of them, a line each
    python tests/first_loads.py --only 17                the one of this seed again, as far as threads allow

A load has 6,000 to 20,000 jobs and eight workers. While it reads, jobs are born, some of them late, change, end and
are deleted; answers overtake each other, fail, or take cursors for something else; and its process is killed and
started again. Once it is through and the account is at rest, one more sync has to make the warehouse equal.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from support import microseconds, running, served, stored

import pipelines.settings
import pipelines.sync
from pipelines.apiframe import reading, seeds
from pipelines.errors import ApiframeWarehouseError
from pipelines.sandbox import Request, Sandbox
from pipelines.sync import loading

WORKERS = 8
CURSORS = ("position", "position", "offset", "bound", "keeps_filter", "restart", "second")
FAULTS: dict[str, dict[str, Any]] = {
    "500": {},
    "429": {"retry_after": 0},
    "truncated": {},
    "reset": {},
    "html": {},
    "missing_cursor": {},
    "repeated_cursor": {"back": 1},
    "empty_page": {},
    "early_end": {},
    "empty_end": {},
}
MOST_RUNS = 12  # of one load: kills, and errors that say "run again"
HOUR = 3600 * 10**6
STATUSES = (None, "QUEUED", "PROCESSING", "COMPLETED", "FAILED", "PAUSED")
CHANGES: tuple[dict[str, Any], ...] = (
    {"progress": 41},
    {"webhookStatus": "pending"},
    {"creditCost": 2.25},
    {"creditCost": None, "error": "refunded"},
    {"result": {"images": []}, "seed": [1, {"a": None}]},
)


@dataclass(frozen=True)
class Load:
    """One load as its seed draws it."""

    seed: int
    jobs: int
    days: int
    mix: str
    cursors: str
    order: str
    kills: tuple[int, ...]  # after so many requests of a run
    faults: tuple[tuple[str, int], ...]  # kind, after so many requests
    forgets: int  # cursors, after so many requests
    busy: float  # events in the account a request
    rows: tuple[int, int]  # of a batch and of a chunk: little is kept where they are large
    distance: int  # pages between seeds at least
    rest: timedelta  # from the end of the load to the last sync

    @classmethod
    def drawn(cls, seed: int) -> "Load":
        """The load of a seed."""
        draw = random.Random(seed)
        jobs = draw.randint(6_000, 20_000)
        pages = jobs // 100
        return cls(
            seed=seed,
            jobs=jobs,
            days=draw.choice([1, 5, 30, 90]),
            mix=draw.choice(["usual", "equal", "one60", "changed"]),
            cursors=draw.choice(CURSORS),
            order=draw.choice(["newest"] * 18 + ["oldest", "shuffled"]),
            kills=tuple(draw.randint(1, pages + 20) for _ in range(draw.randint(0, 4))),
            faults=tuple((draw.choice(sorted(FAULTS)), draw.randint(0, 2 * pages)) for _ in range(draw.randint(0, 4))),
            forgets=draw.choice([0, 0, 0, draw.randint(1, 2 * pages)]),
            busy=draw.choice([0.0, 0.2, 1.0]),
            rows=draw.choice([(100, 2_000), (1_000, 5_000), (5_000, 125_000)]),
            distance=draw.choice([4, seeds.LEAST_DISTANCE]),
            rest=timedelta(minutes=draw.choice([0, 5, 26 * 60])),
        )

    def __str__(self) -> str:
        faults = " ".join(kind for kind, _ in self.faults) or "no faults"
        return f"seed {self.seed}: {self.jobs:,} jobs, {self.order}, {self.cursors}, busy {self.busy}, {faults}"


class Life:
    """What happens to an account while it is read, an event now and then before a request is answered."""

    def __init__(self, api: Sandbox, load: Load) -> None:
        self.api = api
        self.load = load
        self.draw = random.Random(f"life {load.seed}")
        self.requests = 0
        # Offsets move up by each job that is deleted above them: what is skipped by that no client can see.
        self.doomed = [] if load.cursors == "offset" else [job["id"] for job in api.listing()]
        self.draw.shuffle(self.doomed)
        old = (api.now - timedelta(days=load.days * self.draw.random()) for _ in range(40))
        self.open = [each for moment in old for each in api.add(1, status="PROCESSING", created_at=moment)]

    def meet(self, _: Request) -> None:
        """Take the next request: answers come in no order, and the account goes on."""
        self.requests += 1
        self.api.latency = self.draw.random() * 0.004
        if self.requests == self.load.forgets:
            self.api.forget_cursors()
        if self.draw.random() < self.load.busy:
            self.draw.choice([self.births, self.births, self.late_births, self.deletions, self.changes, self.ends])()

    def births(self) -> None:
        """New jobs; the clock goes on by seconds, so that none of them is settled before the load ends."""
        self.api.live_on(timedelta(seconds=self.draw.random() * 5))
        status = self.draw.choice(STATUSES)
        born = self.api.add(self.draw.choice([1, 1, 30]), **({} if status is None else {"status": status}))
        self.open += born if status in ("QUEUED", "PROCESSING") else []

    def late_births(self) -> None:
        """Jobs that were created up to an hour ago and are listed only now."""
        since = timedelta(seconds=self.draw.randint(1, 3000))
        self.open += self.api.add(3, created_at=self.api.now - since, status="QUEUED")

    def deletions(self) -> None:
        """Jobs of any age that the API forgets."""
        self.api.delete(self.doomed.pop() for _ in range(min(3, len(self.doomed))))

    def changes(self) -> None:
        """Jobs that can still change do."""
        for job in self.draw.sample(self.open, min(3, len(self.open))):
            self.api.put(job, **self.draw.choice(CHANGES))

    def ends(self) -> None:
        """Open jobs end."""
        self.api.finish(self.draw.sample(self.open, min(2, len(self.open))), self.draw.choice(["COMPLETED", "FAILED"]))


def _sync(settings: pipelines.settings.Settings, rows: tuple[int, int], distance: int) -> None:
    """One sync in a process of its own; where it ends with an error, the words of it are left in a file."""
    reading.QUICK_ANSWER = 0.0  # slices, although the sandbox answers at once
    reading.BATCH_ROWS, loading.CHUNK_ROWS = rows
    seeds.LEAST_DISTANCE = distance
    try:
        pipelines.sync.sync(settings)
    except ApiframeWarehouseError as error:
        (settings.project / "problem").write_text(str(error))
        sys.exit(error.exit_code)


def _run(api: Sandbox, load: Load, life: Life | None, folder: Path, kill_at: int | None) -> str | None:
    """Sync once, killed at a request where that is asked for; why it did not end well, None where it did."""
    settings = pipelines.settings.load(
        {"DLT_PROJECT_DIR": str(folder)},
        api_key=api.api_key,
        base_url=api.base_url,
        path="data/w.duckdb",
        request_backoff_factor=0.001,
        request_timeout=30,
        workers=WORKERS,
    )
    problem = folder / "problem"
    problem.unlink(missing_ok=True)
    api.requests.clear()
    child: list[Any] = []

    def on_request(request: Request) -> None:
        if life is not None:
            life.meet(request)
        if child and kill_at is not None and len(api.requests) >= kill_at:
            child[0].kill()

    api.on_request = on_request
    with running(_sync, settings, load.rows, load.distance) as process:
        child.append(process)
        process.join(300)
        code = process.exitcode
    if code is None:
        raise AssertionError("a sync did not end within five minutes")
    if code == -signal.SIGKILL:
        return "killed"
    if code and not problem.exists():
        raise AssertionError("a sync ended with a traceback")
    return problem.read_text() if code else None


def _differences(path: Path, api: Sandbox, loaded_at: int) -> list[str]:
    """How the warehouse differs from what the API lists."""
    rows, found = stored(path), []
    for job in api.listing():
        row, now = rows.get(job["id"]), served(job)
        if row is None:
            found.append(f"missing: {job}")
            continue
        wrong = [name for name, value in now.items() if row[name] != value]
        if row["delisted_at"] is not None:
            wrong.append("delisted_at")
        # What was settled when it was seen may have changed since: files are purged a day after a job has ended, and an
        # old one that failed may lack its completedAt.
        ended = microseconds(job["completedAt"] or job["createdAt"])
        settled = ended < loaded_at - HOUR and (wrong == ["expired"] or row["status"] == "FAILED" == job["status"])
        if wrong and not settled:
            found.append(f"{', '.join(wrong)} of {job}, in the warehouse: {row}")
    return found


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="first-load-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def play(load: Load) -> tuple[list[str], str]:
    """Play one load to its end: how the warehouse then differs from what the API lists, and what it took."""
    begun, runs, sent, filtered = time.monotonic(), 0, 0, 0
    # In the past, so that this machine's clock is ahead of all that happens.
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=3)
    with Sandbox(load.jobs, load.days, load.seed, start, mix=load.mix) as api, _folder() as folder:
        life = Life(api, load)
        api.cursors, api.order = load.cursors, load.order
        for kind, after in load.faults:
            api.fault(kind, 1, after, **FAULTS[kind])
        why: str | None = "not begun"
        kills = list(load.kills)
        while why and runs < MOST_RUNS:
            why = _run(api, load, life, folder, kills.pop() if kills else None)
            runs += 1
            sent += len(api.requests)
            filtered += sum(bool({"status", "model"} & each.query.keys()) for each in api.requests)
        facts = f"{runs} runs, {sent} requests ({filtered} filtered), {time.monotonic() - begun:.1f} s"
        if why:
            return [f"it does not end: {why}"], facts
        api.clear_faults()
        loaded_at = microseconds(api.now)
        api.advance(load.rest)
        if why := _run(api, load, None, folder, None):
            return [f"the last sync: {why}"], facts
        return _differences(folder / "data" / "w.duckdb", api, loaded_at), facts


def main() -> int:
    """Play as many as were asked for; 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the first; each next one adds 1")
    parser.add_argument("--only", type=int, metavar="SEED", help="replay this one")
    chosen = parser.parse_args()
    seeds = [chosen.only] if chosen.only is not None else range(chosen.seed, chosen.seed + chosen.loads)
    failed = []
    with _folder() as home:
        os.environ["HOME"] = str(home)  # nothing of the developer's own configuration is seen
        for seed in seeds:
            load = Load.drawn(seed)
            try:
                wrong, facts = play(load)
            except AssertionError as problem:
                wrong, facts = [str(problem)], "not ended"
            lines = [f"{load}; {facts}: {f'{len(wrong)} DIFFERENT' if wrong else 'equal'}", *wrong[:5]]
            sys.stdout.write("\n    ".join(lines) + "\n")
            sys.stdout.flush()
            failed += [seed] if wrong else []
    sys.stdout.write(f"{len(seeds) - len(failed)} passed, {len(failed)} failed{f': {failed}' if failed else ''}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
