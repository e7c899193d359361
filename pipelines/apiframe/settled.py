"""What can still change: the one rule, over a `Row` and as SQL. Both are tested by one table of cases.

A job is settled once it was seen final, its webhook not pending, more than `settle_after` after its end. An unknown
status and a pending webhook keep a job unsettled for a week; being open does for as long as it lasts.
"""

from __future__ import annotations

from pipelines.apiframe.records import FINAL, OPEN, Row

WEEK = 7 * 86_400 * 1_000_000

#: SQL: a job that the API still lists, and that has not ended.
IS_OPEN = f"(status in {OPEN} and delisted_at is null)"


def can_change(row: Row, seen_at: int, settle_after: int) -> bool:
    """Tell whether a job was unsettled for the sync that began at `seen_at`. Times are microseconds since 1970."""
    if row.delisted_at is not None:
        return False
    if row.status in OPEN:
        return True
    is_final = row.status in FINAL
    if (not is_final or row.webhook_status == "pending") and row.created_at > seen_at - WEEK:
        return True
    ended_at = row.created_at if row.completed_at is None else row.completed_at
    return is_final and ended_at > seen_at - settle_after


def can_change_sql(seen_at: int, settle_after: int) -> str:
    """Return the same as a condition on the table `jobs`."""
    return f"({' or '.join(each_can_change_sql(seen_at, settle_after))})"


def each_can_change_sql(seen_at: int, settle_after: int) -> list[str]:
    """Return the conditions of which a job that can change meets at least one.

    Each bounds one column by itself, so that a database finds the few in a large table without reading it all.
    """
    week, just_now = f"make_timestamp({seen_at - WEEK})", f"make_timestamp({seen_at - settle_after})"
    conditions = (
        f"status in {OPEN}",
        f"created_at > {week} and (status is null or status not in {FINAL} or webhook_status = 'pending')",
        f"completed_at > {just_now} and status in {FINAL}",
        f"created_at > {just_now} and completed_at is null and status in {FINAL}",
    )
    return [f"({condition} and delisted_at is null)" for condition in conditions]
