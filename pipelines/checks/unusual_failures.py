"""Failures beyond chance that still go on, where they are worth at least `checks.min_impact`."""

from pipelines.checks import Asked, Finding
from pipelines.checks._episodes import about, going_on
from pipelines.wording import counted, number

PLACE = 21


def measure(asked: Asked) -> list[Finding]:
    """Return each episode that reaches yesterday or today."""
    found = [
        Finding(
            "unusual_failures",
            "breached",
            episode.impact,
            None,
            f"{counted(int(episode.actual), 'job')} of {episode.subject} failed {episode.when()}, "
            f"{number(float(episode.expected), 1)} were expected: {about(episode.impact)} credits' worth"
            + (f", {counted(episode.models, 'model')} together" if episode.models > 1 else ""),
            episode.subject,
        )
        for episode in going_on(asked, "failures")
    ]
    return found or [Finding("unusual_failures", "ok", None, None, "no more jobs failed than chance explains")]
