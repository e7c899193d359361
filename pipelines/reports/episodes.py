"""What was out of the ordinary, for everything that tells of it: rows of reports.unusual, and their words."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from pipelines.wording import counted, exact, label, money, number

SPEND, FAILURES = ("above", "below"), ("failures",)
REASONS = {
    "new model": "a new model",
    "new price": "at a new price a job",
    "no longer used": "no longer used",
    "above": "more than usual",
    "below": "less than usual",
    "failures": "failures beyond chance",
}


class Episode(NamedTuple):
    """A row of reports.unusual."""

    first_day: date
    last_day: date
    kind: str
    reason: str
    model: str | None
    days: int
    models: int
    actual: Decimal
    expected: Decimal
    impact: Decimal
    cost_impact: Decimal | None
    currency: str | None

    @property
    def name(self) -> str:
        """The model that explains most of it."""
        return label(self.model, 60)

    def when(self) -> str:
        """Say on which days: those of the model lie between the first and the last."""
        if self.first_day == self.last_day:
            return f"on {self.first_day}"
        return f"on {counted(self.days, 'day')} from {self.first_day} to {self.last_day}"

    def size(self) -> str:
        """Say how much more or less it came to than was expected, of all of its models."""
        cost = f" ({money(abs(self.cost_impact), self.currency)})" if self.cost_impact is not None else ""
        return f"{about(abs(self.impact))} credits{cost} {'more' if self.impact > 0 else 'less'}{self.others()}"

    def others(self) -> str:
        """Say how many models it was, where it was more than one."""
        return f", {counted(self.models, 'model')} together" if self.models > 1 else ""

    def told(self) -> str:
        """Say it in a line."""
        if self.kind in FAILURES:
            return (
                f"{counted(int(self.actual), 'job')} of {self.name} failed {self.when()}, "
                f"{number(float(self.expected), 1)} were expected: {about(self.impact)} credits' worth{self.others()}"
            )
        return (
            f"{self.name} cost {about(self.actual)} credits {self.when()}, "
            f"{about(self.expected)} were expected: {REASONS[self.reason]}, {self.size()}"
        )


def about(amount: Decimal) -> str:
    """Write credits, to hundredths where they are few."""
    return number(amount) if abs(amount) >= 100 else exact(amount, digits=2)


def episodes(connection: Any, since: date, until: date | None = None) -> list[Episode]:
    """Return those that reach these days, the largest first; `until` None is without end."""
    rows = connection.execute(
        f"""
        select {", ".join(Episode._fields)} from reports.unusual
        where last_day >= $since and (cast($until as date) is null or first_day <= cast($until as date))
        order by abs(impact) desc, first_day, kind, model
        """,
        {"since": since, "until": until},
    ).fetchall()
    return [Episode(*row) for row in rows]
