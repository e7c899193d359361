"""Random accounts with random labels: over each label, what has a value and what has none add up to the whole.

    python tests/label_worlds.py --worlds 300 --seed 1     three hundred of them
    python tests/label_worlds.py --only 17                 the one of this seed again

A world has jobs of every shape, rules that overlap, and a file that names jobs twice, with several values, or that do
not exist. Which value a job has is worked out here from the two files alone, without any of our SQL.
"""

import argparse
import csv
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
from reports.tables import base_tables, insert

from pipelines.own_files import read_lines
from pipelines.reports import create_views
from pipelines.tables.labels import HEADER, MOST_LINES, decided

START = datetime(2026, 1, 20, tzinfo=UTC)
DAYS = 100  # the clocks of Europe and America change within
MODELS = ("flux-pro", "Flux-Dev", "suno-v5", "it's {odd} 100%", "", None)
ERRORS = ("NSFW content", "timeout: provider", "Überlast 🎨", None)
STATUSES = ("COMPLETED", "COMPLETED", "FAILED", "CANCELLED", "PROCESSING", "NEW", None)
TEXTS = ("flux", "FLUX-", "pro", "o", "suno", "it's", "{odd}", "%", "t", "überlast", "image", "ser", "team")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu")
LABELS = ("project", "client", "o'label", "Project", "ünit")
VALUES = ("alpha", "Alpha", "be,ta", "it's", 'quo"te', "{double(1)}", "🎨")


@dataclass(frozen=True)
class World:
    """An account and the user's two files."""

    seed: int
    timezone: str
    jobs: list[dict[str, Any]]
    file: list[tuple[str, str, str]]  # job, label, value
    rules: list[tuple[str, str, str, str]]  # label, value, field, contains

    @classmethod
    def drawn(cls, seed: int) -> "World":
        """The world of a seed."""
        draw = random.Random(seed)
        jobs = [_job(draw, f"job-{place}") for place in range(draw.choice([0, 1, 5, 40, 200]))]
        ids = [job["id"] for job in jobs] + [f"gone-{place}" for place in range(1 + len(jobs) // 4)]
        labels = LABELS[: draw.randint(1, len(LABELS))]
        file = [(draw.choice(ids), draw.choice(labels), draw.choice(VALUES)) for _ in range(draw.choice([0, 3, 100]))]
        rules = [(draw.choice(labels), draw.choice(VALUES), *_rule(draw)) for _ in range(draw.choice([0, 1, 5, 20]))]
        return cls(seed, draw.choice(ZONES), jobs, file, rules)

    def __str__(self) -> str:
        return f"seed {self.seed}: {len(self.jobs)} jobs, {len(self.file)} lines, {len(self.rules)} rules"


def _job(draw: random.Random, identity: str) -> dict[str, Any]:
    cost = draw.choice([None, Decimal(0), Decimal(draw.randrange(10**7)) / 10**4, Decimal(10**13)])
    return {
        "id": identity,
        "status": draw.choice(STATUSES),
        "model": draw.choice(MODELS),
        "modality": draw.choice(["image", "video", None]),
        "error": draw.choice(ERRORS),
        "scope": draw.choice(["user", "team"]),
        "credit_cost": cost,
        "created_at": START + timedelta(seconds=draw.randrange(DAYS * 86_400)),
        "delisted_at": draw.choice([None, None, START]),
    }


def _rule(draw: random.Random) -> tuple[str, str]:
    field = draw.choice(["model", "modality", "error", "scope", "created_after", "created_before", "input.style"])
    if not field.startswith("created"):
        return field, draw.choice(TEXTS)
    day = START + timedelta(days=draw.randrange(DAYS))
    return field, draw.choice(
        [f"{day.date()}", f"{day.date()}T{draw.randrange(4, 24):02}:30", f"{day.date()} 02:30:00+05:45"]
    )


def value_of(world: World, job: dict[str, Any], label: str) -> str | None:
    """The value that a job has: the first line of the file that gives it one, else the first rule that it meets."""
    lines = [value for identity, name, value in world.file if (identity, name) == (job["id"], label)]
    rules = [value for name, value, *rule in world.rules if name == label and _meets(world, job, *rule)]
    return next(iter(lines + rules), None)


def _meets(world: World, job: dict[str, Any], field: str, contains: str) -> bool:
    if not field.startswith("created"):
        return contains.lower() in (job.get(field) or "\0").lower()
    zone = ZoneInfo(world.timezone)
    if len(contains) == len("2026-01-01"):
        after = job["created_at"].astimezone(zone).date() >= date.fromisoformat(contains)
    else:
        at = datetime.fromisoformat(contains)
        after = job["created_at"] >= (at if at.tzinfo else at.replace(tzinfo=zone))
    return bool(after == (field == "created_after"))


def _credits(job: dict[str, Any]) -> Decimal:
    is_open = job["status"] == "PROCESSING" and job["delisted_at"] is None
    return Decimal(0) if is_open or job["credit_cost"] is None else Decimal(job["credit_cost"])


def _write(file: Path, header: tuple[str, ...], lines: list[Any]) -> Path:
    with file.open("w", newline="", encoding="utf-8") as target:
        csv.writer(target).writerows([header, *lines])
    return file


@contextmanager
def filled(world: World) -> Iterator[duckdb.DuckDBPyConnection]:
    """A warehouse of this world, with its views."""
    with tempfile.TemporaryDirectory() as folder, base_tables() as connection:
        rules = _write(Path(folder) / "label_rules.csv", ("label", "value", "field", "contains"), world.rules)
        file = _write(Path(folder) / "labels.csv", HEADER, world.file)
        given = decided(file, read_lines(file, HEADER, MOST_LINES))
        insert(connection, "jobs", world.jobs)
        insert(connection, "labels", [label._asdict() for label in given])
        create_views(connection, world.timezone, labels=rules)
        yield connection


def play(world: World) -> list[str]:
    """What is wrong with the views of a world."""
    with filled(world) as connection:
        jobs = connection.execute("select id, label, value, other_values from reports.labelled_jobs").fetchall()
        spend = connection.execute(
            "select label, value, cast(month as varchar), jobs, coalesce(credits, 0), jobs_in_conflict "
            "from reports.spend_by_label"
        ).fetchall()
        whole = connection.execute("select count(*), coalesce(sum(credits), 0) from reports.jobs").fetchall()[0]
    return [*_wrong_jobs(world, jobs), *_wrong_spend(world, spend, whole)]


def _labels(world: World) -> set[str]:
    return {line[1] for line in world.file} | {rule[0] for rule in world.rules}


def _wrong_jobs(world: World, found: list[tuple[Any, ...]]) -> list[str]:
    values: dict[tuple[str, str], set[str]] = defaultdict(set)
    for identity, label, value in world.file:
        values[identity, label].add(value)
    wanted = sorted(
        (job["id"], label, value_of(world, job, label) or "", max(0, len(values[job["id"], label]) - 1))
        for job in world.jobs
        for label in _labels(world)
    )
    rows = sorted((identity, label, value or "", others) for identity, label, value, others in found)
    different = sorted(set(rows) ^ set(wanted))
    return [f"a job differs: {row}" for row in different] or ([] if len(rows) == len(wanted) else ["a job twice"])


def _wrong_spend(world: World, found: list[tuple[Any, ...]], whole: tuple[int, Decimal]) -> list[str]:
    wrong = []
    zone = ZoneInfo(world.timezone)
    months = {f"{job['created_at'].astimezone(zone):%Y-%m}-01" for job in world.jobs}
    for label in _labels(world):
        rows = [row[1:] for row in found if row[0] == label]
        if (sum(row[2] for row in rows), sum(row[3] for row in rows)) != whole:
            wrong.append(f"{label} does not add up to {whole}: {rows}")
        if {month for value, month, *_ in rows if value is None} != months:
            wrong.append(f"{label} does not say what is not labelled in each of {months}")
        if len({row[:2] for row in rows}) != len(rows):
            wrong.append(f"{label} has a value twice in a month")
    if whole != (len(world.jobs), sum(map(_credits, world.jobs))):
        wrong.append(f"the whole is not {whole}")
    totals: dict[tuple[str, str | None], Decimal] = defaultdict(Decimal)
    for job in world.jobs:
        for label in _labels(world):
            totals[label, value_of(world, job, label)] += _credits(job)
    for label, value, _, _, spent, _ in found:
        totals[label, value] -= spent
    return wrong + [f"{key} is wrong by {rest}" for key, rest in totals.items() if rest]


def main() -> int:
    """Play as many as were asked for; 1 where one is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the first; each next one adds 1")
    parser.add_argument("--only", type=int, metavar="SEED", help="replay this one")
    chosen = parser.parse_args()
    seeds = [chosen.only] if chosen.only is not None else range(chosen.seed, chosen.seed + chosen.worlds)
    failed = []
    for seed in seeds:
        world = World.drawn(seed)
        if wrong := play(world):
            failed.append(seed)
            sys.stdout.write("\n    ".join([f"{world}: {len(wrong)} wrong", *wrong[:5]]) + "\n")
    sys.stdout.write(f"{len(seeds) - len(failed)} add up, {len(failed)} do not{f': {failed}' if failed else ''}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
