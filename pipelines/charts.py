"""Charts of the report and the notebooks: data frame in, Altair chart out, and the sentence to go under it.

Frames come from `pipelines.reports.queries`. Names that the API gave go through `label`; sentences are plain
text, to be escaped like everything else. `svg` makes a picture that needs no browser or network and follows
the page between light and dark.
"""

import io
import re
from datetime import datetime
from decimal import Decimal
from html import escape
from typing import Any, Literal

import altair as alt
import pandas as pd

from pipelines.reports.queries import exact, label

# Each has a contrast of 3:1 or more on white and on the dark page.
COLOURS = ["#3b7dbf", "#cf6d17", "#3d9147", "#9564b5", "#24918b", "#9c6b4a", "#b8577f"]
GREY, BLUE, RED = "#7d858f", COLOURS[0], "#cf4d52"
OTHERS = "all others"
ROWS_SHOWN = 12  # models or reasons in a chart; the tables have more

Width = int | Literal["container"]  # pixels, or as wide as the page
Chart = alt.Chart | alt.LayerChart


def spend_over_time(frame: pd.DataFrame, unit: str, width: Width = 900) -> Chart:
    """Bars of credits per `unit`, stacked by model; frame: summary by unit and model."""
    data = frame.assign(credits=frame["credits"].astype(float).fillna(0), model=labels(frame["model"], _length(width)))
    largest = data.groupby("model")["credits"].sum().sort_values(ascending=False, kind="stable").index
    shown = list(largest[: len(COLOURS)])
    data["model"] = data["model"].where(data["model"].isin(shown), OTHERS)
    data = data.groupby([unit, "model"])["credits"].sum().reset_index()
    domain = [*shown, *([OTHERS] if len(largest) > len(shown) else [])]
    data["rank"] = data["model"].map(domain.index)
    data = _with_ends(data, unit)
    return _fit(
        alt.Chart(data)
        .mark_bar()
        .encode(
            x=_time_axis(unit, width, data),
            x2="end:T",
            y=alt.Y("sum(credits):Q", title=f"credits per {unit}", axis=alt.Axis(format=",~r")),
            color=alt.Color(
                "model:N",
                title=None,
                scale=alt.Scale(domain=domain, range=[*COLOURS[: len(shown)], GREY]),
                legend=alt.Legend(orient="bottom", columns=2 if _narrow(width) else 4, labelLimit=0, columnPadding=24),
            ),
            order="rank:Q",
            tooltip=[
                alt.Tooltip("start:T", title=unit, format="%Y-%m-%d", timeUnit="utcyearmonthdate"),
                alt.Tooltip("model:N"),
                alt.Tooltip("sum(credits):Q", title="credits", format=",~r"),
            ],
        ),
        width,
        300,
    )


def read_spend(frame: pd.DataFrame, unit: str) -> str:
    """Say where the credits went; frame as for `spend_over_time`."""
    spent = frame["credits"].map(lambda cost: Decimal(0) if pd.isna(cost) else cost).astype(object)
    total = spent.sum()
    if total <= 0:
        return "No credits were spent in this period."
    by_model = spent.groupby(frame["model"], dropna=False).sum().sort_values(ascending=False)
    by_time = spent.groupby(frame[unit]).sum().sort_values(ascending=False, kind="stable")
    which = "was" if unit == "day" else "began on"
    return (
        f"{exact(total)} credits, {label(by_model.index[0])} took {percent(by_model.iloc[0] / total)}. "
        f"The dearest {unit} {which} {by_time.index[0]}: {exact(by_time.iloc[0])} credits."
    )


def failure_rates(frame: pd.DataFrame, width: Width = 900) -> Chart:
    """Failure rate of each model with its interval, worst first; frame: summary by model."""
    data = _ended(frame).head(ROWS_SHOWN)
    data = data.assign(model=labels(data["model"], _length(width))).sort_values("failure_rate", ascending=False)
    for column in ("failure_rate", "failure_rate_low", "failure_rate_high"):
        data[column] *= 100
    base = alt.Chart(data[["model", "ended", "failure_rate", "failure_rate_low", "failure_rate_high"]]).encode(
        y=_names("model", list(data["model"])),
        tooltip=[
            "model:N",
            alt.Tooltip("ended:Q", title="ended jobs", format=","),
            alt.Tooltip("failure_rate:Q", title="failed (%)", format=".1f"),
            alt.Tooltip("failure_rate_low:Q", title="from (%)", format=".1f"),
            alt.Tooltip("failure_rate_high:Q", title="to (%)", format=".1f"),
        ],
    )
    title = "failed (%), 95 % interval"
    rate = alt.X("failure_rate:Q", title=title, scale=alt.Scale(zero=True))
    return _fit(
        base.mark_rule(strokeWidth=6, opacity=0.45, color=RED, strokeCap="round").encode(
            x=alt.X("failure_rate_low:Q", title=title, axis=_figures(width)), x2="failure_rate_high:Q"
        )
        + base.mark_point(filled=True, size=70, color=RED, opacity=1).encode(x=rate),
        width,
        40 + 26 * len(data),
    )


def read_failure_rates(frame: pd.DataFrame) -> str:
    """Say which model fails most, and whether that is more than chance; frame: summary by model."""
    data = _ended(frame)
    if data.empty:
        return "No job has finished or failed in this period."
    rate = data["failed"].sum() / data["ended"].sum()
    overall = f"{percent(rate)} of the {number(data['ended'].sum())} jobs that ended failed"
    worst = data.sort_values(["failure_rate_low", "ended"], ascending=False).iloc[0]
    if worst["failure_rate_low"] <= rate:
        return f"{overall}. No model's interval lies wholly above that."
    return (
        f"{overall}. The interval of {label(worst['model'])} lies wholly above that: "
        f"{percent(worst['failure_rate'])} of {number(worst['ended'])}, at least "
        f"{percent(worst['failure_rate_low'])}."
    )


def failure_rate_over_time(frame: pd.DataFrame, unit: str, width: Width = 900) -> Chart:
    """Failure rate per `unit` with its interval; frame: summary by unit."""
    data = _with_ends(_ended(frame)[[unit, "ended", "failure_rate", "failure_rate_low", "failure_rate_high"]], unit)
    for column in ("failure_rate", "failure_rate_low", "failure_rate_high"):
        data[column] *= 100
    base = alt.Chart(data).encode(
        x=_time_axis(unit, width, data),
        tooltip=[
            alt.Tooltip("start:T", title=unit, format="%Y-%m-%d", timeUnit="utcyearmonthdate"),
            alt.Tooltip("ended:Q", title="ended jobs", format=","),
            alt.Tooltip("failure_rate:Q", title="failed (%)", format=".1f"),
            alt.Tooltip("failure_rate_low:Q", title="from (%)", format=".1f"),
            alt.Tooltip("failure_rate_high:Q", title="to (%)", format=".1f"),
        ],
    )
    title = "failed (%)"
    return _fit(
        base.mark_rule(strokeWidth=4, opacity=0.35, color=RED).encode(
            y=alt.Y("failure_rate_low:Q", title=title), y2="failure_rate_high:Q"
        )
        + base.mark_line(color=RED, point=alt.OverlayMarkDef(color=RED, size=25)).encode(
            y=alt.Y("failure_rate:Q", title=title, scale=alt.Scale(zero=True))
        ),
        width,
        240,
    )


def read_failure_rate_over_time(frame: pd.DataFrame, unit: str) -> str:
    """Say where the rate was highest; frame: summary by unit."""
    data = _ended(frame)
    if data.empty:
        return "No job has finished or failed in this period."
    worst = data.sort_values("failure_rate_low", ascending=False).iloc[0]
    rate = data["failed"].sum() / data["ended"].sum()
    if worst["failure_rate_low"] <= rate:
        found = f"No {unit}'s interval lies wholly above the {percent(rate)} of the whole period."
    else:
        found = (
            f"The {unit} {'of' if unit == 'day' else 'from'} {worst[unit]} stands out: "
            f"{percent(worst['failure_rate'])} of {number(worst['ended'])} ended jobs, against "
            f"{percent(rate)} over the whole period."
        )
    return found + " The pale bars are 95 % intervals: few jobs, long bar."


def failure_reasons(frame: pd.DataFrame, width: Width = 900) -> Chart:
    """Bars of failed jobs by reason, most first; frame: failure_reasons."""
    data = frame.head(ROWS_SHOWN)
    data = data.assign(reason=labels(data["failure_reason"], _length(width)), text=data["share"].map(percent))
    base = alt.Chart(data[["reason", "jobs", "text"]]).encode(
        x=alt.X("jobs:Q", title="failed jobs", axis=_figures(width)),
        y=_names("reason", list(data["reason"])),
        tooltip=[
            "reason:N",
            alt.Tooltip("jobs:Q", title="failed jobs", format=","),
            alt.Tooltip("text:N", title="share"),
        ],
    )
    return _fit(base.mark_bar(color=BLUE), width, 40 + 26 * len(data))


def read_failure_reasons(frame: pd.DataFrame) -> str:
    """Say what fails most and how much no rule explains; frame: failure_reasons."""
    if frame.empty:
        return "No job failed in this period."
    known = frame[frame["failure_reason"] != "unknown"]
    unknown = 1 - known["share"].sum()
    first = (
        f"Most failures are put down to {label(known['failure_reason'].iloc[0])}: "
        f"{number(known['jobs'].iloc[0])} of {number(frame['jobs'].sum())} failed jobs. "
        if len(known)
        else ""
    )
    return first + (
        f"No rule in error_classes.csv explains {percent(unknown)}."
        if unknown > 1e-9
        else "Every failure is explained by a rule in error_classes.csv."
    )


def turnaround(frame: pd.DataFrame, width: Width = 900) -> Chart:
    """Median and 95th percentile of each model's turnaround, slowest first; frame: turnaround."""
    data = frame.nlargest(ROWS_SHOWN, "jobs").sort_values("p50_s", ascending=False)
    data = data.assign(model=labels(data["model"], _length(width)))
    base = alt.Chart(data[["model", "jobs", "p50_s", "p95_s"]]).encode(
        y=_names("model", list(data["model"])),
        tooltip=[
            "model:N",
            alt.Tooltip("jobs:Q", title="finished jobs", format=","),
            alt.Tooltip("p50_s:Q", title="half within (s)", format=",.0f"),
            alt.Tooltip("p95_s:Q", title="95 % within (s)", format=",.0f"),
        ],
    )
    title = "turnaround (s), median to 95 %"
    return _fit(
        base.mark_rule(strokeWidth=6, opacity=0.45, color=BLUE, strokeCap="round").encode(
            x=alt.X("p50_s:Q", title=title, axis=_figures(width)), x2="p95_s:Q"
        )
        + base.mark_point(filled=True, size=70, color=BLUE, opacity=1).encode(
            x=alt.X("p50_s:Q", title=title, scale=alt.Scale(zero=True))
        ),
        width,
        40 + 26 * len(data),
    )


def read_turnaround(frame: pd.DataFrame) -> str:
    """Say who waits longest; frame: turnaround."""
    if frame.empty:
        return "No job has finished in this period."
    slow = frame.sort_values("p50_s", ascending=False).iloc[0]
    return (
        f"{label(slow['model'])} is the slowest: half of its jobs finish within {seconds(slow['p50_s'])}, "
        f"95 % within {seconds(slow['p95_s'])}. Queue and run count together: the API does not tell "
        "them apart."
    )


def spend_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return what a notebook shows of credits by model, labelled."""
    return pd.DataFrame(
        {
            "model": labels(frame["model"]),
            "kind": frame["modality"],
            "jobs": frame["jobs"],
            "credits": frame["credits"].astype(float),
            "credits per job": frame["credits_per_finished_job"].astype(float).round(2),
            "credits per file": frame["credits_per_asset"].astype(float).round(2),
            "credits pending": frame["credits_pending"].astype(float),
            "cost unknown": frame["jobs_cost_unknown"],
        }
    )


def reliability_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return what a notebook shows of outcomes by model, labelled."""
    low, high = frame["failure_rate_low"], frame["failure_rate_high"]
    return pd.DataFrame(
        {
            "model": labels(frame["model"]),
            "finished": frame["finished"],
            "failed": frame["failed"],
            "failed (%)": (100 * frame["failure_rate"]).round(1),
            "95 % interval": [f"{percent(a)} to {percent(b)}" for a, b in zip(low, high, strict=True)],
            "cancelled": frame["cancelled"],
            "open": frame["open"],
            "unknown": frame["unknown"],
        }
    )


def reasons_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return what a notebook shows of failure reasons, labelled."""
    return pd.DataFrame(
        {
            "reason": labels(frame["failure_reason"]),
            "jobs": frame["jobs"],
            "share (%)": (100 * frame["share"]).round(1),
            "models": frame["models"],
            "last seen": frame["last_seen"],
            "newest message": frame["example_error"].map(lambda error: label(error, 160)),
        }
    )


def svg(chart: Chart, name: str, title: str, description: str) -> str:
    """Return the chart as inline SVG with a text alternative; `name` keeps its ids apart from others'.

    Colours of text and lines are the page's variables --fg, --muted and --line.
    """
    muted, line = "var(--muted,#57606a)", "var(--line,#d8dee4)"
    themed = chart.configure(
        background="transparent",
        aria=False,
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(
            labelColor=muted,
            titleColor=muted,
            titleFontWeight="normal",
            titlePadding=12,
            gridColor=line,
            domainColor=line,
            tickColor=line,
        ),
        legend=alt.LegendConfig(labelColor="var(--fg,#1f2328)", symbolType="square"),
    )
    target = io.StringIO()
    themed.save(target, format="svg")
    picture = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", target.getvalue())
    return re.sub(
        r"<svg ([^>]*)>",
        lambda found: (
            f'<svg role="img" aria-labelledby="{name}-title {name}-desc" {found[1]}>'
            f'<title id="{name}-title">{escape(title)}</title>'
            f'<desc id="{name}-desc">{escape(description)}</desc>'
        ),
        picture,
        count=1,
    )


def labels(values: "pd.Series[Any]", length: int = 28) -> "pd.Series[Any]":
    """Label a column so that different values stay different: those cut to the same label are numbered."""
    names: dict[object, str] = {}
    for value in sorted(values.drop_duplicates(), key=str):
        first, count = label(value, length), 2
        name = first
        while name in names.values():
            name, count = f"{first} ({count})", count + 1
        names[None if pd.isna(value) else value] = name
    return pd.Series([names[None if pd.isna(v) else v] for v in values], index=values.index, dtype=object)


def number(value: Any, digits: int = 0) -> str:
    """Write a number with thousands apart; a missing one as -."""
    return "-" if pd.isna(value) else f"{value:,.{digits}f}"


def percent(share: Any) -> str:
    """Write a share (0 to 1) in percent with one decimal; a missing one as -."""
    return "-" if pd.isna(share) else f"{100 * share:,.1f} %"


def seconds(duration: Any) -> str:
    """Write seconds in the unit that reads best; missing ones as -."""
    if pd.isna(duration):
        return "-"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if duration >= 2 * size:
            return f"{duration / size:,.1f} {unit}"
    return f"{duration:,.1f} s"


def _ended(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows with finished or failed jobs, which alone have a rate; models with most of them first."""
    data = frame.assign(ended=frame["finished"] + frame["failed"])
    data = data[data["ended"] > 0]
    return data.sort_values("ended", ascending=False, kind="stable") if "model" in data else data


def _with_ends(data: pd.DataFrame, unit: str) -> pd.DataFrame:
    """Add start and end of each unit, as dates; the end leaves a gap to the next bar."""
    start = pd.to_datetime(data[unit])
    step = {"day": pd.DateOffset(days=1), "week": pd.DateOffset(weeks=1), "month": pd.DateOffset(months=1)}[unit]
    end = start + step
    return data.drop(columns=unit).assign(
        start=data[unit].map(str),
        end=(end - (end - start) * 0.1).map(lambda time: f"{time.isoformat()}Z"),
    )


def _time_axis(unit: str, width: Width, data: pd.DataFrame) -> alt.X:
    starts, most = data["start"].unique(), 4 if _narrow(width) else 10
    few = len(starts) <= most  # Vega would label hours between them with the same day
    return alt.X(
        "start:T",
        title=None,
        scale=alt.Scale(type="utc"),
        axis=alt.Axis(
            format="%b %Y" if unit == "month" else "%-d %b",
            **(
                {"values": [1000 * datetime.fromisoformat(f"{start}T00Z").timestamp() for start in starts]}
                if few
                else {"tickCount": most}
            ),
            labelOverlap=True,
            grid=False,
        ),
    )


def _names(column: str, order: list[str]) -> alt.Y:
    # Names are cut already, and Vega would cut an emoji in two, which no SVG can hold.
    return alt.Y(f"{column}:N", sort=order, title=None, axis=alt.Axis(labelLimit=0))


def _figures(width: Width) -> alt.Axis:
    return alt.Axis(format=",~r", tickMinStep=1, tickCount=4 if _narrow(width) else 10)


def _length(width: Width) -> int:
    return 16 if _narrow(width) else 26


def _narrow(width: Width) -> bool:
    return width == "container" or width < 500


def _fit(chart: Any, width: Width, height: int) -> Chart:
    size = alt.AutoSizeParams(type="fit", contains="padding")
    # The font on the reader's machine may be wider than the one measured here.
    padding = {"left": 16, "right": 16, "top": 5, "bottom": 5}
    fitted: Chart = chart.properties(width=width, height=height, autosize=size, padding=padding)
    return fitted
