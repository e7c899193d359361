"""How long ago the last good sync ended, against `checks.max_age`."""

from pipelines.checks import Asked, Finding
from pipelines.stores import store_for
from pipelines.warehouse import Warehouse
from pipelines.wording import seconds

PLACE = 10


def measure(asked: Asked) -> list[Finding]:
    """Return the age in seconds; below zero where the sync ended ahead of this clock."""
    [(synced_at,)] = asked.rows("select {double(extract(epoch from last_sync_at))} from reports.freshness")
    if last := store_for(asked.settings).last_run(Warehouse.over(asked.connection)):
        synced_at = max(synced_at, last.finished_at / 1e6)  # the view may not hold it yet
    age, most = asked.now.timestamp() - synced_at, asked.settings.max_age.total_seconds()
    told = f"{seconds(age)} ago" if age >= 0 else f"{seconds(-age)} ahead of this clock"
    message = f"the last good sync ended {told} (at most {seconds(most)})"
    # One far ahead would hide for long that syncs have stopped.
    return [Finding("last_sync", "breached" if abs(age) > most else "ok", age, most, message)]
