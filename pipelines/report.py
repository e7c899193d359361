"""The report: one HTML file for the person who pays, which opens anywhere without network.

Everything in it comes from the views, of a period and the one before. All text is escaped on its way into
the page, since error messages and model names are other people's words.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from html import escape
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pandas as pd

from pipelines import charts
from pipelines.charts import number, percent, seconds
from pipelines.errors import ApiframeWarehouseError, ConfigurationError
from pipelines.reports import queries
from pipelines.reports.queries import Period, exact, label

ROWS_SHOWN = 25  # of a table; the rest is summed up in a line under it
HEADLINES = (
    "jobs",
    "finished",
    "failed",
    "cancelled",
    "open",
    "unknown",
    "credits",
    "credits_pending",
    "credits_refunded",
    "jobs_cost_unknown",
    "assets",
    "credits_per_finished_job",
    "credits_per_asset",
    "failure_rate",
    "failure_rate_low",
    "failure_rate_high",
)


def write_report(
    connection: duckdb.DuckDBPyConnection,
    target: Path,
    first_day: date,
    last_day: date,
    timezone: str,
    now: datetime,
) -> dict[str, Any]:
    """Write the report of `first_day` to `last_day`, both included, and return its headline figures.

    The file appears whole or not at all, readable for its owner alone. Raises ApiframeWarehouseError where
    there is nothing to report or nowhere to write it.
    """
    if last_day < first_day:
        raise ConfigurationError(f"the report ends on {last_day}, before it begins on {first_day}")
    period = Period(first_day, last_day, timezone)
    covered = queries.extent(connection)
    if covered is None:
        raise ApiframeWarehouseError("nothing to report: the warehouse holds no jobs yet")
    total = queries.summary(connection, period).iloc[0]
    if not total["jobs"]:
        raise ApiframeWarehouseError(
            f"nothing to report: no job was created from {first_day} to {last_day}, the newest one on {covered.newest}"
        )
    page = _page(connection, period, total, covered.oldest, now)
    _write(target, page)
    return {
        "first_day": first_day.isoformat(),
        "last_day": last_day.isoformat(),
        "timezone": timezone,
        **{name: _plain(total[name]) for name in HEADLINES},
    }


def _page(connection: duckdb.DuckDBPyConnection, period: Period, total: Any, oldest: date, now: datetime) -> str:
    unit = period.unit()
    models = queries.summary(connection, period, "model")
    names = dict(zip(map(_key, models["model"]), charts.labels(models["model"]), strict=True))
    spend = queries.summary(connection, period, unit, "model")
    rates = queries.summary(connection, period, unit)
    reasons = queries.failure_reasons(connection, period)
    waits = queries.turnaround(connection, period)
    stuck = queries.frame(
        connection,
        "select id, model, status, created_at, stuck_after_s from reports.open_jobs "
        f"where extract(epoch from timestamptz '{now.isoformat()}' - created_at) > stuck_after_s order by created_at",
    )
    fresh = queries.frame(connection, "select * from reports.freshness").iloc[0]

    def name(row: Any) -> str:
        return names.get(_key(row.model)) or label(row.model)

    def age(moment: Any) -> str:
        return seconds(max(0.0, (pd.Timestamp(now) - moment).total_seconds()))  # their clock may be ahead of ours

    def local(moment: Any) -> str:
        there = moment.astimezone(ZoneInfo(period.timezone))  # perhaps in the year 0, which strftime refuses
        return f"{there.year:04}-{there.month:02}-{there.day:02} {there.hour:02}:{there.minute:02}"

    synced = (
        f"Last good sync {age(fresh.last_sync_at)} before"
        if pd.notna(fresh.last_sync_at)
        else "No sync has ended well yet"
    )
    sections = [
        _headlines(total, _before(connection, period, oldest), period),
        _section(
            "Spend",
            _figure(
                "spend",
                f"Credits per {unit} and model",
                charts.read_spend(spend, unit),
                lambda width: charts.spend_over_time(spend, unit, width),
            ),
            table(
                "Spend by model",
                (
                    "Model",
                    "Kind",
                    "Jobs",
                    "Credits",
                    "Share (%)",
                    "Credits per finished job",
                    "Credits per file",
                    "Pending (credits)",
                    "Cost unknown (jobs)",
                ),
                [
                    (
                        name(row),
                        label(row.modality),
                        number(row.jobs),
                        exact(row.credits),
                        _percent_figure(row.credits, total["credits"]),
                        number(row.credits_per_finished_job, 2),
                        number(row.credits_per_asset, 2),
                        exact(row.credits_pending),
                        number(row.jobs_cost_unknown),
                    )
                    for row in _rows(models)
                ],
                words=2,
            ),
        ),
        _section(
            "Reliability",
            _figure(
                "rates",
                "Failure rate by model",
                charts.read_failure_rates(models),
                lambda width: charts.failure_rates(models, width),
            ),
            _figure(
                "rate-days",
                f"Failure rate per {unit}",
                charts.read_failure_rate_over_time(rates, unit),
                lambda width: charts.failure_rate_over_time(rates, unit, width),
            ),
            table(
                "Outcomes by model (jobs)",
                (
                    "Model",
                    "Finished",
                    "Failed",
                    "Failed (%)",
                    "95 % interval (%)",
                    "Cancelled",
                    "Open",
                    "Unknown",
                ),
                [
                    (
                        name(row),
                        number(row.finished),
                        number(row.failed),
                        number(100 * row.failure_rate, 1),
                        f"{number(100 * row.failure_rate_low, 1)} to {number(100 * row.failure_rate_high, 1)}"
                        if row.finished + row.failed
                        else "-",
                        number(row.cancelled),
                        number(row.open),
                        number(row.unknown),
                    )
                    for row in _rows(models)
                ],
            ),
        ),
        _section(
            "Why jobs fail",
            _figure(
                "reasons",
                "Failed jobs by reason",
                charts.read_failure_reasons(reasons),
                lambda width: charts.failure_reasons(reasons, width),
            ),
            table(
                "Failure reasons",
                ("Reason", "Newest message", "Jobs", "Share (%)", "Models", "Last seen"),
                [
                    (
                        row.failure_reason,
                        label(row.example_error, 160),
                        number(row.jobs),
                        number(100 * row.share, 1),
                        number(row.models),
                        str(row.last_seen),
                    )
                    for row in _rows(reasons)
                ],
                words=2,
            ),
        )
        if len(reasons)
        else _section("Why jobs fail", "<p>No job failed in this period.</p>"),
        _section(
            "Turnaround",
            _figure(
                "waits",
                "Turnaround by model",
                charts.read_turnaround(waits),
                lambda width: charts.turnaround(waits, width),
            ),
            table(
                "Time from creation to completion of finished jobs",
                ("Model", "Finished jobs", "Half within", "90 % within", "95 % within", "99 % within"),
                [
                    (name(row), number(row.jobs), *map(seconds, (row.p50_s, row.p90_s, row.p95_s, row.p99_s)))
                    for row in _rows(waits)
                ],
            ),
        )
        if len(waits)
        else _section("Turnaround", "<p>No job has finished in this period.</p>"),
        _section(
            "Stuck jobs",
            "<p>Open jobs of any date, older than 15 minutes and than three times the 95th percentile of "
            "their model's turnaround.</p>",
            table(
                "Stuck jobs",
                ("Job", "Model", "Status", f"Created ({period.timezone})", "Age", "Stuck after"),
                [
                    (
                        label(row.id, 40),
                        name(row),
                        label(row.status),
                        local(row.created_at),
                        age(row.created_at),
                        seconds(row.stuck_after_s),
                    )
                    for row in _rows(stuck)
                ],
                words=4,
            )
            if len(stuck)
            else "<p>None.</p>",
        ),
    ]
    return PAGE.format(
        period=f"{period.first} to {period.last}",
        facts=escape(
            f"{number(period.days)} {'day' if period.days == 1 else 'days'}, counted in {period.timezone}. "
            f"Made {local(pd.Timestamp(now))}. "
            f"{synced}; newest job {age(fresh.newest_job_at)} before."
        ),
        sections="\n".join(sections),
    )


def _before(connection: duckdb.DuckDBPyConnection, period: Period, oldest: date) -> Any:
    """Return the totals of the period before, or None where the warehouse does not cover all of it."""
    covered = (period.first - oldest).days >= period.days
    return queries.summary(connection, period.before()).iloc[0] if covered else None


def _headlines(total: Any, before: Any, period: Period) -> str:
    span = "the day before" if period.days == 1 else f"the {period.days} days before"

    def change(name: str) -> str:
        if before is None:
            return f"history does not cover {span}"
        if pd.isna(before[name]) or not before[name]:
            return f"none in {span}"
        if pd.isna(total[name]):
            return ""
        ratio = float(total[name]) / float(before[name])
        return f"{100 * (ratio - 1):+,.1f} % on {span}"

    def points() -> str:
        if before is None or pd.isna(before["failure_rate"]) or pd.isna(total["failure_rate"]):
            return ""
        return f"{100 * (total['failure_rate'] - before['failure_rate']):+.1f} points; "

    unknown = total["jobs_cost_unknown"]
    cards = [
        ("Credits spent", exact(total["credits"]), change("credits")),
        ("Jobs created", number(total["jobs"]), change("jobs")),
        ("Files delivered", number(total["assets"]), change("assets")),
        (
            "Failed",
            percent(total["failure_rate"]),
            f"{points()}{number(total['failed'])} of {number(total['finished'] + total['failed'])} ended",
        ),
        (
            "Credits per finished job",
            number(total["credits_per_finished_job"], 2),
            change("credits_per_finished_job"),
        ),
        ("Credits pending", exact(total["credits_pending"]), f"open jobs: {number(total['open'])}"),
    ]
    warning = (
        f'<p class="note">The cost of {number(unknown)} of {number(total["jobs"])} jobs is unknown: '
        "the API gives none. The credits shown lack them.</p>"
        if unknown
        else ""
    )
    return (
        "<dl>"
        + "".join(
            f"<div><dt>{escape(title)}</dt><dd>{escape(value)}</dd><dd>{escape(note)}</dd></div>"
            for title, value, note in cards
        )
        + "</dl>"
        + warning
    )


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def _figure(name: str, title: str, reading: str, draw: Callable[[int], Any]) -> str:
    """Draw a chart for wide and for narrow pages, since a scaled one is not legible."""
    pictures = "".join(
        f'<div class="{size}">{charts.svg(draw(width), f"{name}-{size}", title, reading)}</div>'
        for size, width in (("wide", 900), ("narrow", 340))
    )
    return f"<figure><h3>{escape(title)}</h3>{pictures}<figcaption>{escape(reading)}</figcaption></figure>"


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """Return rows of text as an HTML table, escaped; after the first `words` columns, figures stand right."""

    def line(tag: str, cells: Sequence[str]) -> str:
        return (
            "<tr>"
            + "".join(
                f"<{tag}{'' if place < words else ' class=n'}>{escape(cell)}</{tag}>"
                for place, cell in enumerate(cells)
            )
            + "</tr>"
        )

    more = len(rows) - ROWS_SHOWN
    return (
        f'<div class="table" role="region" tabindex="0" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead>{line('th', columns)}</thead><tbody>"
        + "".join(line("td", row) for row in rows[:ROWS_SHOWN])
        + "</tbody></table></div>"
        + (f"<p class=note>{more:,} more rows are in the views of the warehouse.</p>" if more > 0 else "")
    )


def _rows(frame: pd.DataFrame) -> list[Any]:
    return list(frame.itertuples())


def _key(model: Any) -> str | None:
    return None if pd.isna(model) else str(model)


def _percent_figure(part: Any, whole: Any) -> str:
    return number(100 * float(part) / float(whole), 1) if part is not None and whole else "-"


def _plain(value: Any) -> int | float | Decimal | None:
    """Return a figure as JSON can hold it; credits stay exact."""
    if pd.isna(value):
        return None
    if isinstance(value, Decimal):
        return value
    return int(value) if value == int(value) else float(value)


def _write(target: Path, page: str) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # mode 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
                file.write(page)
            Path(draft).replace(target)
        except BaseException:
            with suppress(OSError):
                Path(draft).unlink()
            raise
    except OSError as problem:
        raise ApiframeWarehouseError(f"cannot write {target}: {problem.strerror}") from None


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Apiframe, {period}</title>
<style>
:root {{
  --bg: #fff; --fg: #1f2328; --muted: #57606a; --line: #d8dee4; --card: #f6f8fa; --note: #7a4b00;
}}
@media (prefers-color-scheme: dark) {{
  :root {{
    --bg: #14181d; --fg: #e6edf3; --muted: #9aa4af; --line: #30363d; --card: #1d232a; --note: #e3b341;
  }}
}}
* {{ box-sizing: border-box }}
body {{ margin: 0; background: var(--bg); color: var(--fg); font: 15px/1.5 system-ui, sans-serif }}
main {{ max-width: 932px; margin: 0 auto; padding: 24px 16px 48px }}
h1 {{ font-size: 26px; line-height: 1.2; margin: 0 0 4px }}
h2 {{ font-size: 20px; margin: 40px 0 8px; border-bottom: 1px solid var(--line); padding-bottom: 4px }}
h3 {{ font-size: 15px; margin: 0 0 8px }}
p {{ margin: 8px 0 }}
header p, figcaption, li, .note {{ color: var(--muted) }}
.note {{ font-size: 14px }}
dl + .note {{ color: var(--note) }}
dl {{ display: grid; grid-template-columns: repeat(3, 1fr); gap: 12px; margin: 20px 0 12px }}
dl div {{ background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px }}
dt, dd {{ margin: 0; color: var(--muted); font-size: 13px }}
dt + dd {{ color: var(--fg); font-size: 24px; font-weight: 600; line-height: 1.3 }}
figure {{ margin: 16px 0 24px }}
figcaption {{ margin-top: 6px; overflow-wrap: anywhere }}
svg {{ display: block; max-width: 100%; height: auto; overflow: visible }}
.narrow {{ display: none }}
.table {{ overflow-x: auto; margin: 12px 0 }}
table {{ border-collapse: collapse; width: 100%; font-size: 13px; font-variant-numeric: tabular-nums }}
caption {{ text-align: left; font-weight: 600; padding: 4px 0 }}
th, td {{ text-align: left; vertical-align: top; padding: 5px 0 5px 12px }}
tr {{ border-bottom: 1px solid var(--line) }}
th:first-child, td:first-child {{ padding-left: 0 }}
th {{ color: var(--muted); font-weight: 500; vertical-align: bottom }}
td {{ overflow-wrap: anywhere; min-width: 72px }}
td.n {{ white-space: nowrap }}
.n {{ text-align: right }}
@media (max-width: 640px) {{
  dl {{ grid-template-columns: repeat(2, 1fr) }}
  table {{ min-width: 640px }}
  .wide {{ display: none }}
  .narrow {{ display: block }}
}}
@media print {{
  :root {{ --bg: #fff; --fg: #000; --muted: #444; --line: #ccc; --card: #fff; --note: #000 }}
  body {{ font-size: 11px }}
  main {{ max-width: none; padding: 0 }}
  .wide {{ display: block }}
  .narrow {{ display: none }}
  .table {{ overflow: visible }}
  figure, dl div, tr {{ break-inside: avoid }}
  h2, h3, caption {{ break-after: avoid }}
}}
</style>
</head>
<body>
<main>
<header><h1>Apiframe: spend and failures, {period}</h1><p>{facts}</p></header>
{sections}
<section><h2>How this is counted</h2><ul>
<li>A job belongs to the day it was created.</li>
<li>A failed job costs nothing, since the vendor refunds it. A cancelled job costs what the API says.</li>
<li>Credits of open jobs are pending, not spent. Jobs without a cost are counted apart, not as zero.</li>
<li>The failure rate is failed / (finished + failed). Its interval (Wilson, 95 %) is what chance leaves open:
a rate of few jobs says little.</li>
<li>Turnaround is from creation to completion of finished jobs, queue and run together.</li>
</ul></section>
</main>
</body>
</html>
"""
