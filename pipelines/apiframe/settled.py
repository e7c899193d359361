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
    return f"""(delisted_at is null and (
        status in {OPEN}
        or (status is null or status not in {FINAL} or webhook_status = 'pending')
            and created_at > make_timestamp({seen_at - WEEK})
        or status in {FINAL} and coalesce(completed_at, created_at) > make_timestamp({seen_at - settle_after})))"""
