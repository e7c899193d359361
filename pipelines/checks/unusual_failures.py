"""Failures beyond chance that still go on, where they are worth at least `checks.min_impact`."""

from pipelines.checks import Asked, Finding
from pipelines.checks._episodes import going_on
from pipelines.reports.episodes import FAILURES

PLACE = 21


def measure(asked: Asked) -> list[Finding]:
    """Return each episode that reaches yesterday or today."""
    found = [
        Finding("unusual_failures", "breached", episode.impact, None, episode.told(), episode.name)
        for episode in going_on(asked, FAILURES)
    ]
    few = "yesterday and today no more jobs are known to have failed than chance explains"
    return found or [Finding("unusual_failures", "ok", None, None, few)]
