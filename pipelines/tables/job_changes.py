"""What syncs saw change in jobs that they knew: the history that the API does not keep.

What a sync has seen is noted in `BEGUN` before the jobs are merged, and told here when the sync ends well. Where it
did not end, the next one tells of those changes that the jobs have come to show, so that none is lost or told twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from pipelines.tables import Column, Table

if TYPE_CHECKING:
    from pipelines.apiframe.records import Row
    from pipelines.stores import Store
    from pipelines.warehouse import Warehouse

TABLE = Table(
    "job_changes",
    "One row per change of a known job that a sync saw; a new job is none.",
    (
        Column("id", "VARCHAR", "The job's id."),
        Column("seen_at", "TIMESTAMPTZ", "When the sync saw it; it happened since the sync before."),
        Column("field", "VARCHAR", "status, credit_cost, webhook_status, error, expired or delisted."),
        Column("before", "VARCHAR", "What the warehouse held, as text; null where that was nothing."),
        Column("after", "VARCHAR", "What the API said, as text; null where that is nothing."),
    ),
)
#: Changes of a sync that has not ended yet; it belongs to no reader, and goes when the sync has ended.
BEGUN = dataclasses.replace(TABLE, name="_job_changes_begun", sentence="")


class Change(NamedTuple):
    """A row of `job_changes`; `seen_at` in microseconds since 1970."""

    id: str
    seen_at: int
    field: str
    before: str | None
    after: str | None


def between(kept: Row, row: Row) -> list[Change]:
    """Return what a row that is about to be written changes in the one that the warehouse holds."""
    before, after = _texts(kept), _texts(row)
    return [
        Change(row.id, row.synced_at, field, before[field], after[field])
        for field in before
        if field in after and before[field] != after[field]
    ]


def shown(begun: Iterable[Change], jobs: Mapping[str, Row], told: Collection[Change]) -> list[Change]:
    """Return the changes begun by a sync that was cut short that the jobs show, without those `told` already.

    Of each field of a job only the last can be missing: the next change of a job is seen once the one before is stored.
    """
    last = {(change.id, change.field): change for change in sorted(begun, key=lambda change: change.seen_at)}
    missing = {
        change
        for change in last.values()
        if change.id not in jobs or _texts(jobs[change.id]).get(change.field) == change.before
    }
    return [change for change in dict.fromkeys(begun) if change not in missing and change not in told]


def recover(store: Store, warehouse: Warehouse) -> None:
    """Tell of the changes that a sync has stored, but was cut short before it told them."""
    begun = [Change(*row) for row in warehouse.read(BEGUN)]
    if not begun:
        return
    ids = list({change.id for change in begun})
    rows = warehouse.read(TABLE, "where id in (select unnest(?::varchar[]))", [ids])
    jobs = {row.id: row for row in warehouse.rows(ids)}
    with store.transaction():
        store.prepare(TABLE)
        store.write(TABLE, shown(begun, jobs, {Change(*row) for row in rows}))
        store.empty(BEGUN)


def _texts(row: Row) -> dict[str, str | None]:
    """Return the fields of a job whose changes are told; a cost that is no number is none of them."""
    texts = {
        "status": row.status,
        "credit_cost": None if row.credit_cost is None else f"{(Decimal(row.credit_cost) + 0).normalize():f}",
        "webhook_status": row.webhook_status,
        "error": row.error,
        "expired": None if row.expired is None else str(row.expired).lower(),
        "delisted": str(row.delisted_at is not None).lower(),
    }
    if row.credit_cost is None and row.extra and '"creditCost"' in row.extra:
        del texts["credit_cost"]
    return texts
