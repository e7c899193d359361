"""Random accounts whose books are known to the last credit: what `reports.reconciliation` makes of them.

    python tests/books.py --worlds 300 --seed 1     three hundred of them, and how often each kind was told rightly
    python tests/books.py --only 17                 the one of this seed again, pair by pair

Jobs are born, end and fail, with refunds that come on time, late, never, or in the list alone; charges come twice or
without a job; credits are topped up; plans are renewed; colleagues work; readings fail; and all of it may happen
between the request for the balance and the one for the jobs. The sandbox's ledger is the truth. A verdict is right, or
it is "cannot tell", or it is wrong.
"""

import argparse
import os
import random
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from unittest import mock

from support import query

import pipelines.settings
import pipelines.sync
from pipelines.apiframe import clock
from pipelines.sandbox import Request, Sandbox

SYNCS = 12
START = datetime(2026, 3, 2, 8, tzinfo=UTC)
#: What happens to the credits of an account, beside jobs that end as they should.
KINDS = (
    "clean",
    "between",  # jobs and refunds between the two requests of a sync
    "late",  # refunds that come after hours, or never; the list says so
    "refund",  # one refund that the list tells of and the balance never gets, of a job whose cost was seen
    "unseen",  # the same of a job that failed before a sync saw its cost
    "charge",  # one charge twice, or without a job
    "top-up",
    "renewal",
    "colleague",  # with scope user
    "missed",  # readings that fail
    "several",  # leaks and top-ups as they come, and all the rest
)
CLEAN = {"clean", "missed"}
WRONG = {"refund", "unseen", "charge"}  # events by which the customer loses


@dataclass(frozen=True)
class Event:
    """What was booked that no job explains: before the reading of the sync with this number."""

    sync: int
    kind: str
    credits: Decimal
    job: str | None = None


@dataclass
class World:
    """One account as its seed draws it, and what has happened to it."""

    seed: int
    kind: str
    draw: random.Random
    api: Sandbox
    sync: int = 0  # the number of the next reading
    number: int = 0  # of the sync that is next, or under way
    others: Decimal = Decimal(0)  # what colleagues have cost so far
    events: list[Event] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)  # open jobs that every sync sees, until their refund is lost

    def does(self, *kinds: str) -> bool:
        """Tell whether it is of one of these kinds, or of all."""
        return self.kind in kinds or self.kind == "several"

    def live(self) -> None:
        """Pass an hour or three: jobs are born, end, and are looked at or not before they do."""
        for _ in range(self.draw.randint(1, 3)):
            self.api.live_on(timedelta(minutes=self.draw.randint(13, 50), milliseconds=self.draw.randrange(1000)))
            self.births()
            self.ends()
        self.api.advance(timedelta(seconds=self.draw.randint(5, 600), milliseconds=self.draw.randrange(1000)))

    def births(self, most: int = 4) -> None:
        """Open jobs, and some that have failed at once; a few cost what no catalogue lists."""
        api, draw = self.api, self.draw
        cost = {"creditCost": draw.choice([0.01, 10.5, 7, 12.3456])} if draw.random() < 0.3 else {}
        self.open += api.add(draw.randint(1, most), status="PROCESSING", created_at=api.now, **cost)
        if draw.random() < 0.5:
            api.add(1, status="FAILED", created_at=api.now)

    def ends(self) -> None:
        """Some open jobs end."""
        self.draw.shuffle(self.open)
        for _ in range(self.draw.randint(0, len(self.open))):
            job = self.open.pop()
            if self.does("late") and self.draw.random() < 0.4:
                after = self.draw.choice([None, *(timedelta(minutes=each) for each in (2, 30, 45, 90, 400))])
                self.api.refunds([job], after=after)
            self.api.finish([job], self.draw.choice(["COMPLETED", "COMPLETED", "FAILED", "FAILED", "CANCELLED"]))

    def meet(self, request: Request) -> None:
        """Between the two requests of a sync, now and then, the account goes on."""
        if request.path == "/jobs":
            self.sync = self.number + 1
        if request.path == "/jobs" and self.does("between") and self.number < SYNCS - 1 and self.draw.random() < 0.5:
            self.api.advance(timedelta(milliseconds=self.draw.choice([0, 30, 700])))
            self.draw.choice([self.births, self.ends])()

    def happen(self) -> None:
        """What an account should not live through, or what has nothing to do with jobs."""
        does = [kind for kind in ("refund", "unseen", "charge", "top-up", "renewal", "colleague") if self.does(kind)]
        if does:
            {
                "refund": self.lose_a_refund,
                "unseen": self.lose_what_was_not_seen,
                "charge": self.charge,
                "top-up": self.top_up,
                "renewal": self.renew,
                "colleague": self.work_along,
            }[self.draw.choice(does)]()

    def note(self, kind: str, gained: Decimal, job: str | None = None) -> None:
        """Remember what no job explains."""
        self.events.append(Event(self.sync, kind, gained, job))

    def charged(self, job: str) -> Decimal:
        """What was taken for a job."""
        return -sum((entry.credits for entry in self.api.ledger if entry.job == job), Decimal(0))

    def lose_a_refund(self) -> None:
        """A job that a sync saw with its cost fails, and its refund is in the list alone."""
        job = self.kept.pop()
        cost = self.charged(job)
        self.api.refunds([job], booked=False)
        self.api.finish([job], "FAILED")
        self.note("refund", -cost, job)

    def lose_what_was_not_seen(self) -> None:
        """The same of a job that no sync saw before."""
        self.api.refunds(booked=False)
        [job] = self.api.add(1, status="FAILED", created_at=self.api.now)
        self.api.refunds()
        self.note("unseen", -self.charged(job), job)

    def charge(self) -> None:
        """A job is charged twice, or there is none."""
        job = self.draw.choice(self.api.listing()[:40])["id"] if self.draw.random() < 0.5 else None
        cost = self.charged(job) if job else self.draw.choice([Decimal("0.01"), Decimal(16), Decimal("3.25")])
        if cost:
            self.api.book("charge", -cost, job)
            self.note("charge", -cost)

    def top_up(self) -> None:
        """Credits are bought."""
        bought = self.draw.choice([Decimal(1000), Decimal(500), Decimal(2500)])
        self.api.book("top-up", bought)
        self.note("top-up", bought)

    def renew(self) -> None:
        """A plan's next month begins: it sets the credits, or adds to them."""
        before, adds = self.balance(), self.draw.random() < 0.4
        self.api.renew("pro", self.draw.choice([1000, 2000, 5500]), adds=adds)
        self.note("renewal", self.balance() - before)

    def work_along(self) -> None:
        """Somebody else of the team lets jobs be made."""
        self.api.add(2, status="PROCESSING", created_at=self.api.now, colleague=True)

    def look_at_others(self) -> None:
        """With scope user, note what colleagues have cost since."""
        mine = {job["id"] for job in self.api.listing()}
        cost = sum((entry.credits for entry in self.api.ledger if entry.job and entry.job not in mine), Decimal(0))
        if self.kind == "colleague" and self.number and cost != self.others:
            self.note("colleague", cost - self.others)
        self.others = cost

    def balance(self) -> Decimal:
        """What is left, by the books."""
        return sum((entry.credits for entry in self.api.ledger), Decimal(0))

    def miss(self) -> None:
        """The next reading fails, each of its attempts."""
        if self.does("missed") and self.draw.random() < 0.4:
            body = self.draw.choice([b"null", b'{"team": {"credits": "many"}}', b'{"team": null, "user": {}}'])
            fault, options = self.draw.choice([("403", {}), ("500", {}), ("no_team", {}), ("garbage", {"body": body})])
            self.api.fault(fault, times=2, path="/me", **options)


@dataclass(frozen=True)
class Pair:
    """What the view says of a pair of readings, and what was."""

    verdict: str
    residual: Decimal
    why: str | None
    named: tuple[str, ...]
    events: tuple[Event, ...]
    is_confirmed: bool  # there is a reading after it

    @property
    def is_right(self) -> bool:
        """Tell whether the verdict is what happened."""
        kinds = {event.kind for event in self.events}
        if self.verdict == "balances":
            return not kinds
        if self.verdict == "top-up":
            return bool({"top-up", "renewal"} & kinds)
        if self.verdict == "charge without a job":
            return "charge" in kinds
        lost = {event.job for event in self.events if event.kind in ("refund", "unseen")}
        return self.verdict == "refund missing" and bool(lost & set(self.named) or self.looks_alike)

    @property
    def looks_alike(self) -> bool:
        """Tell whether a charge was of exactly what a job was given back: nothing in the API tells them apart."""
        return any(event.kind == "charge" and event.credits == self.residual for event in self.events)

    @property
    def judgement(self) -> str:
        """How the verdict compares with what happened: right, cannot tell or WRONG."""
        return "cannot tell" if self.verdict == "cannot tell" else "right" if self.is_right else "WRONG"

    def __str__(self) -> str:
        events = ", ".join(f"{event.kind} {event.credits} {event.job or ''}".strip() for event in self.events)
        named = f" [{' '.join(self.named)}]" if self.named else ""
        told = f"{self.judgement:11} {self.verdict:20} {self.residual:>12}{named} {self.why or ''}"
        return f"{told} | {events or 'nothing'}"


def play(seed: int, kind: str | None = None) -> tuple[str, list[Pair]]:
    """Play one world to its end; its kind, and its pairs of readings, oldest first."""
    draw = random.Random(seed)
    kind = kind or KINDS[seed % len(KINDS)]
    hours = draw.randrange(24)
    with (
        tempfile.TemporaryDirectory(prefix="books-") as folder,
        Sandbox(draw.choice([40, 400]), 20, seed, START + timedelta(hours=hours)) as api,
        mock.patch.object(clock, "machine_time", side_effect=lambda: int(api.now.timestamp() * 1e6)),
    ):
        world = World(seed, kind, draw, api, kept=api.add(4, status="PROCESSING"))
        settings = pipelines.settings.load(
            {"DLT_PROJECT_DIR": folder},
            api_key=api.api_key,
            base_url=api.base_url,
            path="data/w.duckdb",
            scope="user" if kind == "colleague" else "team",
            request_backoff_factor=0.001,
            workers=1,
            balance_every="1s",
        )
        when = set(draw.sample(range(1, SYNCS - 2), 4 if kind in ("several", "colleague") else 1))
        api.on_request = world.meet
        for number in range(SYNCS):
            world.number = world.sync = number
            if number:
                world.live()
                world.miss()
            if number in when:
                world.happen()
                api.advance(timedelta(seconds=draw.choice([3, 40, 2000])))
            world.look_at_others()
            pipelines.sync.sync(settings)
            api.clear_faults()
        return kind, list(_pairs(settings.path, world))


def _pairs(path: Path, world: World) -> Iterator[Pair]:
    """The pairs of a warehouse, with what had happened by the closing reading and had not by the opening one."""
    good = query(path, "select credits is not null from apiframe.balances order by read_at")
    assert len(good) == SYNCS, "a reading with each sync"
    numbers = [number for number, (is_good,) in enumerate(good) if is_good]
    rows = query(
        path, "select verdict, residual, why, coalesce(refund_jobs, '') from reports.reconciliation order by closed_at"
    )
    for (opening, closing), (verdict, residual, why, named) in zip(pairwise(numbers), rows, strict=True):
        events = tuple(event for event in world.events if opening < event.sync <= closing)
        yield Pair(verdict, residual, why, tuple(filter(None, named.split(", "))), events, closing != numbers[-1])


class Figures:
    """What came of many worlds."""

    def __init__(self) -> None:
        self.judged: dict[str, Counter[str]] = defaultdict(Counter)
        self.alike = 0  # charges told as refunds of the same size, which the view says that it cannot tell apart
        self.accused = 0  # pairs in which nobody lost anything
        self.not_zero = 0  # pairs without an event, in worlds that are clean, whose residual is not 0
        self.lost: Counter[str] = Counter()  # missing refunds: of one job alone in its pair, by what was said of it

    def add(self, kind: str, pairs: list[Pair]) -> list[Pair]:
        """Count the pairs of a world; return those that were told wrongly."""
        wrong = []
        for pair in pairs:
            kinds = {event.kind for event in pair.events}
            self.judged["+".join(sorted(kinds)) or "nothing"][pair.judgement] += 1
            accuses = pair.verdict in ("refund missing", "charge without a job") and not WRONG & kinds
            broken = kind in CLEAN and not kinds and pair.residual != 0
            self.accused += accuses
            self.alike += pair.verdict == "refund missing" and pair.looks_alike
            self.not_zero += broken
            if len(pair.events) == 1 and kinds <= {"refund", "unseen"}:
                event = pair.events[0]
                self.lost[event.kind] += 1
                self.lost[f"{event.kind} told"] += pair.verdict == "refund missing" and pair.named == (event.job,)
                self.lost[f"{event.kind} named"] += event.job in pair.named
            if accuses or broken or pair.judgement == "WRONG":
                wrong.append(pair)
        return wrong

    def __str__(self) -> str:
        lines = [f"{'what happened in a pair':32}{'right':>8}{'cannot tell':>13}{'wrong':>7}"]
        for name, counts in sorted(self.judged.items(), key=lambda item: -sum(item[1].values())):
            lines.append(f"{name[:31]:32}{counts['right']:8,}{counts['cannot tell']:13,}{counts['WRONG']:7,}")
        lost = ", ".join(f"{name}: {count}" for name, count in sorted(self.lost.items()))
        lines.append(f"accused without a leak: {self.accused}; residual not 0 though nothing happened: {self.not_zero}")
        lines.append(f"second charges that look like a missing refund: {self.alike}")
        return "\n".join([*lines, f"missing refunds, one alone in its pair: {lost or 'none'}", ""])


def main() -> int:
    """Play as many as were asked for; 1 where a verdict was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the first; each next one adds 1")
    parser.add_argument("--only", type=int, metavar="SEED", help="replay this one")
    parser.add_argument("--kind", choices=KINDS, help="every world is of this one")
    chosen = parser.parse_args()
    seeds = [chosen.only] if chosen.only is not None else range(chosen.seed, chosen.seed + chosen.worlds)
    figures, failed = Figures(), []
    with tempfile.TemporaryDirectory(prefix="books-") as home:
        os.environ["HOME"] = home  # nothing of the developer's own configuration is seen
        for seed in seeds:
            kind, pairs = play(seed, chosen.kind)
            wrong = figures.add(kind, pairs)
            failed += [seed] if wrong else []
            shown = pairs if chosen.only is not None else wrong
            lines = [f"seed {seed}, {kind}: {len(wrong)} WRONG", *map(str, shown)] if shown else []
            sys.stdout.write("".join(f"{line}\n" for line in lines))
            sys.stdout.flush()
    sys.stdout.write(f"{figures}{len(seeds) - len(failed)} passed, {len(failed)} failed {failed or ''}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
