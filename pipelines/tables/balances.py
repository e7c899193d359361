"""What the account has left, as `GET /me` says it: a reading at the first sync, then one every `balance_every`.

A reading that fails is stored with its `problem`, and fails no sync.
"""

from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import pipelines.apiframe.clock as clock
from pipelines.apiframe.answers import ApiError
from pipelines.exact import microseconds
from pipelines.tables import Column, Table

if TYPE_CHECKING:
    from pipelines.tables._sync import Sync
    from pipelines.warehouse import Warehouse

ATTEMPTS = 2  # a balance is no reason to hold a sync up
LONGEST_WAIT = 5.0  # seconds between them


class Balance(NamedTuple):
    """A row of `balances`; times in microseconds since 1970."""

    read_at: int
    account: str | None
    team_id: str | None
    team_name: str | None
    user_id: str | None
    plan: str | None
    credits: Decimal | None
    problem: str | None
    latest_at: int | None = None


def rows(sync: Sync) -> list[Balance] | None:
    """Return a reading where one is due, or where the API was asked whose key this is anyway."""
    every = microseconds(sync.settings.balance_every)
    now = _agreed(sync.client.now())
    if not every or (sync.client.standing is None and _was_asked(sync.warehouse, now - every, now)):
        return None
    if sync.client.standing is None:
        with contextlib.suppress(ApiError):  # which is the reading's problem then
            sync.client.me(attempts=ATTEMPTS, longest_wait=LONGEST_WAIT)
    found = sync.client.standing
    if found is None:
        return None
    account = found.account if found.account.is_known else sync.account
    row = Balance(
        _agreed(found.read_at),
        account.team_id or account.user_id,
        account.team_id,
        account.team_name,
        account.user_id,
        found.plan,
        found.credits,
        found.problem,
        max(found.read_at, clock.machine_time()),
    )
    return [row]


def readings(warehouse: Warehouse) -> tuple[Balance | None, Balance | None, Balance | None]:
    """Return three readings of the account's balance: the last, the last that went well, and the first."""
    wanted = ("order by read_at desc", "where credits is not null order by read_at desc", "order by read_at")
    found = [warehouse.read(TABLE, f"{which} limit 1") for which in wanted]
    last, good, first = (Balance(*rows[0]) if rows else None for rows in found)
    return last, good, first


def _was_asked(warehouse: Warehouse, since: int, until: int) -> bool:
    """Tell whether the account's balance was asked for in this span, well or not, by either clock.

    Before its first answer nothing is known of the API's clock, which may be hours behind this machine's.
    """
    span = " or ".join(
        f"{name} > make_timestamp(?) and {name} <= make_timestamp(?)" for name in ("read_at", "latest_at")
    )
    return bool(warehouse.read(TABLE, f"where {span} limit 1", [since, until, since, until]))


def _agreed(api: int) -> int:
    """Return the time that counts, as for everything else that a sync records."""
    return clock.decide(api, clock.machine_time(), ()).now


TABLE = Table(
    "balances",
    "One row per reading of the account's balance.",
    (
        Column("read_at", "TIMESTAMPTZ", "When it was read; the jobs of that sync were read right after it."),
        Column("account", "VARCHAR", "Whose credits these are: the team, or the user where there is none."),
        Column("team_id", "VARCHAR", "The team; null where there is none, or it was not told."),
        Column("team_name", "VARCHAR", "Its name for people."),
        Column("user_id", "VARCHAR", "Whose key it was."),
        Column("plan", "VARCHAR", "The team's plan, as the API names it."),
        Column("credits", "DECIMAL(18,4)", "What is left; null where that could not be read.", unit="credits"),
        Column("problem", "VARCHAR", "Why there are no credits; null where they were read."),
        Column(
            "latest_at", "TIMESTAMPTZ", "The later one of the API's and this machine's clock; read_at is the earlier."
        ),
    ),
    rows=rows,
    before=True,
)
