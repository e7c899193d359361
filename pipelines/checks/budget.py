"""What the calendar month has cost, in credits or in money, against `checks.monthly_budget`."""

from decimal import Decimal

from pipelines.checks import Asked, Finding
from pipelines.checks._month import Month, credits_spent, month
from pipelines.reports import queries
from pipelines.wording import exact

PLACE = 35


def measure(asked: Asked) -> list[Finding]:
    """Return what was spent in the running month; a warning where the budget is near, or likely to be."""
    budget, currency = asked.settings.monthly_budget
    if not budget:
        return [Finding("budget", "ok", None, None, "no budget set (checks.monthly_budget)")]
    running = month(asked)
    if currency is None:
        spent, message = credits_spent(asked, running)
        judged = running.state(spent, budget)
    else:
        spent, unpriced = _money(asked, running, currency)
        price = queries.price(asked.connection, running.today)
        rate = float(price[0]) if price and price[1] == currency else None
        message, judged = running.told(spent, currency, rate), running.state(spent, budget, rate)
        if unpriced:
            message += f", without {exact(unpriced)} credits whose cost in {currency} is not known"
            judged = judged if judged == "breached" else "unmeasured"
    message += f" (budget {exact(budget)} {currency or 'credits'})"
    return [Finding("budget", judged, spent, budget, message)]


def _money(asked: Asked, running: Month, currency: str) -> tuple[Decimal, Decimal]:
    """Return what the month has cost in a currency, and the credits whose cost in it is not known."""
    [(cost, unpriced)] = asked.rows(
        """
        select
            coalesce(sum(case when currency = $currency then cost end), 0),
            coalesce(sum(case when currency = $currency and cost is not null then 0 else credits end), 0)
        from reports.daily_spend where day between $first and $today
        """,
        currency=currency,
        first=running.first,
        today=running.today,
    )
    return Decimal(cost), Decimal(unpriced)
