"""Spending out of the ordinary that still goes on, of at least `checks.min_impact`."""

from pipelines.checks import Asked, Finding
from pipelines.checks._episodes import Episode, about, going_on

PLACE = 32
REASONS = {
    "new model": "a new model",
    "new price": "at a new price a job",
    "no longer used": "no longer used",
    "above": "more than usual",
    "below": "less than usual",
}


def measure(asked: Asked) -> list[Finding]:
    """Return each episode that reaches yesterday or today: breached where it costs more, a warning where less."""
    found = [
        Finding(
            "unusual_spend",
            "breached" if episode.impact > 0 else "warning",
            episode.impact,
            None,
            _told(episode),
            episode.subject if episode.impact > 0 else f"{episode.subject}, less",  # both may go on at once
        )
        for episode in going_on(asked, "above", "below")
    ]
    return found or [Finding("unusual_spend", "ok", None, None, "nothing unusual is known of yesterday and today")]


def _told(episode: Episode) -> str:
    return (
        f"{episode.subject} cost {about(episode.actual)} credits {episode.when()}, "
        f"{about(episode.expected)} were expected: {REASONS[episode.reason]}, {episode.size()}"
    )
