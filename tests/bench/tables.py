"""What was measured as a page of Markdown: medians, ratios to the script, and the targets, met or missed."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench import Plan, Results, Sample

__all__ = ["median", "page"]

PACKAGES = ("dlt", "duckdb", "pyarrow", "pandas", "requests", "orjson")
PEERS = ("ours", "script", "dlt tuned", "dlt tutorial")
FIRST, IDLE, CHANGES, GROWN = "first load", "no change", "250 new, 50 changed", "grown"
FAST, SLOW = 0.0, 0.05
MIXES = {"equal": "ten equal models", "one60": "one model of 60 %", "changed": "mix changed a while ago"}


def page(results: Results, plan: Plan, seconds: float) -> str:
    """The whole of RESULTS.md."""
    parts = [
        "# Results of `make bench`",
        f"{datetime.now(UTC):%Y-%m-%d}, {_machine()}. Written by `tests/bench/bench.py` in {seconds / 60:.0f} minutes.",
        ", ".join(f"{name} {version(name)}" for name in PACKAGES) + f", Python {platform.python_version()}.",
        _legend(plan),
        "## Targets",
        _targets(results, plan),
        "## Cost of the server, milliseconds a page",
        _table(
            ["jobs", "waited", "of it server CPU"],
            [[f"{jobs:,}", f"{waited:.2f}", f"{cpu:.2f}"] for jobs, (waited, cpu) in results.page_ms.items()],
        ),
        "## First load",
        _samples(results, FIRST, plan.sizes),
        "## Nothing new",
        _samples(results, IDLE, plan.sizes),
        "## 250 new and 50 changed",
        _samples(results, CHANGES, plan.sizes),
        "## Growth, ours alone",
        _growth(results, plan),
        "## Nothing new, in a history that grows",
        _grown(results, plan),
        "## Views, seconds to read every row",
        _views(results, plan),
    ]
    return "\n\n".join(parts) + "\n"


def _legend(plan: Plan) -> str:
    return (
        f"Seconds are medians of {plan.repetitions} runs (1 where no range is given), least to most in brackets; "
        "`ratio` is to the script in the same circumstances. Each run is a process of its own, start and imports "
        "included; peak memory is the process's. `stale`: rows missing, too many or not as served right after the run "
        "(`expired` is not compared: it flips a day later, for jobs that no peer reads again). Of the 50 changed jobs "
        "40 are hours old, 10 more than a day; what a peer leaves stale adds up over the rounds. The script and dlt "
        "tuned look back 24 hours; dlt's tutorial reads the "
        "whole list every time and drops what is older than its cursor."
    )


def _machine() -> str:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return f"{os.cpu_count()} cores, {pages * size / 2**30:.0f} GB, {sys.platform} {platform.machine()}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _mid(samples: Sequence[Sample], what: Callable[[Sample], float]) -> float:
    return median([what(sample) for sample in samples])


def _wall(sample: Sample) -> float:
    return sample.wall


def _spread(values: Sequence[float]) -> str:
    shown = f"{median(values):.2f}"
    return f"{shown} ({min(values):.2f}–{max(values):.2f})" if len(values) > 1 else shown


def _samples(results: Results, what: str, sizes: Sequence[int]) -> str:
    rows = []
    for (name, jobs, latency, mix, peer), samples in sorted(
        results.samples.items(), key=lambda item: (*item[0][1:3], [*MIXES].index(item[0][3]), PEERS.index(item[0][4]))
    ):
        if name != what or jobs not in sizes:
            continue
        script = results.samples[what, jobs, latency, mix, "script"]
        rows.append(
            [
                f"{jobs:,}",
                f"{latency * 1000:.0f} ms",
                MIXES[mix],
                peer,
                _spread([sample.wall for sample in samples]),
                f"{_mid(samples, _wall) / _mid(script, _wall):.2f}",
                f"{_mid(samples, lambda sample: sample.cpu):.2f}",
                f"{_mid(samples, lambda sample: sample.megabytes):,.0f}",
                f"{_mid(samples, lambda sample: sample.requests):,.0f}",
                f"{max(sample.stale for sample in samples):,}",
            ]
        )
    return _table(["jobs", "latency", "mix", "peer", "wall s", "ratio", "cpu s", "MB", "requests", "stale"], rows)


def _growth(results: Results, plan: Plan) -> str:
    rows = []
    for jobs in plan.growth:
        first, idle, changes = (results.samples[what, jobs, FAST, "equal", "ours"] for what in (FIRST, IDLE, CHANGES))
        stages = results.stages[jobs]
        rows.append(
            [
                f"{jobs:,}",
                *(_spread([sample.wall for sample in samples]) for samples in (first, idle, changes)),
                *(f"{max(sample.megabytes for sample in samples):,.0f}" for samples in (first, idle, changes)),
                f"{stages['publish']:.2f}",
                f"{stages['report']:.2f}",
            ]
        )
    head = ["jobs", "first load s", "no change s", "250 new s", "MB", "MB", "MB", "publish s", "report s"]
    return _table(head, rows)


def _grown(results: Results, plan: Plan) -> str:
    """The same list at the API, ever more jobs in the warehouse."""
    size = max(plan.sizes)
    rows = []
    for jobs in (size, *(times * size for times in plan.grown)):
        samples = results.samples[GROWN, jobs, FAST, "equal", "ours"]
        shown = [
            _mid(samples, what) for what in (lambda one: one.cpu, lambda one: one.megabytes, lambda one: one.written)
        ]
        rows.append([f"{jobs:,}", _spread([sample.wall for sample in samples]), *(f"{value:,.2f}" for value in shown)])
    return _table(["jobs", "wall s", "cpu s", "MB", "MB written"], rows)


def _views(results: Results, plan: Plan) -> str:
    names = [name for name in results.stages[plan.growth[0]] if name not in ("publish", "report")]
    rows = [[name, *(f"{results.stages[jobs][name]:.3f}" for jobs in plan.growth)] for name in names]
    return _table(["view", *(f"{jobs:,}" for jobs in plan.growth)], rows)


def _targets(results: Results, plan: Plan) -> str:
    """The targets of the issue; in a quick run its smaller sizes stand in for those of the issue."""
    large, (small, *_, huge) = max(plan.sizes), plan.growth

    def samples(what: str, jobs: int, latency: float = FAST, mix: str = "equal", peer: str = "ours") -> list[Sample]:
        return results.samples[what, jobs, latency, mix, peer]

    def ratio(what: str, latency: float = FAST, mix: str = "equal", of: Callable[[Sample], float] = _wall) -> float:
        ours, script = (samples(what, large, latency, mix, peer) for peer in ("ours", "script"))
        return _mid(ours, of) / _mid(script, of)

    def most(found: Sequence[Sample], of: Callable[[Sample], float]) -> float:
        return max(of(sample) for sample in found)

    def idle(jobs: int) -> float:
        return _mid(samples(IDLE, jobs), _wall) - results.stages[jobs]["publish"]

    most_grown = max(plan.grown) * large

    def grown(jobs: int) -> float:
        return _mid(samples(GROWN, jobs), _wall)

    def requests(sample: Sample) -> float:
        return sample.requests

    def memory(sample: Sample) -> float:
        return sample.megabytes

    def stale(sample: Sample) -> float:
        return sample.stale

    found = [
        ("first load, no latency, ratio", ratio(FIRST), 1.15),
        ("first load, no latency, MB", most(samples(FIRST, large), memory), 450),
        *(
            (f"first load, 50 ms, {name}, ratio", ratio(FIRST, SLOW, mix), 0.3 if mix == "changed" else 0.2)
            for mix, name in MIXES.items()
        ),
        *(
            (f"first load, 50 ms, {name}, requests to one chain's", ratio(FIRST, SLOW, mix, requests), 1.2)
            for mix, name in MIXES.items()
        ),
        ("no change, ratio", ratio(IDLE), 0.8),
        ("no change, requests", most(samples(IDLE, large), requests), 1),
        ("250 new and 50 changed, ratio", ratio(CHANGES), 1.0),
        ("250 new and 50 changed, 50 ms, ratio", ratio(CHANGES, SLOW), 1.0),
        ("250 new and 50 changed, stale", most(samples(CHANGES, large), stale), 0),
        (
            f"first load of {huge:,} to one of {large:,}",
            _mid(samples(FIRST, huge), _wall) / _mid(samples(FIRST, large), _wall),
            12,
        ),
        (f"first load of {huge:,}, MB", most(samples(FIRST, huge), memory), 1000),
        (f"no change on {huge:,} to one on {small:,}, publish aside", idle(huge) / idle(small), 1.5),
        (f"publish of {huge:,}, s", results.stages[huge]["publish"], 1),
        (f"no change on {most_grown:,} to one on {large:,}", grown(most_grown) / grown(large), 2),
    ]
    return _table(
        [f"{large:,} jobs where nothing else is said", "measured", "at most", ""],
        [
            [name, f"{value:,.2f}".removesuffix(".00"), f"{limit:g}", "met" if value <= limit else "**missed**"]
            for name, value, limit in found
        ],
    )
