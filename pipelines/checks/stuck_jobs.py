"""Open jobs that are late, against `checks.stuck_jobs`."""

from pipelines.checks import Asked, Finding, State
from pipelines.wording import seconds

PLACE = 40


def measure(asked: Asked) -> list[Finding]:
    """Return the number of jobs that are stuck, as reports.open_jobs has them."""
    most = asked.settings.stuck_jobs
    [(stuck, open_jobs, oldest)] = asked.rows(
        """
        with aged as (
            select {seconds(created_at, cast($now as timestamptz))} as age_s, stuck_after_s
            from reports.open_jobs
        )
        select count(*) filter (where age_s > stuck_after_s), count(*), max(age_s) from aged
        """,
        now=asked.now.isoformat(),
    )
    message = f"{stuck:,} of {open_jobs:,} open jobs are stuck (at most {most:,})"
    if stuck:
        message += f"; the oldest is {seconds(oldest)} old"
    state: State = "breached" if stuck > most else "ok"
    return [Finding("stuck_jobs", state, stuck, most, message)]
