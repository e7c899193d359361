"""Credits of the calendar month against `checks.monthly_credits`."""

from pipelines.checks import Asked, Finding
from pipelines.checks._month import credits_spent, month
from pipelines.wording import exact

PLACE = 30


def measure(asked: Asked) -> list[Finding]:
    """Return the credits spent in the running month; a warning where the budget is near, or likely to be."""
    budget = asked.settings.monthly_credits
    running = month(asked)
    spent, message = credits_spent(asked, running)
    message += f" (budget {exact(budget)})" if budget else " (no budget set)"
    return [Finding("monthly_credits", running.state(spent, budget), spent, budget or None, message)]
