"""What is out of the ordinary and still goes on, for the checks that tell of it."""

from __future__ import annotations

from datetime import timedelta

from pipelines.checks import Asked
from pipelines.reports.episodes import Episode, episodes
from pipelines.zones import local


def going_on(asked: Asked, kinds: tuple[str, ...]) -> list[Episode]:
    """Return the episodes of these kinds that reach yesterday or today, the largest first."""
    today = local(asked.connection, asked.now, asked.settings.timezone).date()
    return [each for each in episodes(asked.connection, today - timedelta(days=1)) if each.kind in kinds]
