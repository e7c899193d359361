"""How many days the account's credits last, against `checks.min_days`."""

from pipelines.checks import Asked, Finding, State
from pipelines.checks._left import left
from pipelines.runway import Runway, sentence
from pipelines.zones import local

PLACE = 64


def measure(asked: Asked) -> list[Finding]:
    """Return the days until the credits are likely used up, None where that is not within a year.

    A warning where they may be used up sooner than the threshold, by the 80 % range.
    """
    least = asked.settings.min_days
    found, reason = left(asked)
    if found is None:
        return [Finding("runway", "unmeasured" if least else "ok", None, least or None, reason)]
    today = local(asked.connection, asked.now, asked.settings.timezone).date()
    days, early = ((day - today).days if day else None for day in (found.ends_on, found.earliest))
    message = f"credits last: {sentence(found)} " + (f"(at least {least} days)" if least else "(no threshold set)")
    return [Finding("runway", _state(found, days, early, least), days, least or None, message)]


def _state(found: Runway, days: int | None, early: int | None, least: int) -> State:
    if not least:
        return "ok"
    if found.verdict == "too young":
        return "unmeasured"
    if days is not None and days < least:
        return "breached"
    return "warning" if early is not None and early < least else "ok"
