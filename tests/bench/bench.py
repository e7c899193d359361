"""`make bench`: ours against what one would write or install instead, on one API, in one run.

Every measured sync is a process of its own; peers take turns, so that a busy moment of the machine meets all of them.
This process stays small: a child's peak memory is never less than that of the process that started it.
"""

import argparse
import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import tables

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OURS, SCRIPT, TUNED, TUTORIAL = "ours", "script", "dlt tuned", "dlt tutorial"
#: peer -> (what to run, the file it makes, the table in it)
PEERS = {
    OURS: (["-m", "pipelines", "sync", "--json"], "data/warehouse.duckdb", "apiframe.jobs"),
    SCRIPT: ([str(HERE / "peers" / "script.py")], "jobs.duckdb", "jobs"),
    TUNED: ([str(HERE / "peers" / "dlt_tuned.py")], "jobs.duckdb", "peer.jobs"),
    TUTORIAL: ([str(HERE / "peers" / "dlt_tutorial.py")], "jobs.duckdb", "peer.jobs"),
}
LATENCIES = (0.0, 0.05)

# A round of changes: 250 jobs are new, 40 of the last round and 10 that are older than a day have ended.
NEW, STILL_OPEN, RECENT, OLD = 250, 40, 40, 10
ROUND_HOURS = 6


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    sizes: tuple[int, ...] = (20_000, 100_000)
    growth: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    grown: tuple[int, ...] = (10, 100)  # times the largest size, copied in the warehouse alone
    repetitions: int = 3
    largest_waited: int = 20_000  # with latency, only ours is repeated from this size on
    tutorial_waited: int = 20_000  # and dlt's tutorial is left out above this one


QUICK = Plan(
    sizes=(8_000,), growth=(2_000, 16_000), grown=(10,), repetitions=2, largest_waited=8_000, tutorial_waited=0
)


@dataclass(frozen=True)
class Sample:
    """One measured sync."""

    wall: float
    cpu: float
    megabytes: float
    written: float  # megabytes, to disk
    requests: int
    stale: int


@dataclass
class Results:
    """Samples by what was measured: (what, jobs, latency, mix, peer)."""

    samples: dict[tuple[str, int, float, str, str], list[Sample]] = field(default_factory=dict)
    page_ms: dict[int, tuple[float, float]] = field(default_factory=dict)
    stages: dict[int, dict[str, float]] = field(default_factory=dict)

    def add(self, what: str, jobs: int, latency: float, mix: str, peer: str, sample: Sample) -> None:
        """Keep a sample, and say so."""
        self.samples.setdefault((what, jobs, latency, mix, peer), []).append(sample)
        say(
            f"{what}, {jobs:,} jobs, {latency * 1000:.0f} ms, {mix}, {peer}: {sample.wall:.2f} s, "
            f"cpu {sample.cpu:.2f} s, {sample.megabytes:.0f} MB, {sample.written:.1f} MB written, "
            f"{sample.requests} requests, {sample.stale} stale"
        )


def say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


class Api:
    """The server process, by its commands."""

    def __init__(self, jobs: int, mix: str, folder: Path) -> None:
        self.log = folder / "server.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "server.py"), str(jobs), mix],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(folder),
                text=True,
            )
        self.ask("settle")
        self.ask("advance", 1)  # webhooks are delivered: nothing of the start changes later
        where = self.ask("where")
        self.base_url, self.key = where["base_url"], where["api_key"]

    def ask(self, command: str, *arguments: object) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([command, *arguments]) + "\n")
        self.process.stdin.flush()
        if not (line := self.process.stdout.readline()):
            raise SystemExit(f"the server died: {self.log.read_text()[:4000]}")
        return json.loads(line)

    def read_all(self) -> tuple[float, float]:
        """Read every page, as cheaply as this process can; milliseconds a page: waited, and the server's CPU."""
        where = urlsplit(self.base_url)
        connection = http.client.HTTPConnection(where.hostname or "", where.port)
        before, begun = self.ask("counts"), time.perf_counter()
        cursor, more = "", True
        while more:
            connection.request("GET", f"{where.path}/jobs?limit=100{cursor}", headers={"X-API-Key": self.key})
            body = connection.getresponse().read()
            end = body[body.rindex(b'"nextCursor"') :]  # decoding the page would be part of the figure
            facts = json.loads(b"{" + end)
            more, cursor = facts["hasMore"], f"&cursor={facts['nextCursor']}"
        waited, after = time.perf_counter() - begun, self.ask("counts")
        connection.close()
        return tuple(1000 * spent / after["requests"] for spent in (waited, after["cpu"] - before["cpu"]))

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


def environment(home: Path) -> dict[str, str]:
    """Nothing of the user's own configuration is seen."""
    kept = {name: value for name, value in os.environ.items() if "__" not in name and not name.startswith("APIFRAME")}
    kept = {name: value for name, value in kept.items() if not name.startswith("DLT_")}
    # dlt keeps root's pipelines in /var/dlt, whatever HOME says.
    own = {"HOME": str(home), "DLT_DATA_DIR": str(home / ".dlt"), "PYTHONPATH": str(ROOT)}
    return kept | own | {"RUNTIME__DLTHUB_TELEMETRY": "false"}


def measure(peer: str, api: Api, folder: Path, compares: bool = True) -> Sample:
    """Run one sync in a folder, as a process of its own; comparing takes the server half a minute at a million."""
    arguments, file, table = PEERS[peer]
    surroundings = environment(folder) | {"APIFRAME_API_KEY": api.key, "SOURCES__APIFRAME__BASE_URL": api.base_url}
    command = [sys.executable, *arguments, *([] if peer == OURS else [api.base_url])]
    api.ask("counts")
    with (folder / "log").open("w") as log:
        begun = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=surroundings, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{peer} failed: {(folder / 'log').read_text()[-2000:]}")
    requests = api.ask("counts")["requests"]
    stale = api.ask("compare", str(folder / file), table) if compares else 0
    in_megabytes = 1e6 if sys.platform == "darwin" else 1e6 / 1024
    cpu, memory, written = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / in_megabytes, usage.ru_oublock * 512 / 1e6
    return Sample(wall, cpu, memory, written, requests, stale)


class Account:
    """One account on one server, and a folder for every peer."""

    def __init__(self, results: Results, jobs: int, mix: str, folder: Path) -> None:
        self.results, self.jobs, self.mix, self.folder = results, jobs, mix, folder
        self.latency = 0.0
        self.api = Api(jobs, mix, folder)
        cold, warm = self.api.read_all(), self.api.read_all()
        results.page_ms.setdefault(jobs, warm)
        say(
            f"server, {jobs:,} jobs, {mix}: {cold[0]:.2f} ms a page at first, then {warm[0]:.2f} ms ({warm[1]:.2f} cpu)"
        )

    def wait(self, latency: float) -> None:
        """How long the server waits before it answers, in seconds."""
        self.latency = latency
        self.api.ask("latency", latency)

    def first_loads(self, latency: float, turns: dict[str, int]) -> None:
        """Load into an empty folder, each peer as often as said, in turn."""
        self.wait(latency)
        for peer in all_turns(turns):
            shutil.rmtree(self.home(peer), ignore_errors=True)
            self.home(peer).mkdir()
            self.sync("first load", peer)

    def later_syncs(self, latency: float, turns: dict[str, int]) -> None:
        """Nothing new, then rounds of changes."""
        self.wait(latency)
        rounds = max(turns.values())
        self.api.ask("advance", ROUND_HOURS)
        self.sync_all(turns)  # sees that all is settled
        for peer in all_turns(turns):
            self.sync("no change", peer)
        self.api.ask("add", OLD * rounds, "old")
        self.sync_all(turns)
        self.api.ask("live", 30)
        self.api.ask("settle")
        self.api.ask("add", RECENT, "recent")
        self.sync_all(turns)
        for i in range(rounds):
            self.api.ask("advance", ROUND_HOURS / 2)
            self.api.ask("finish", "old", OLD)
            self.api.ask("finish", "recent", RECENT)
            self.api.ask("advance", ROUND_HOURS / 2)
            self.api.ask("add", NEW - STILL_OPEN)
            self.api.ask("add", STILL_OPEN, "recent")
            for peer in due(turns, i):
                self.sync("250 new, 50 changed", peer)

    def grown(self, times: int, repetitions: int) -> None:
        """Nothing new, where the warehouse holds so many times what the API's list begins with."""
        home = self.folder / "grown"
        shutil.copytree(self.home(OURS), home)
        command = [sys.executable, str(HERE / "grow.py"), str(home / PEERS[OURS][1]), str(times)]
        subprocess.run(command, env=environment(self.folder), check=True)
        self.api.ask("advance", ROUND_HOURS)
        for repetition in range(repetitions + 1):  # the first one sees that all is settled
            sample = measure(OURS, self.api, home, compares=False)
            if repetition:
                self.results.add("grown", times * self.jobs, self.latency, self.mix, OURS, sample)
        shutil.rmtree(home)

    def sync_all(self, peers: Iterable[str]) -> None:
        for peer in peers:
            measure(peer, self.api, self.home(peer), compares=False)

    def sync(self, what: str, peer: str) -> None:
        sample = measure(peer, self.api, self.home(peer))
        self.results.add(what, self.jobs, self.latency, self.mix, peer, sample)

    def stages(self) -> None:
        """Publishing and each view apart, and the report as a user runs it."""
        file = self.home(OURS) / PEERS[OURS][1]
        command = [sys.executable, str(HERE / "stages.py"), str(file)]
        runs = [json.loads(subprocess.check_output(command, env=environment(self.folder))) for _ in range(3)]
        seconds = {name: tables.median([run[name] for run in runs]) for name in runs[0]}
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "pipelines", "report", "--from", "2026-02-01", "--to", "2026-03-02"],
            cwd=self.home(OURS),
            env=environment(self.folder),
            check=True,
            stdout=subprocess.DEVNULL,
        )
        self.results.stages[self.jobs] = seconds | {"report": time.perf_counter() - begun}

    def home(self, peer: str) -> Path:
        return self.folder / peer.replace(" ", "_")


def due(turns: dict[str, int], repetition: int) -> list[str]:
    """The peers that have a turn left, another one first each time."""
    peers = [peer for peer, times in turns.items() if repetition < times]
    first = repetition % len(peers)
    return peers[first:] + peers[:first]


def all_turns(turns: dict[str, int]) -> Iterator[str]:
    for repetition in range(max(turns.values())):
        yield from due(turns, repetition)


@contextlib.contextmanager
def account(results: Results, jobs: int, mix: str) -> Iterator[Account]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        opened = Account(results, jobs, mix, Path(folder))
        try:
            yield opened
        finally:
            opened.api.close()


def run(plan: Plan) -> Results:
    results, times = Results(), plan.repetitions
    with account(Results(), 1000, "equal") as warm_up:  # bytecode and libraries are read from disk once
        warm_up.first_loads(0, dict.fromkeys(PEERS, 1))
        warm_up.later_syncs(0, dict.fromkeys(PEERS, 1))
    for jobs in plan.sizes:
        for mix in tables.MIXES:
            with account(results, jobs, mix) as one:
                peers = {OURS: times, SCRIPT: times} | ({TUNED: times, TUTORIAL: 1} if mix == "equal" else {})
                waited = dict(peers)
                if jobs > plan.tutorial_waited:
                    waited.pop(TUTORIAL, None)
                if jobs >= plan.largest_waited:
                    waited = {peer: times if peer == OURS else 1 for peer in waited}
                one.first_loads(LATENCIES[1], waited)
                one.first_loads(LATENCIES[0], peers)
                if mix == "equal" and jobs == max(plan.sizes):
                    for factor in (1, *plan.grown):
                        one.grown(factor, times)
                if mix == "equal":
                    one.later_syncs(LATENCIES[0], peers)
                    one.later_syncs(LATENCIES[1], {OURS: times, SCRIPT: times})
                    if jobs in plan.growth:
                        one.stages()
    for jobs in plan.growth:
        if jobs not in plan.sizes:
            with account(results, jobs, "equal") as one:
                one.first_loads(0, {OURS: 1 if jobs == max(plan.growth) else times})
                one.later_syncs(0, {OURS: times})
                one.stages()
    return results


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small accounts, three minutes; writes no RESULTS.md")
    quick = parser.parse_args(arguments).quick
    plan = QUICK if quick else Plan()
    begun = time.monotonic()
    page = tables.page(run(plan), plan, time.monotonic() - begun)
    sys.stdout.write(page)
    if not quick:
        (HERE / "RESULTS.md").write_text(page)


if __name__ == "__main__":
    main()
