"""What the account lost beyond its jobs, by `reports.reconciliation`, against `checks.max_residual`."""

from decimal import Decimal

from pipelines.checks import Asked, Finding
from pipelines.wording import clock, counted, exact, label

PLACE = 58
DAYS = 7  # back to which a loss is told


def measure(asked: Asked) -> list[Finding]:
    """Return the largest loss in credits between two readings that follow one another.

    What a top-up brought is none, and where it cannot be told what a difference is, that is no finding either.
    """
    most = asked.settings.max_residual
    pairs = asked.rows(
        "select verdict, -residual, closed_at, coalesce(refund_jobs, '') from reports.reconciliation "
        f"where closed_at > cast($now as timestamptz) - interval '{DAYS} days' order by residual, closed_at desc",
        now=asked.now.isoformat(),
    )
    untold = sum(verdict == "cannot tell" for verdict, *_ in pairs)
    doubt = f"; of {counted(untold, 'pair')} it cannot be told" if untold else ""
    lost = [pair for pair in pairs if pair[0] in ("refund missing", "charge without a job") and pair[1] > most]
    if not lost:
        told = "the account lost nothing beyond its jobs" if not most else f"no loss above {exact(most)} credits"
        told = "no loss is proven" if untold else told
        message = f"{told}, in {counted(len(pairs), 'pair')} of readings of {DAYS} days{doubt}"
        return [Finding("reconciliation", "ok", Decimal(0) if len(pairs) > untold else None, most, message)]
    zone = asked.settings.timezone
    verdict, most_lost, closed_at, jobs = lost[0]
    named = f" ({label(jobs, 120)})" if jobs else ""
    all_lost = exact(sum(loss for _, loss, *_ in lost))
    message = (
        f"{all_lost} credits are gone beyond what jobs cost, in {counted(len(lost), 'pair')} of readings of {DAYS} "
        f"days: {verdict}, {exact(most_lost)} credits before {clock(closed_at, zone)} ({zone}){named}{doubt}"
    )
    return [Finding("reconciliation", "breached", most_lost, most, message)]
