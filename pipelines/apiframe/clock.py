"""What time it is, decided once a sync: all that is recorded for good goes by it.

A clock that is ahead settles jobs too early and loses their changes; one that is behind only costs requests. So the
earlier clock counts, of the API's and this machine's, but none that is behind jobs which are there already. Jobs
decide between the two, and nothing beyond the later one: where both agree, they are misdated.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

MISDATED = 10  # jobs of a page that may be dated into the future without moving the clock
TOLERANCE = 5 * 60 * 1_000_000


def machine_time() -> int:
    """Return this machine's clock, in microseconds since 1970. Nothing else in a sync asks for it."""
    return int(time.time() * 1e6)


@dataclass(frozen=True)
class Clock:
    """The time that counts, in microseconds since 1970, and what has to be said of it (None: both clocks agree)."""

    now: int
    note: str | None = None


def decide(api: int, machine: int, created: Sequence[int]) -> Clock:
    """Return the time by the API's clock, this machine's and the createdAt of the newest jobs."""
    newest = sorted(created, reverse=True)
    past = newest[MISDATED] if len(newest) > MISDATED else 0
    now = max(min(api, machine), min(past, max(api, machine)))
    ahead = api - machine
    if past - now > TOLERANCE:
        return Clock(
            now,
            f"jobs are dated {_distance(past - now)} ahead of the API's clock and of this machine's: they are read "
            "again until then",
        )
    if abs(ahead) <= TOLERANCE:
        return Clock(now)
    used = "the newest jobs'" if now > min(api, machine) else "this machine's" if ahead > 0 else "the API's"
    return Clock(
        now,
        f"the API's clock is {_distance(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} this machine's: "
        f"{used} was used, by which nothing is settled too early; set the one that is wrong",
    )


def _distance(microseconds: int) -> str:
    minutes = microseconds / 60e6
    if minutes < 120:
        return f"{minutes:.0f} minutes"
    return f"{minutes / 60:.1f} hours" if minutes < 48 * 60 else f"{minutes / 1440:,.1f} days"
