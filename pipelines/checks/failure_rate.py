"""Models that fail more often than `checks.failure_rate`, and more than chance explains."""

from pipelines.checks import Asked, Finding
from pipelines.wording import label, percent, seconds

PLACE = 20


def measure(asked: Asked) -> list[Finding]:
    """Return each model whose interval lies above the threshold, else the highest one that was measured."""
    settings = asked.settings
    rows = asked.rows(
        """
        with counted as (
            select
                model,
                count(*) filter (where is_failed) as failed,
                count(*) filter (where is_finished) as finished
            from reports.jobs where created_at >= cast($since as timestamptz) group by model
        )
        select model, failed, failed + finished, {wilson_low(failed, finished)} as low
        from counted where failed + finished >= $least order by low desc, model nulls last
        """,
        since=(asked.now - settings.failure_window).isoformat(),
        least=settings.failure_min_jobs,
    )
    window = f"in the last {seconds(settings.failure_window.total_seconds())}"
    if not rows:
        few = f"no model has {settings.failure_min_jobs} finished or failed jobs {window}"
        return [Finding("failure_rate", "ok", None, settings.failure_rate, few)]
    findings = [
        Finding(
            "failure_rate",
            "breached" if low > settings.failure_rate else "ok",
            failed / ended,
            settings.failure_rate,
            f"{label(model, 60)} failed in {percent(failed / ended)} of {ended:,} jobs {window}; the lower "
            f"end of its 95 % interval is {percent(low)} (at most {percent(settings.failure_rate)})",
            label(model, 60),
        )
        for model, failed, ended, low in rows
    ]
    return [finding for finding in findings if finding.state == "breached"] or findings[:1]
