"""Charts of the pages: data frame in, Altair chart out. What is drawn and said lies in `pipelines.pages`.

Names that the API gave are labelled here, for the width there is. `picture` needs no browser or network, and
what it makes follows the page between light and dark.
"""

import io
import re
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from typing import Any, Literal, NamedTuple

import altair as alt
import pandas as pd

from pipelines.runway import Left
from pipelines.wording import labels

# Each has a contrast of 3:1 or more on white and on the dark page.
COLOURS = ["#3b7dbf", "#cf6d17", "#3d9147", "#9564b5", "#24918b", "#9c6b4a", "#b8577f"]
GREY, BLUE, RED = "#7d858f", COLOURS[0], "#cf4d52"
OTHERS = "all others"
PARTLY = "known in part"  # a unit that still runs
MOST_BARS = 12  # models or reasons in a chart; the tables have more

Width = int | Literal["container"]  # pixels, or as wide as the page
Chart = alt.Chart | alt.LayerChart


class Tip(NamedTuple):
    """What a reader is told who points at a mark: a column, its title, and for a figure its format."""

    column: str
    title: str
    form: str = ""


class Span(NamedTuple):
    """Columns that hold an interval, and the figure in it."""

    low: str
    at: str
    high: str


#: Failure rates as `queries.summary` has them, and what a reader is told of one.
FAILED = Span("failure_rate_low", "failure_rate", "failure_rate_high")
FAILED_TIPS = (
    Tip("ended", "ended jobs", ","),
    Tip(FAILED.at, "failed (%)", ".1f"),
    Tip(FAILED.low, "from (%)", ".1f"),
    Tip(FAILED.high, "to (%)", ".1f"),
)


class Picture(NamedTuple):
    """An SVG in two: the attributes of its element, and what is in it."""

    attributes: str
    content: str


def failed_percent(frame: pd.DataFrame, by: str) -> pd.DataFrame:
    """Return the column `by`, the ended jobs, and the failure rate with its interval in percent."""
    return frame[[by, "ended", *FAILED]].assign(**{name: 100 * frame[name] for name in FAILED})


def stacked(frame: pd.DataFrame, unit: str, value: str, width: Width, running: date | None = None) -> Chart:
    """Bars of `value` per `unit`, stacked by model, the largest first; the smallest models are one.

    The bar of the unit that began on `running` is pale, and says that it is not whole.
    """
    data = frame.assign(model=labels(frame["model"], _length(width)), **{value: frame[value].astype(float).fillna(0)})
    largest = data.groupby("model")[value].sum().sort_values(ascending=False, kind="stable").index
    shown = list(largest[: len(COLOURS)])
    data["model"] = data["model"].where(data["model"].isin(shown), OTHERS)
    data = data.groupby([unit, "model"])[value].sum().reset_index()
    domain = [*shown, *([OTHERS] if len(largest) > len(shown) else [])]
    data["rank"] = data["model"].map(domain.index)
    data["state"] = [PARTLY if start == running else "whole" for start in data[unit]]
    data = _with_ends(data, unit)
    chart = (
        alt.Chart(data)
        .mark_bar()
        .encode(
            x=_time_axis(unit, width, data),
            x2="end:T",
            y=alt.Y(f"sum({value}):Q", title=f"{value} per {unit}", axis=alt.Axis(format=",~r")),
            color=alt.Color(
                "model:N",
                title=None,
                scale=alt.Scale(domain=domain, range=[*COLOURS[: len(shown)], GREY]),
                legend=alt.Legend(orient="bottom", columns=2 if _narrow(width) else 4, labelLimit=0, columnPadding=24),
            ),
            order="rank:Q",
            tooltip=[_start(unit), "model:N", alt.Tooltip(f"sum({value}):Q", title=value, format=",~r")],
        )
    )
    if running is not None:
        chart = chart.encode(
            opacity=alt.condition(alt.datum.state == PARTLY, alt.value(0.5), alt.value(1)),
            tooltip=[*chart.encoding.tooltip, "state:N"],
        )
    return _fit(chart, width, 300)


def over_time(
    frame: pd.DataFrame, unit: str, span: Span, title: str, colour: str, tips: Iterable[Tip], width: Width
) -> Chart:
    """A line of a figure per `unit`, each with its interval as a pale bar."""
    data = _with_ends(frame, unit)
    base = alt.Chart(data).encode(x=_time_axis(unit, width, data), tooltip=[_start(unit), *_tips(tips)])
    intervals = base.mark_rule(strokeWidth=4, opacity=0.35, color=colour).encode(
        y=alt.Y(f"{span.low}:Q", title=title), y2=f"{span.high}:Q"
    )
    line = base.mark_line(color=colour, point=alt.OverlayMarkDef(color=colour, size=25)).encode(
        y=alt.Y(f"{span.at}:Q", title=title, scale=alt.Scale(zero=True))
    )
    return _fit(intervals + line, width, 240)


def spans(data: pd.DataFrame, span: Span, title: str, colour: str, tips: Iterable[Tip], width: Width) -> Chart:
    """A figure of each model with its interval, in the order of the frame."""
    base = _by_name(data, "model", tips, width)
    intervals = base.mark_rule(strokeWidth=6, opacity=0.45, color=colour, strokeCap="round").encode(
        x=alt.X(f"{span.low}:Q", title=title, axis=_figures(width)), x2=f"{span.high}:Q"
    )
    points = base.mark_point(filled=True, size=70, color=colour, opacity=1).encode(
        x=alt.X(f"{span.at}:Q", title=title, scale=alt.Scale(zero=True))
    )
    return _fit(intervals + points, width, 40 + 26 * len(data))


def bars(data: pd.DataFrame, name: str, value: str, title: str, tips: Iterable[Tip], width: Width) -> Chart:
    """A bar of `value` for each `name`, in the order of the frame."""
    base = _by_name(data, name, tips, width).encode(x=alt.X(f"{value}:Q", title=title, axis=_figures(width)))
    return _fit(base.mark_bar(color=BLUE), width, 40 + 26 * len(data))


def ahead(known: list[tuple[datetime, float]], coming: Iterable[Left], width: Width) -> Chart:
    """A line of what was left up to now, then, dashed, what is expected to be, with its range as a pale band.

    Times are those of the reader's clock.
    """
    now, left = known[-1]
    days = [(datetime.combine(day.day + timedelta(days=1), time.min), *day[1:]) for day in coming]
    path = pd.DataFrame([(now, left, left, left), *days], columns=["at", "low", "left", "high"])
    path[["low", "left", "high"]] = path[["low", "left", "high"]].clip(lower=0)
    line, path = (
        frame.assign(at=[f"{at.replace(tzinfo=None).isoformat()}Z" for at in frame["at"]])
        for frame in (pd.DataFrame(known, columns=["at", "left"]), path)
    )
    axis = alt.Axis(format="%-d %b", tickCount=4 if _narrow(width) else 10, labelOverlap=True, grid=False)
    x = alt.X("at:T", title=None, scale=alt.Scale(type="utc"), axis=axis)
    y = alt.Y("left:Q", title="credits left", axis=alt.Axis(format=",~r"))
    tips = [
        alt.Tooltip("at:T", title="at", format="%Y-%m-%d %H:%M", timeUnit="utcyearmonthdatehoursminutes"),
        alt.Tooltip("left:Q", title="credits left", format=",.0f"),
    ]
    band = alt.Chart(path).mark_area(color=BLUE, opacity=0.2).encode(x=x, y="low:Q", y2="high:Q")
    expected = alt.Chart(path).mark_line(color=BLUE, strokeDash=[5, 4]).encode(x=x, y=y, tooltip=tips)
    read = alt.Chart(line).mark_line(color=BLUE, interpolate="step-after").encode(x=x, y=y, tooltip=tips)
    return _fit(alt.layer(band, expected, read), width, 240)


def picture(chart: Chart, name: str) -> Picture:
    """Draw a chart as SVG, without a text alternative; `name` keeps its ids apart from others'.

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
    drawn = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", target.getvalue())
    attributes, content = re.fullmatch(r"<svg ([^>]*)>(.*)</svg>\s*", drawn, re.DOTALL).groups()  # type: ignore[union-attr]
    return Picture(attributes, content)


def _by_name(data: pd.DataFrame, name: str, tips: Iterable[Tip], width: Width) -> alt.Chart:
    data = data.assign(**{name: labels(data[name], _length(width))})
    # Names are cut already, and Vega would cut an emoji in two, which no SVG can hold.
    axis = alt.Y(f"{name}:N", sort=list(data[name]), title=None, axis=alt.Axis(labelLimit=0))
    return alt.Chart(data).encode(y=axis, tooltip=[f"{name}:N", *_tips(tips)])


def _tips(tips: Iterable[Tip]) -> list[alt.Tooltip]:
    return [
        alt.Tooltip(f"{tip.column}:Q", title=tip.title, format=tip.form)
        if tip.form
        else alt.Tooltip(f"{tip.column}:N", title=tip.title)
        for tip in tips
    ]


def _start(unit: str) -> alt.Tooltip:
    return alt.Tooltip("start:T", title=unit, format="%Y-%m-%d", timeUnit="utcyearmonthdate")


def _with_ends(data: pd.DataFrame, unit: str) -> pd.DataFrame:
    """Add start and end of each unit, as dates; the end leaves a gap to the next bar."""
    start = pd.to_datetime(data[unit])
    step = {"day": pd.DateOffset(days=1), "week": pd.DateOffset(weeks=1), "month": pd.DateOffset(months=1)}[unit]
    end = start + step
    return data.drop(columns=unit).assign(
        start=data[unit].map(str),
        end=(end - (end - start) * 0.1).map(lambda end: f"{end.isoformat()}Z"),
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
