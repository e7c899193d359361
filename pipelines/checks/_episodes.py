"""What is out of the ordinary and still goes on, for the checks that tell of it."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

from pipelines.checks import Asked
from pipelines.wording import counted, exact, label, money, number
from pipelines.zones import local


def about(amount: Decimal) -> str:
    """Write credits to hundredths, where that is not more than anyone wants to know."""
    return number(amount) if abs(amount) >= 100 else exact(amount, digits=2)


class Episode(NamedTuple):
    """A row of reports.unusual."""

    first_day: date
    last_day: date
    reason: str
    model: str | None
    models: int
    actual: Decimal
    expected: Decimal
    impact: Decimal
    cost_impact: Decimal | None
    currency: str | None

    @property
    def subject(self) -> str:
        """What it is about."""
        return label(self.model, 60)

    def when(self) -> str:
        """Say on which days."""
        return (
            f"on {self.first_day}" if self.first_day == self.last_day else f"from {self.first_day} to {self.last_day}"
        )

    def size(self) -> str:
        """Say how much more or less it came to than was expected, of all of its models."""
        cost = f" ({money(abs(self.cost_impact), self.currency)})" if self.cost_impact is not None else ""
        others = f", {counted(self.models, 'model')} together" if self.models > 1 else ""
        return f"{about(abs(self.impact))} credits{cost} {'more' if self.impact > 0 else 'less'}{others}"


def going_on(asked: Asked, *kinds: str) -> list[Episode]:
    """Return the episodes of these kinds that reach yesterday or today, the largest first."""
    today = local(asked.connection, asked.now, asked.settings.timezone).date()
    rows = asked.rows(
        f"""
        select {", ".join(Episode._fields)} from reports.unusual
        where last_day >= $since and kind in ({", ".join(f"'{kind}'" for kind in kinds)})
        order by abs(impact) desc, first_day, model
        """,
        since=today - timedelta(days=1),
    )
    return [Episode(*row) for row in rows]
