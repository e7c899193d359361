"""The report: one HTML file for the person who pays, which opens anywhere without network.

Everything in it comes from the views, of a period and the one before. What is on it are the sections of
`pipelines.pages`; report.html is the frame around them, and escapes their text, which is other people's words.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipelines import charts, files, pages
from pipelines.charts import Picture
from pipelines.errors import ApiframeWarehouseError, ConfigurationError
from pipelines.pages import Asked, Card, Section, Table
from pipelines.reports import queries
from pipelines.reports.queries import Labels, Period
from pipelines.settings import NO_BUDGET, Budget
from pipelines.wording import clock, counted, missing, seconds, unbroken

LONGEST_WORD, LONGEST_WORDS = 40, 24  # characters of a cell that is not broken: of one word, of several
WIDTHS = {"wide": 900, "narrow": 340}  # a chart is drawn for wide and for narrow pages: a scaled one is not legible


def write_report(
    connection: duckdb.DuckDBPyConnection,
    target: Path,
    first_day: date,
    last_day: date,
    timezone: str,
    now: datetime,
    *,
    scope: str | None = None,
    labels: Labels = (),
    budget: Budget = NO_BUDGET,
) -> dict[str, Any]:
    """Write the report of `first_day` to `last_day`, both included, and return its headline figures.

    The file appears whole or not at all, readable for its owner alone. Raises ApiframeWarehouseError where
    there is nothing to report or nowhere to write it.
    """
    page, headline = made(connection, first_day, last_day, timezone, now, scope=scope, labels=labels, budget=budget)
    files.replace(target, lambda file: file.write_text(page, encoding="utf-8", errors="replace"))
    return headline


def made(
    connection: duckdb.DuckDBPyConnection,
    first_day: date,
    last_day: date,
    timezone: str,
    now: datetime,
    *,
    scope: str | None = None,
    labels: Labels = (),
    budget: Budget = NO_BUDGET,
) -> tuple[str, dict[str, Any]]:
    """Return the page, and its headline figures, of the jobs of a scope (user, team or None) and with these labels."""
    if last_day < first_day:
        raise ConfigurationError(f"the report ends on {last_day}, before it begins on {first_day}")
    period = Period(first_day, last_day, timezone, scope=scope, labels=labels)
    covered = queries.extent(connection)
    if covered is None:
        raise ApiframeWarehouseError("nothing to report: the warehouse holds no jobs yet")
    asked = Asked(period, period.unit(), now, covered, budget)
    total = asked.summary(connection).iloc[0]
    if not total["jobs"]:
        raise ApiframeWarehouseError(
            f"nothing to report: no job was created from {first_day} to {last_day}"
            + ("" if period.is_part else f", the newest one on {covered.newest}")
            + (f". {' '.join(shown)}" if (shown := asked.shown()) else "")
        )
    return _page(connection, asked), {
        "first_day": first_day.isoformat(),
        "last_day": last_day.isoformat(),
        "timezone": timezone,
        "scope": scope,
        "labels": {name: list(values) for name, values in labels},
        **{name: _figure(value) for name, value in total.items() if name not in ("modality", "ended")},
    }


def _page(connection: duckdb.DuckDBPyConnection, asked: Asked) -> str:
    answers = [shown for section in pages.answers("report", connection, asked) if (shown := _shown(section))]
    frame = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=_unbroken,
    )
    frame.globals.update(counted=counted, kind_of=_kind_of)
    return frame.get_template("report.html").render(
        first=str(asked.period.first),
        last=str(asked.period.last),
        facts=_facts(connection, asked),
        groups=[(heading, list(group)) for heading, group in groupby(answers, lambda shown: shown.section.heading)],
    )


def _kind_of(texts: Iterable[str]) -> str:
    """Return how a column of words is set: "w" breaks none of its cells, "long" takes a share of the width."""
    cells = list(texts)
    whole = all(len(text) <= (LONGEST_WORDS if " " in text else LONGEST_WORD) for text in cells)
    return "w" if whole else "long"


def _facts(connection: duckdb.DuckDBPyConnection, asked: Asked) -> str:
    fresh = queries.frame(connection, "select * from reports.freshness").iloc[0]
    days, zone = asked.period.days, asked.period.timezone
    synced = (
        "No sync has ended well yet"
        if missing(fresh.last_sync_at)
        else f"Last good sync {seconds(asked.since(fresh.last_sync_at))} before"
    )
    # Of some jobs' page the newest of all is none.
    newest = "" if asked.period.is_part else f"; newest job {seconds(asked.since(fresh.newest_job_at))} before"
    return (
        f"{' '.join(asked.shown())} {counted(days, 'day')}, counted in {zone}. Made {clock(asked.now, zone)}. "
        f"{synced}{newest}."
    ).lstrip()


class Shown(NamedTuple):
    """A section and all that is seen of it."""

    section: Section
    cards: list[Card]
    sentence: str
    table: Table | None
    drawn: Drawn


def _shown(section: Section) -> Shown | None:
    """Return what is seen of a section; None where that is nothing, and its heading would stand alone."""
    shown = Shown(section, section.cards(), section.sentence(), section.table(), _draw(section))
    return shown if shown.cards or shown.sentence or shown.table or any(shown.drawn) else None


def _unbroken(value: Any) -> Any:
    return unbroken(value) if isinstance(value, str) and not isinstance(value, Markup) else value


class Drawn(NamedTuple):
    """The pictures of a section's chart by width, or why there are none where there should be."""

    pictures: dict[str, Picture]
    problem: str = ""


def _draw(section: Section) -> Drawn:
    pictures = {}
    for size, width in WIDTHS.items():
        try:
            chart = section.chart(width)
            if chart is None:
                break
            # Vega has escaped what it wrote; nothing else on the page is taken for markup.
            pictures[size] = Picture(*map(Markup, charts.picture(chart, f"{section.name}-{size}")))
        except Exception as problem:  # Vega fails on names like toString; the rest of the page is as good as ever
            return Drawn({}, f"This chart could not be drawn ({type(problem).__name__}).")
    return Drawn(pictures)


def _figure(value: Any) -> int | float | Decimal | str | None:
    """Return a figure as JSON can hold it; credits and money stay exact."""
    if missing(value):
        return None
    if isinstance(value, (Decimal, str)):
        return value
    return int(value) if value == int(value) else float(value)
