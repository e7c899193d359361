"""The frame of the notebooks: what they have in common, around the sections of `pipelines.pages`.

Needs marimo. Knows no section and no notebook by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from html import escape
from typing import Any

import marimo as mo
import pandas as pd

from pipelines import pages, process, settings, stores
from pipelines.errors import ApiframeWarehouseError
from pipelines.pages import Asked, Section, Table
from pipelines.reports import queries
from pipelines.reports.queries import Extent, Period
from pipelines.settings import Settings
from pipelines.wording import labels, missing

AUTOMATIC = "automatic"
WHAT_TO_RUN = """
Run one of these in the same folder, then reload this page:

* `{0} demo` for made-up jobs: no key, no network
* `{0} sync` for your own: needs `APIFRAME_API_KEY`
"""


@dataclass(frozen=True)
class Notebook:
    """A page of sections over the configured warehouse.

    Opens it, asks and closes it again each time: a sync replaces the file, and an open connection would keep
    the old one.
    """

    page: str
    configured: Settings
    known: Extent

    @property
    def synced(self) -> str:
        """When the last good sync was."""
        return f"{self.known.synced} UTC" if self.known.synced else "never"

    def filters(self, marks: str) -> Any:
        """Return the controls above the page, as one; `marks` says what there is one of per day, week or month."""
        known, day = self.known, timedelta(days=1)
        models = {
            name: "" if missing(model) else model
            for name, model in zip(labels(known.models), known.models, strict=True)
        }
        return mo.ui.dictionary(
            {
                "days": mo.ui.date_range(
                    start=known.oldest - day,  # in another time zone jobs may lie a day before or after
                    stop=known.newest + day,
                    value=(max(known.oldest, known.newest - 29 * day), known.newest),
                    label="Days",
                ),
                "zone": mo.ui.dropdown(known.zones, value=self.configured.timezone, label="Time zone", searchable=True),
                "models": mo.ui.multiselect(models, label="Models (none chosen: all)"),
                "unit": mo.ui.dropdown([AUTOMATIC, *queries.UNITS], value=AUTOMATIC, label=f"{marks} per"),
            }
        )

    def answers(self, days: tuple[date, date], zone: str, models: list[str], unit: str) -> dict[str, Section]:
        """Ask the questions of the page, as the filters say; return the answers by name of their section."""
        period = Period(*days, zone, tuple(models) or None)
        asked = Asked(period, period.unit() if unit == AUTOMATIC else unit, datetime.now(UTC), self.known)
        with stores.connect(self.configured) as connection:
            if not asked.summary(connection).iloc[0]["jobs"]:
                raise mo.MarimoStopError(mo.md("**No job was created in this period.** Choose other days or models."))
            return {section.name: section for section in pages.answers(self.page, connection, asked)}


def opened(page: str) -> Notebook:
    """Open a notebook on the warehouse; without one, or without jobs in it, end with a page that says what to run."""
    configured = settings.load()
    try:
        with stores.connect(configured) as connection:
            known = queries.extent(connection)
    except ApiframeWarehouseError as problem:
        known, reason = None, str(problem)
    else:
        reason = "The warehouse holds no jobs yet."
    if known is None:
        raise mo.MarimoStopError(
            mo.vstack(
                [mo.md("# Nothing to show yet"), mo.plain_text(reason), mo.md(WHAT_TO_RUN.format(process.called()))]
            )
        )
    return Notebook(page, configured, known)


def show(answers: dict[str, Section]) -> mo.Html:
    """Show sections one below the other."""
    return mo.vstack([part for section in answers.values() for part in _parts(section)])


def _parts(section: Section) -> list[Any]:
    parts: list[Any] = [mo.md(f"## {section.question}")] if section.question else []
    if cards := section.cards():
        stats = [mo.stat(card.value, label=card.title, caption=card.note or None, bordered=True) for card in cards]
        parts.append(mo.hstack(stats, justify="start", wrap=True))
    try:
        if (chart := section.chart("container")) is not None:
            parts.append(chart)
    except Exception as problem:  # the rest of the page is as good as ever
        parts.append(mo.md(f"This chart could not be drawn ({type(problem).__name__})."))
    if sentence := section.sentence():
        parts.append(mo.Html(f"<p>{escape(sentence)}</p>"))
    if (table := section.table()) is not None:
        parts.append(_grid(table))
    return parts


def _grid(table: Table) -> mo.Html:
    titles = [column.title for column in table.columns]
    figures: dict[str, Any] = {column.title: column.write for column in table.columns if column.write}
    return mo.ui.table(
        pd.DataFrame(table.rows(), columns=titles),
        selection=None,
        show_column_summaries=False,
        show_data_types=False,
        page_size=15,
        format_mapping=figures,
        text_justify_columns=dict.fromkeys(figures, "right"),
        wrapped_columns=[title for title in titles if title not in figures],
    )
