"""Failed jobs that still cost credits, against `checks.refunds_due_after`."""

from pipelines.checks import Asked, Finding
from pipelines.wording import counted, exact, label, seconds

PLACE = 55


def measure(asked: Asked) -> list[Finding]:
    """Return the age in seconds of the oldest refund that is due."""
    most = asked.settings.refunds_due_after.total_seconds()
    due = asked.rows(
        "select id, credits, {seconds(created_at, cast($now as timestamptz))} as age_s "
        "from reports.refunds_due order by created_at, id",
        now=asked.now.isoformat(),
    )
    late = [(identity, cost) for identity, cost, age in due if age > most]
    oldest = due[0][2] if due else None
    if not late:
        message = f"no failed job older than {seconds(most)} still costs credits"
        return [Finding("refunds_due", "ok", oldest, most, message)]
    message = (
        f"{counted(len(late), 'failed job')} older than {seconds(most)} still cost{'s' if len(late) == 1 else ''} "
        f"{exact(sum(cost for _, cost in late))} credits; the oldest is {label(late[0][0], 60)} "
        "(sync --full reads them again)"
    )
    return [Finding("refunds_due", "breached", oldest, most, message)]
