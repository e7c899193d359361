"""What can still change: one table of cases, for the predicate over a row and for the SQL condition alike."""

from decimal import Decimal

import duckdb
import pytest

from pipelines.apiframe.records import Row
from pipelines.apiframe.settled import IS_OPEN, can_change, can_change_sql
from pipelines.tables.jobs import TABLE as JOBS

MINUTE = 60_000_000
HOUR, DAY = 60 * MINUTE, 24 * 60 * MINUTE
SEEN_AT = 1_780_000_000_000_000

#: status, webhook, born and ended so long before the sync that saw it, delisted; can it still change?
CASES = [
    ("QUEUED", None, 90 * DAY, None, False, True),
    ("PROCESSING", None, 90 * DAY, None, False, True),
    ("PROCESSING", "pending", 90 * DAY, None, False, True),
    ("COMPLETED", None, 2 * HOUR, 59 * MINUTE, False, True),
    ("COMPLETED", None, 2 * HOUR, 61 * MINUTE, False, False),
    ("FAILED", "delivered", 9 * DAY, 5 * MINUTE, False, True),
    ("FAILED", None, 59 * MINUTE, None, False, True),  # without its end, its birth counts
    ("FAILED", None, 61 * MINUTE, None, False, False),
    ("CANCELLED", "failed", 9 * DAY, 2 * HOUR, False, False),
    # A pending webhook, and a status that nobody knows, count for a week ...
    ("COMPLETED", "pending", 6.9 * DAY, 6 * DAY, False, True),
    ("COMPLETED", "pending", 7.1 * DAY, 6 * DAY, False, False),
    ("ARCHIVING", None, 6.9 * DAY, 6 * DAY, False, True),
    ("ARCHIVING", None, 7.1 * DAY, MINUTE, False, False),
    (None, None, 6.9 * DAY, None, False, True),
    (None, "pending", 7.1 * DAY, None, False, False),
    # ... but shorten the time of no job that has only just ended.
    ("COMPLETED", "pending", 9 * DAY, 5 * MINUTE, False, True),
    ("COMPLETED", "pending", 9 * DAY, 61 * MINUTE, False, False),
    # Ahead of the clock: not over for long.
    ("COMPLETED", None, -DAY, -DAY, False, True),
    # No longer listed is settled, whatever it was.
    ("PROCESSING", "pending", MINUTE, None, True, False),
    ("COMPLETED", None, MINUTE, MINUTE, True, False),
]


def row(status: str | None, webhook: str | None, born: float, ended: float | None, delisted: bool) -> Row:
    return Row(
        id="job",
        status=status,
        model=None,
        modality=None,
        progress=None,
        credit_cost=Decimal(0),
        error=None,
        webhook_status=webhook,
        created_at=SEEN_AT - int(born),
        completed_at=None if ended is None else SEEN_AT - int(ended),
        expired=None,
        asset_count=None,
        result=None,
        extra=None,
        scope="user",
        synced_at=SEEN_AT,
        delisted_at=SEEN_AT if delisted else None,
    )


@pytest.mark.parametrize(("status", "webhook", "born", "ended", "delisted", "changes"), CASES)
def test_the_predicate_and_the_sql_agree_on_what_can_still_change(
    status: str | None, webhook: str | None, born: float, ended: float | None, delisted: bool, changes: bool
) -> None:
    job = row(status, webhook, born, ended, delisted)
    assert can_change(job, SEEN_AT, HOUR) is changes
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'").register("jobs", JOBS.to_arrow([job]))
        condition = can_change_sql(SEEN_AT, HOUR)
        assert connection.execute(f"select count(*) from jobs where {condition}").fetchall() == [(int(changes),)]
        is_open = status in ("QUEUED", "PROCESSING") and not delisted
        assert connection.execute(f"select count(*) from jobs where {IS_OPEN}").fetchall() == [(int(is_open),)]
