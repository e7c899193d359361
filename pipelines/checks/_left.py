"""What is left of the credits, for the checks that hold it against a threshold."""

from __future__ import annotations

from pipelines.checks import Asked
from pipelines.reports.spending import runway
from pipelines.runway import Runway
from pipelines.wording import seconds


def left(asked: Asked) -> tuple[Runway | None, str]:
    """Return what is left and for how long, or None and why that cannot be told."""
    if not asked.settings.balance_every:
        return None, "not measured: sources.apiframe.balance_every is 0"
    found = runway(asked.connection, asked.settings.timezone)
    if found is None:
        return None, "not measured: no balance was read yet, the next sync asks for it"
    if found.credits_left is None or found.read_at is None:
        return None, f"not measured: the balance could not be read: {found.problem}"
    age = (asked.now - found.read_at).total_seconds()
    if age > asked.settings.max_age.total_seconds():
        return None, f"not measured: the balance was last read {seconds(age)} ago"
    return found, ""
