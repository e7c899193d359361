"""What is left of the account's credits, against `checks.min_credits`."""

from pipelines.checks import Asked, Finding
from pipelines.checks._left import left
from pipelines.wording import exact

PLACE = 62


def measure(asked: Asked) -> list[Finding]:
    """Return the balance that was read last, less what jobs have cost since."""
    least = asked.settings.min_credits
    found, reason = left(asked)
    if found is None or found.credits_left is None:
        return [Finding("credits_left", "unmeasured" if least else "ok", None, least or None, reason)]
    amount = found.credits_left
    message = f"{exact(amount)} credits are left " + (f"(at least {exact(least)})" if least else "(no threshold set)")
    return [Finding("credits_left", "breached" if least and amount < least else "ok", amount, least or None, message)]
