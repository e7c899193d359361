"""The share of webhooks that failed, against `checks.webhook_failure_rate`."""

from pipelines.checks import Asked, Finding
from pipelines.wording import percent, seconds

PLACE = 50


def measure(asked: Asked) -> list[Finding]:
    """Return the share of the webhooks that are not pending, of jobs created in `checks.failure_window`."""
    settings = asked.settings
    [(failed, ended)] = asked.rows(
        """
        select count(*) filter (where webhook_status = 'failed'), count(*)
        from reports.jobs where created_at >= cast($since as timestamptz) and webhook_status <> 'pending'
        """,
        since=(asked.now - settings.failure_window).isoformat(),
    )
    rate, most = failed / ended if ended else None, settings.webhook_failure_rate
    window = f"in the last {seconds(settings.failure_window.total_seconds())}"
    message = f"{failed:,} of {ended:,} webhooks {window} failed (at most {percent(most)})"
    breached = rate is not None and rate > most
    return [Finding("webhook_failures", "breached" if breached else "ok", rate, most, message)]
