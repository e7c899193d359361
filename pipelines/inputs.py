"""Reading the inputs that syncs have not come to: as many as are wanted, the newest jobs first.

What was read is kept wherever it ends. Readers see it at the end, unless the last sync was cut short: then with the
next, since they only ever see whole syncs.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pipelines.apiframe.answers import ApiError
from pipelines.apiframe.client import Client, client_of
from pipelines.apiframe.inputs import Input, Kept, read
from pipelines.errors import ConfigurationError
from pipelines.exact import microseconds
from pipelines.settings import Settings
from pipelines.stores import Store, store_for
from pipelines.sync.conductor import beforehand, whose
from pipelines.sync.plan import plan
from pipelines.tables.job_inputs import fill
from pipelines.warehouse import Warehouse
from pipelines.wording import counted

SWITCHED_OFF = (
    "inputs are switched off, since prompts may be personal data: set inputs = true under [sources.apiframe] in "
    ".dlt/config.toml; inputs_keep or inputs_drop there say what of them is stored"
)


class Backfill(NamedTuple):
    """What was done: inputs read, jobs found to be without, jobs whose input is still missing."""

    read: int
    without: int
    missing: int
    requests: int
    seconds: float
    published: bool
    path: str


def backfill(
    settings: Settings,
    *,
    limit: int | None = None,
    wait: float = 60,
    on_input: Callable[[int, int], None] = lambda _done, _wanted: None,
) -> Backfill:
    """Read the inputs of settled jobs that are missing, at most `limit`, and publish them.

    `on_input` is called with how many are done, and how many are wanted. Raises ConfigurationError where inputs are
    switched off or there is no warehouse, and what the client raises.
    """
    if not settings.inputs:
        raise ConfigurationError(SWITCHED_OFF)
    begun = time.monotonic()
    store = store_for(settings)
    # Says so where there is no warehouse; opening it for writing would make one.
    with contextlib.closing(store.connect_readonly()) as readers:
        published = Warehouse.over(readers).loads()
    client = client_of(settings)
    with contextlib.closing(client), store.lock(wait), store.open() as warehouse:
        missing = _missing(settings, client, store, warehouse)
        is_whole = warehouse.loads() == published
        counts: Counter[bool] = Counter()
        try:
            fill(store, _counted(_read(settings, client, missing[:limit]), counts, on_input, len(missing[:limit])))
        except ApiError as problem:
            problem.args = (f"{problem}; {counted(counts.total(), 'input')} read before that, kept; run it again",)
            raise
        finally:
            if is_whole and counts:
                store.publish()
    return Backfill(
        read=counts[True],
        without=counts[False],
        missing=len(missing) - counts.total(),
        requests=client.requests,
        seconds=round(time.monotonic() - begun, 3),
        published=is_whole,
        path=str(store.place),
    )


def _missing(settings: Settings, client: Client, store: Store, warehouse: Warehouse) -> list[str]:
    """Return the jobs whose input is missing; refuses a warehouse of another API, and the key of another account."""
    seen_at = plan(beforehand(settings, store, warehouse)).seen_at
    if seen_at is None:
        raise ConfigurationError(f"no sync has ended well yet in {store.place}: run apiframe-warehouse sync")
    whose(settings, client, store, warehouse)
    return warehouse.without_input(settings.scope, seen_at, microseconds(settings.settle_after))


def _read(settings: Settings, client: Client, ids: list[str]) -> Iterator[Input]:
    return read(client, ids, Kept(settings.inputs_keep, settings.inputs_drop), workers=settings.workers)


def _counted(
    inputs: Iterator[Input], counts: Counter[bool], on_input: Callable[[int, int], None], wanted: int
) -> Iterator[Input]:
    """Pass inputs on, and count those that are one (True) and those that are none; an interrupt here loses none."""
    for found in inputs:
        counts[found.problem is None] += 1
        yield found
        on_input(counts.total(), wanted)
