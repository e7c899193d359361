"""Credits of the calendar month against `checks.monthly_credits`."""

from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from pipelines.checks import Asked, Finding, State
from pipelines.wording import exact, number

PLACE = 30
WARN_AT = Decimal("0.8")  # of the month's budget


def measure(asked: Asked) -> list[Finding]:
    """Return the credits spent in the running month; a warning at 80 % of the budget."""
    local = asked.now.astimezone(ZoneInfo(asked.settings.timezone))
    first = local.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = (first + timedelta(days=32)).replace(day=1)
    [(spent, unknown)] = asked.rows(
        """
        select coalesce(sum(credits), 0), count(*) filter (where is_cost_unknown)
        from reports.jobs where {local_day(created_at)} between $first and $today
        """,
        first=first.date(),
        today=local.date(),
    )
    passed = (asked.now.timestamp() - first.timestamp()) / (following.timestamp() - first.timestamp())
    budget = asked.settings.monthly_credits
    message = f"{exact(spent)} credits spent in {local:%Y-%m}"
    if passed > 0:
        message += f", {number(float(spent) / passed)} by its end at this pace"
    if unknown:
        message += f", without {unknown:,} jobs of unknown cost"
    message += f" (budget {exact(budget)})" if budget else " (no budget set)"
    state: State = "ok"
    if budget and spent >= WARN_AT * budget:
        state = "breached" if spent >= budget else "warning"
    return [Finding("monthly_credits", state, spent, budget or None, message)]
