"""Models whose jobs take longer than they used to: `checks.max_turnaround_growth`."""

from datetime import timedelta

from pipelines.checks import Asked, Finding
from pipelines.wording import label, seconds

PLACE = 25
PAST = timedelta(days=28)


def measure(asked: Asked) -> list[Finding]:
    """Return each model whose p95 has grown by more than the factor, else the one that has grown most.

    The last `checks.failure_window` is held against the 28 days before it; both with as many finished jobs as
    `checks.failure_min_jobs`.
    """
    settings = asked.settings
    most = settings.max_turnaround_growth
    if not most:
        return [Finding("turnaround", "ok", None, None, "no growth set (checks.max_turnaround_growth)")]
    rows = asked.rows(
        """
        with timed as (
            select model, turnaround_s, created_at >= cast($since as timestamptz) as is_recent
            from reports.jobs
            where is_finished and turnaround_s is not null and created_at >= cast($past as timestamptz)
        ),
        counted as (
            select
                model,
                count(*) filter (where is_recent) as recent,
                count(*) filter (where not is_recent) as before,
                percentile_cont(0.95) within group (order by case when is_recent then turnaround_s end) as recent_s,
                percentile_cont(0.95) within group (order by case when not is_recent then turnaround_s end) as before_s
            from timed group by model
        )
        select model, recent, recent_s, before_s
        from counted where recent >= $least and before >= $least and before_s > 0
        order by recent_s / before_s desc, model nulls last
        """,
        since=(asked.now - settings.failure_window).isoformat(),
        past=(asked.now - settings.failure_window - PAST).isoformat(),
        least=settings.failure_min_jobs,
    )
    window = f"in the last {seconds(settings.failure_window.total_seconds())}"
    if not rows:
        few = f"no model has {settings.failure_min_jobs} finished jobs {window}, and as many in the 28 days before"
        return [Finding("turnaround", "ok", None, most, few)]
    findings = [
        Finding(
            "turnaround",
            "breached" if recent / before > most else "ok",
            recent / before,
            most,
            f"95 % of {jobs:,} jobs of {label(model, 60)} took at most {seconds(recent)} {window}, {seconds(before)} "
            f"in the 28 days before: {recent / before:.1f} times as long (at most {most:g})",
            label(model, 60),
        )
        for model, jobs, recent, before in rows
    ]
    return [finding for finding in findings if finding.state == "breached"] or findings[:1]
