"""The frame of the notebooks: what they have in common, around the sections of `pipelines.pages`.

Needs marimo. Knows no section and no notebook by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any

import marimo as mo
import pandas as pd

from pipelines import address, pages, process, settings, stores
from pipelines.errors import ApiframeWarehouseError
from pipelines.pages import Asked, Card, Column, Section, Table
from pipelines.reports import queries
from pipelines.reports.queries import Extent, Period
from pipelines.settings import Settings
from pipelines.wording import clock, counted, exact, label, labels, missing, seconds, unbroken

AUTOMATIC, ALL = "automatic", "(all)"
LABEL = "label "  # before its name, of a control and in the address: labels may be called as they like
MOST_VALUES = 500  # of a label to choose from, those of most jobs
MOST_JOBS = 200  # listed behind a bar or row
MADE_UP = "**Made-up data**: the demo's. Your own jobs come with `{0} sync`; then reload this page."
WHAT_TO_RUN = """
Run one of these in the same folder, then reload this page:

* `{0} demo` for made-up jobs: no key, no network
* `{0} sync` for your own: needs `APIFRAME_API_KEY`
"""


@dataclass(frozen=True)
class Notebook:
    """A page of sections over the configured warehouse, or over the demo's where there is none.

    Opens it, asks and closes it again each time: a sync replaces the file, and an open connection would keep
    the old one. What is chosen is kept in the page's address, so that it can be sent.
    """

    page: str
    configured: Settings
    known: Extent
    labels: dict[str, list[str]]
    is_demo: bool = False

    @property
    def synced(self) -> str:
        """When the last good sync was."""
        return f"{self.known.synced} UTC" if self.known.synced else "never"

    def banner(self) -> mo.Html | None:
        """Say that the data is made up, where it is."""
        return mo.callout(mo.md(MADE_UP.format(process.called())), kind="warn") if self.is_demo else None

    def filters(self, marks: str) -> Any:
        """Return the controls above the page, as one; `marks` says what there is one of per day, week or month."""
        known, day = self.known, timedelta(days=1)
        recent = max(known.oldest, known.newest - 29 * day), known.newest
        zones = {zone: zone for zone in known.zones}
        units = {unit: unit for unit in (AUTOMATIC, *queries.UNITS)}
        controls: dict[str, Any] = {
            # In another time zone jobs may lie a day before or after.
            "days": address.days(known.oldest - day, known.newest + day, recent),
            "zone": address.dropdown("zone", zones, self.configured.timezone, label="Time zone", searchable=True),
            "models": address.multiselect("model", named(known.models), label="Models (none chosen: all)"),
            "unit": address.dropdown("per", units, AUTOMATIC, label=f"{marks} per"),
        }
        if len(known.scopes) > 1:
            scopes = {"your own": "user", "the team's": "team"}
            controls["scope"] = address.dropdown("scope", scopes, self.configured.scope, label="Jobs")
        for name, values in self.labels.items():
            title = f"{plain(label(name))} (none chosen: all)"
            controls[LABEL + name] = address.multiselect(LABEL + name, named(values), label=title)
        return mo.ui.dictionary(controls)

    def answers(self, chosen: dict[str, Any]) -> dict[str, Section]:
        """Ask the questions of the page, as the filters say; return the answers by name of their section."""
        labels = {name.removeprefix(LABEL): tuple(some) for name, some in chosen.items() if name.startswith(LABEL)}
        first, last = chosen["days"]
        period = Period(
            first,
            last,
            chosen["zone"],
            tuple(chosen["models"]) or None,
            scope=queries.scope_shown(self.known.scopes, chosen.get("scope"), self.configured.scope),
            labels=tuple((name, values) for name, values in labels.items() if values),
        )
        unit = period.unit() if chosen["unit"] == AUTOMATIC else chosen["unit"]
        asked = Asked(period, unit, datetime.now(UTC), self.known, self.configured.budget)
        with mo.status.spinner("Counting …"), stores.connect(self.configured) as connection:
            if not asked.summary(connection).iloc[0]["jobs"]:
                raise mo.MarimoStopError(mo.md("**No job was created in this period.** Choose other days or filters."))
            return {section.name: section for section in pages.answers(self.page, connection, asked)}

    def drill(self, answers: dict[str, Section]) -> Any:
        """Return the controls that choose the bar or row whose jobs are to be listed."""
        asked = next(iter(answers.values())).asked
        models = {name: model for name, model in named(self.known.models).items() if asked.period.holds(model)}
        starts = {start.isoformat(): start for start in reversed(asked.period.starts(asked.unit))}
        bars = {"usual": None, "label": asked.unit.capitalize(), "searchable": True}
        orders = {order: order for order in queries.ORDERS}
        return mo.ui.dictionary(
            {
                "model": address.dropdown("of", {ALL: None, **models}, None, label="Model", searchable=True),
                "start": address.dropdown("on", {ALL: None, **starts}, **bars),
                "order": address.dropdown("first", orders, "newest", label="First the"),
            }
        )

    def jobs(self, answers: dict[str, Section], chosen: dict[str, Any]) -> mo.Html:
        """List the jobs behind a bar or a row, with their ids."""
        asked = next(iter(answers.values())).asked
        period = asked.period.part(asked.unit, chosen["start"], chosen["model"])
        with mo.status.spinner("Looking …"), stores.connect(self.configured) as connection:
            found, count = queries.listed(connection, period, chosen["order"], MOST_JOBS)
        if not count:
            return mo.md("There is no such job.")
        told = f"All {counted(count, 'job')}" if len(found) == count else f"{len(found):,} of {counted(count, 'job')}"
        zone, reasons = period.timezone, ["" if missing(why) else label(why) for why in found["failure_reason"]]
        is_open = (found["outcome"] == "open").any()
        columns = [
            Column("Job", [label(job, 40) for job in found["id"]]),
            Column(f"Created ({zone})", [clock(at, zone) for at in found["created_at"]]),
            Column("Model", asked.names(found["model"])),
            Column("Outcome", found["outcome"]),
            Column("Credits", found["credits"], exact),
            *([Column("Pending (credits)", found["credits_pending"], exact)] if is_open else []),
            Column("Turnaround", found["turnaround_s"], seconds),
            *([Column("Failure", reasons)] if any(reasons) else []),
        ]
        return mo.vstack([mo.md(f"{told}, {chosen['order']} first."), _grid(Table("Jobs", columns))])


def opened(page: str) -> Notebook:
    """Open a notebook on the warehouse, or on the demo's where there is none yet.

    Without either, or without jobs in it, end with a page that says what to run.
    """
    configured = settings.load()
    demo = configured.project / "data" / "demo.duckdb"
    is_demo = configured.destination == "duckdb" and not configured.path.exists() and demo.exists()
    if is_demo:
        configured = replace(configured, path=demo)
    try:
        with stores.connect(configured) as connection:
            if known := queries.extent(connection):
                return Notebook(page, configured, known, queries.label_values(connection, MOST_VALUES), is_demo)
    except ApiframeWarehouseError as problem:
        reason = str(problem)
    else:
        reason = "The warehouse holds no jobs yet."
    run = mo.md(WHAT_TO_RUN.format(process.called()))
    raise mo.MarimoStopError(mo.vstack([mo.md("# Nothing to show yet"), mo.plain_text(reason), run]))


def named(values: Iterable[Any]) -> dict[str, str]:
    """Return values by the names that people see; what is missing is ""."""
    known = list(values)
    return {name: "" if missing(value) else value for name, value in zip(labels(known), known, strict=True)}


def plain(text: str) -> str:
    """Return a text as the markdown that shows it as it is."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|~$:^=])", r"\\\1", escape(text))


def show(answers: dict[str, Section]) -> mo.Html:
    """Show sections one below the other, and before them of which jobs they are."""
    shown = [mo.Html(f"<p>{escape(said)}</p>") for said in next(iter(answers.values())).asked.shown()]
    return mo.vstack([*shown, *(part for section in answers.values() for part in _parts(section))])


def _card(card: Card) -> str:
    """Return a figure with its note under it. Notes wrap, which those of marimo's own cards do not on a phone."""
    value, note = (f"<dd>{escape(unbroken(text))}</dd>" if text else "" for text in (card.value, card.note))
    return f"<div><dt>{escape(card.title)}</dt>{value}{note}</div>"


def _parts(section: Section) -> list[Any]:
    parts: list[Any] = [mo.md(f"## {section.question}")] if section.question else []
    if cards := section.cards():
        parts.append(mo.Html(f"<dl class='cards'>{''.join(map(_card, cards))}</dl>"))
    try:
        if (chart := section.chart("container")) is not None:
            parts.append(chart)
    except Exception as problem:  # the rest of the page is as good as ever
        parts.append(mo.md(f"This chart could not be drawn ({type(problem).__name__})."))
    if sentence := section.sentence():
        parts.append(mo.Html(f"<p>{escape(unbroken(sentence))}</p>"))
    if (table := section.table()) is not None:
        parts.append(_grid(table))
    return parts


def _grid(table: Table) -> mo.Html:
    rows, titles = table.rows(), [column.title for column in table.columns]
    figures: dict[str, Any] = {column.title: column.write for column in table.columns if column.write}
    shown = mo.ui.table(
        pd.DataFrame(rows, columns=titles),
        selection=None,
        show_column_summaries=False,
        show_data_types=False,
        page_size=15,
        format_mapping=figures,
        text_justify_columns=dict.fromkeys(figures, "right"),
        wrapped_columns=[title for title in titles if title not in figures],
    )
    return mo.vstack([shown, mo.Html(_whole(table, rows))], gap=0)


def _whole(table: Table, rows: list[tuple[Any, ...]]) -> str:
    """Return a table as it is printed, with all of its rows and columns and its total: notebook.css shows it."""
    marks = [' class="n"' if column.write else "" for column in table.columns]
    texts = [[column.text(value) for column, value in zip(table.columns, row, strict=True)] for row in rows]
    if table.total:
        cells = zip(table.columns, table.total, strict=True)
        texts.append(["" if value is None else column.text(value) for column, value in cells])
    lines = [[f"<th{mark}>{escape(column.title)}</th>" for mark, column in zip(marks, table.columns, strict=True)]]
    lines += [[f"<td{mark}>{escape(text)}</td>" for mark, text in zip(marks, row, strict=True)] for row in texts]
    head, *body = (f"<tr>{''.join(line)}</tr>" for line in lines)
    return f'<table class="whole" style="display: none"><thead>{head}</thead><tbody>{"".join(body)}</tbody></table>'
