"""Spending out of the ordinary that still goes on, of at least `checks.min_impact`."""

from pipelines.checks import Asked, Finding
from pipelines.checks._episodes import going_on
from pipelines.reports.episodes import SPEND

PLACE = 32


def measure(asked: Asked) -> list[Finding]:
    """Return each episode that reaches yesterday or today: breached where it costs more, a warning where less."""
    found = [
        Finding(
            "unusual_spend",
            "breached" if episode.impact > 0 else "warning",
            episode.impact,
            None,
            episode.told(),
            episode.name if episode.impact > 0 else f"{episode.name}, less",  # both may go on at once
        )
        for episode in going_on(asked, SPEND)
    ]
    return found or [Finding("unusual_spend", "ok", None, None, "nothing unusual is known of yesterday and today")]
