"""Charts of the pages: data frame in, Altair chart out. What is drawn and said lies in `pipelines.pages`.

Names that the API gave are labelled here, for the width there is. `picture` needs no browser or network, and
what it makes follows the page between light and dark.
"""

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, Literal, NamedTuple

import altair as alt
import pandas as pd

from pipelines.outlook import Left
from pipelines.palette import BLUE, GREY, RED
from pipelines.wording import labels

OTHERS = "all others"
PARTLY = "known in part"  # a unit that still runs
MOST_BARS = 12  # models or reasons in a chart; the tables have more
MOST_STACKED = 8  # models in a bar
MOST_LINES = 4  # models of which each has two
STEPS = {"day": pd.DateOffset(days=1), "week": pd.DateOffset(weeks=1), "month": pd.DateOffset(months=1)}
DAYS = {"day": 1, "week": 7, "month": 30.44}
#: Of an axis of days: labels never touch, and no lines across the picture.
DATED: dict[str, Any] = {"labelOverlap": True, "labelSeparation": 8, "grid": False}
#: Names that Vega cannot draw, since it looks them up in plain objects: Object.prototype has them already.
OF_EVERY_OBJECT = {
    *("constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString"),
    *("valueOf", "__proto__", "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__"),
}

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


def stacked(
    frame: pd.DataFrame, unit: str, value: str, colours: Sequence[str], width: Width, running: date | None = None
) -> Chart:
    """Bars of `value` per `unit`, stacked by model, the largest first; the others are one.

    `colours` has that of each row's model. Of two models with the same one the smaller is among the others. The bar of
    the unit that began on `running` is pale, and says that it is not whole.
    """
    names = _names(frame["model"], width)
    data = frame.assign(model=names, **{value: frame[value].astype(float).fillna(0)})
    largest = data.groupby("model")[value].sum().sort_values(ascending=False, kind="stable").index
    shown = _told_apart(largest, dict(zip(names, colours, strict=True)), MOST_STACKED)
    data["model"] = data["model"].where(data["model"].isin(shown), OTHERS)
    data = data.groupby([unit, "model"])[value].sum().reset_index()
    scale = shown | ({OTHERS: GREY} if len(largest) > len(shown) else {})
    given = alt.Scale(domain=list(scale), range=list(scale.values()))
    data["rank"] = data["model"].map(list(scale).index)
    data["state"] = [PARTLY if start == running else "whole" for start in data[unit]]
    data = _with_ends(data, unit)
    chart = (
        alt.Chart(data)
        .mark_bar()
        .encode(
            x=_time_axis(unit, width, data, "start"),
            x2="end:T",
            y=alt.Y(f"sum({value}):Q", title=f"{value} per {unit}", axis=alt.Axis(format=",~r")),
            color=alt.Color(
                "model:N",
                title=None,
                scale=given,
                legend=_legend(width),
            ),
            order="rank:Q",
            tooltip=[_start(unit), "model:N", alt.Tooltip(f"sum({value}):Q", title=value, format=",~r")],
        )
    )
    if running is not None:
        chart = chart.encode(
            fillOpacity=alt.condition(alt.datum.state == PARTLY, alt.value(0.4), alt.value(1)),
            stroke=alt.Stroke("model:N", scale=given, legend=None),
            tooltip=[*chart.encoding.tooltip, "state:N"],
        )
    return _fit(chart, width, 300)


def expected(frame: pd.DataFrame, title: str, width: Width) -> Chart:
    """A bar of `credits` a day before the range from `low` to `high` in which it was expected.

    A day that `is_unusual` has a colour of its own; one that `is_running` is pale.
    """
    data = _with_ends(frame, "day")
    states = {"as expected": BLUE, "unusual": RED}
    data["state"] = [list(states)[is_unusual] for is_unusual in data["is_unusual"]]
    data["none"] = 0
    day = [pd.Timestamp(start) for start in data["start"]]
    data["left"] = [f"{(each + pd.Timedelta(hours=5)).isoformat()}Z" for each in day]
    data["right"] = [f"{(each + pd.Timedelta(hours=17)).isoformat()}Z" for each in day]
    tips = [_start("day"), *_tips([Tip("credits", "credits", ",.0f"), Tip("expected", "expected", ",.0f")])]
    tips += _tips([Tip("low", "from", ",.0f"), Tip("high", "to", ",.0f"), Tip("state", "state")])
    base = alt.Chart(data).encode(tooltip=tips)
    ranges = base.mark_bar(color=GREY, opacity=0.35).encode(
        x=_time_axis("day", width, data, "start"), x2="end:T", y=alt.Y("low:Q", title=title), y2="high:Q"
    )
    bars = base.mark_bar().encode(
        x=_time_axis("day", width, data, "left"),
        x2="right:T",
        y=alt.Y("credits:Q", title=title, axis=alt.Axis(format=",~r")),
        y2="none:Q",
        color=alt.Color(
            "state:N",
            title=None,
            scale=alt.Scale(domain=list(states), range=list(states.values())),
            legend=_legend(width),
        ),
        fillOpacity=alt.condition(alt.datum.is_running == 1, alt.value(0.4), alt.value(1)),
    )
    return _fit(ranges + bars, width, 240)


def over_time(
    frame: pd.DataFrame, unit: str, span: Span, title: str, colour: str, tips: Iterable[Tip], width: Width
) -> Chart:
    """A line of a figure per `unit`, each with its interval as a thin bar."""
    data = _with_ends(frame, unit)
    base = alt.Chart(data).encode(x=_time_axis(unit, width, data, "middle"), tooltip=[_start(unit), *_tips(tips)])
    intervals = base.mark_rule(strokeWidth=1, color=colour).encode(
        y=alt.Y(f"{span.low}:Q", title=title), y2=f"{span.high}:Q"
    )
    line = base.mark_line(color=colour, point=alt.OverlayMarkDef(color=colour, size=25)).encode(
        y=alt.Y(f"{span.at}:Q", title=title, scale=alt.Scale(zero=True))
    )
    return _fit(intervals + line, width, 240)


def spans(
    data: pd.DataFrame,
    span: Span,
    title: str,
    colours: list[str],
    tips: Iterable[Tip],
    width: Width,
    overall: float | None = None,
) -> Chart:
    """A figure of each model with its interval, in the order of the frame; `colours` has that of each.

    `overall`, that of all models together, is a dashed line.
    """
    base = _by_name(data.assign(colour=colours), "model", tips, width)
    base = base.encode(color=alt.Color("colour:N", scale=None))
    intervals = base.mark_rule(strokeWidth=2, strokeCap="round").encode(
        x=alt.X(f"{span.low}:Q", title=_lines(title, width), axis=_figures(width)), x2=f"{span.high}:Q"
    )
    points = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=alt.X(f"{span.at}:Q", title=_lines(title, width), scale=alt.Scale(zero=True))
    )
    layers = [intervals, points]
    if overall is not None:
        across = alt.Chart(pd.DataFrame({"overall": [overall]}))
        layers.insert(0, across.mark_rule(color=GREY, strokeDash=[4, 4]).encode(x="overall:Q"))
    return _fit(alt.layer(*layers), width, 40 + 26 * len(data))


def bars(data: pd.DataFrame, name: str, value: str, title: str, tips: Iterable[Tip], width: Width) -> Chart:
    """A bar of `value` for each `name`, in the order of the frame."""
    base = _by_name(data, name, tips, width).encode(x=alt.X(f"{value}:Q", title=title, axis=_figures(width)))
    return _fit(base.mark_bar(color=BLUE), width, 40 + 26 * len(data))


def ahead(
    known: list[tuple[datetime, float]], coming: Iterable[Left], title: str, width: Width, limit: float | None = None
) -> Chart:
    """A line of what was counted up to now, then, dashed, what is expected, with its range as a pale band.

    Times are those of the reader's clock. `limit` is a line across, which is not to be crossed.
    """
    now, last = known[-1]
    days = [(datetime.combine(day.day + timedelta(days=1), time.min), *day[1:]) for day in coming]
    path = pd.DataFrame([(now, last, last, last), *days], columns=["at", "low", "figure", "high"])
    path[["low", "figure", "high"]] = path[["low", "figure", "high"]].clip(lower=0)
    line, path = (
        frame.assign(at=[f"{at.replace(tzinfo=None).isoformat()}Z" for at in frame["at"]])
        for frame in (pd.DataFrame(known, columns=["at", "figure"]), path)
    )
    axis = alt.Axis(format="%-d %b", tickCount=4 if _narrow(width) else 10, **DATED)
    x = alt.X("at:T", title=None, scale=alt.Scale(type="utc"), axis=axis)
    y = alt.Y("figure:Q", title=title, axis=alt.Axis(format=",~r"))
    tips = [
        alt.Tooltip("at:T", title="at", format="%Y-%m-%d %H:%M", timeUnit="utcyearmonthdatehoursminutes"),
        alt.Tooltip("figure:Q", title=title, format=",.0f"),
    ]
    band = alt.Chart(path).mark_area(color=BLUE, opacity=0.2).encode(x=x, y="low:Q", y2="high:Q")
    expected = alt.Chart(path).mark_line(color=BLUE, strokeDash=[5, 4]).encode(x=x, y=y, tooltip=tips)
    read = alt.Chart(line).mark_line(color=BLUE, interpolate="step-after").encode(x=x, y=y, tooltip=tips)
    layers = [band, expected, read]
    if limit is not None:
        across = alt.Chart(pd.DataFrame({"figure": [limit]}))
        layers.append(across.mark_rule(color=RED, strokeWidth=2).encode(y="figure:Q"))
    return _fit(alt.layer(*layers), width, 240)


def lines(
    frame: pd.DataFrame, unit: str, title: str, colours: Sequence[str], tips: Iterable[Tip], width: Width
) -> Chart:
    """Lines of `figure` per `unit`, each model's in its colour; what is `usual` of it is whole, the rest dashed.

    `colours` has that of each row's model. Of two models with the same one the one that comes first is shown.
    """
    names = _names(frame["model"], width)
    shown = _told_apart(dict.fromkeys(names), dict(zip(names, colours, strict=True)), MOST_LINES)
    data = _with_ends(frame.assign(model=names)[[name in shown for name in names]], unit)
    scale = alt.Scale(domain=list(shown), range=list(shown.values()))
    base = alt.Chart(data).encode(
        x=_time_axis(unit, width, data, "middle"),
        y=alt.Y("figure:Q", title=title, axis=alt.Axis(format=",~r"), scale=alt.Scale(zero=True)),
        color=alt.Color("model:N", title=None, scale=scale, legend=_legend(width)),
        detail="usual:N",
        tooltip=[_start(unit), "model:N", *_tips(tips)],
    )
    whole = base.transform_filter("datum.usual").mark_line(point=alt.OverlayMarkDef(size=25))
    dashed = base.transform_filter("!datum.usual").mark_line(strokeDash=[5, 4])
    return _fit(whole + dashed, width, 260)


def picture(chart: Chart, name: str) -> Picture:
    """Draw a chart as SVG, without a text alternative; `name` keeps its ids apart from others'.

    Colours of text and lines are the page's variables --fg, --muted and --line.
    """
    muted, line = "var(--muted,#57606a)", "var(--line,#d8dee4)"
    themed = chart.copy()
    themed.config.aria = False
    themed.config.view = alt.ViewConfig(stroke=None)
    for name, value in {
        "labelColor": muted,
        "titleColor": muted,
        "titleFontWeight": "normal",
        "titlePadding": 12,
        "gridColor": line,
        "domainColor": line,
        "tickColor": line,
    }.items():
        themed.config.axis[name] = value
    themed.config.legend.labelColor = "var(--fg,#1f2328)"
    target = io.StringIO()
    themed.save(target, format="svg")
    drawn = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", target.getvalue())
    attributes, content = re.fullmatch(r"<svg ([^>]*)>(.*)</svg>\s*", drawn, re.DOTALL).groups()  # type: ignore[union-attr]
    return Picture(attributes, re.sub(r"<[a-z]+ [^<>]*>", _slim, content))


def _slim(tag: re.Match[str]) -> str:
    """Leave out what nobody needs: digits behind hundredths of a pixel, and roles.

    Vega gives each mark a role, and none the name that it then would need: the picture has one of its own.
    """
    plain = re.sub(r' (?:role|aria-[a-z]+)="[^"]*"', "", tag[0])
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), plain)


def _names(values: Iterable[Any], width: Width) -> list[str]:
    """Label names so that they fit, and so that Vega can draw them."""
    return [f"{name}\u200b" if name in OF_EVERY_OBJECT else name for name in labels(values, _length(width))]


def _told_apart(names: Iterable[str], colours: Mapping[str, str], most: int) -> dict[str, str]:
    """Return the first so many names of which no two have the same colour, with their colours."""
    shown: dict[str, str] = {}
    for name in names:
        if len(shown) < most and colours[name] not in shown.values():
            shown[name] = colours[name]
    return shown


def _legend(width: Width) -> alt.Legend:
    return alt.Legend(
        orient="bottom", columns=2 if _narrow(width) else 4, labelLimit=0, columnPadding=8 if _narrow(width) else 24
    )


def _by_name(data: pd.DataFrame, name: str, tips: Iterable[Tip], width: Width) -> alt.Chart:
    data = data.assign(**{name: _names(data[name], width)})
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
    """Add start, middle and end of each unit's bar; the end leaves a gap to the next one."""
    start = pd.to_datetime(data[unit])
    ends = start + (start + STEPS[unit] - start) * 0.9
    return data.drop(columns=unit).assign(
        start=data[unit].map(str),
        middle=(start + (ends - start) / 2).map(lambda middle: f"{middle.isoformat()}Z"),
        end=ends.map(lambda end: f"{end.isoformat()}Z"),
    )


def _time_axis(unit: str, width: Width, data: pd.DataFrame, at: str) -> alt.X:
    """An axis with a mark under the middle of every so many bars, which says when the bar begins."""
    middles, most = sorted(data["middle"].unique()), 4 if _narrow(width) else 8
    form = "%b %Y" if unit == "month" else "%-d %b"
    starts = {middle: start for start, middle in zip(data["start"], data["middle"], strict=True)}
    marks = {_milliseconds(middle): f"{starts[middle]}T00Z" for middle in _every(middles, unit, most)}
    named = [f"datum.value === {mark} ? {_milliseconds(start)} : " for mark, start in marks.items()]
    return alt.X(
        f"{at}:T",
        title=None,
        scale=alt.Scale(type="utc"),
        axis=alt.Axis(
            values=list(marks),
            labelExpr=f"utcFormat({''.join(named)}datum.value, '{form}')",
            **DATED,
        ),
    )


def _every(middles: list[str], unit: str, most: int) -> list[str]:
    """Return the newest, and as many before it as there is room for, at equal distances in time."""
    if not middles:
        return []
    last = pd.Timestamp(middles[-1])
    ago = {middle: round((last - pd.Timestamp(middle)) / pd.Timedelta(days=DAYS[unit])) for middle in middles}
    step = -(-(max(ago.values()) + 1) // most)
    return [middle for middle in middles if ago[middle] % step == 0]


def _milliseconds(moment: str) -> int:
    return round(1000 * datetime.fromisoformat(moment).timestamp())


def _figures(width: Width) -> alt.Axis:
    return alt.Axis(format=",~r", tickMinStep=1, tickCount=4 if _narrow(width) else 10)


def _lines(title: str, width: Width) -> list[str]:
    """Break a title where there is no room for it on one line."""
    return title.replace(", ", ",\n").split("\n") if _narrow(width) else [title]


def _length(width: Width) -> int:
    return 16 if _narrow(width) else 26


def _narrow(width: Width) -> bool:
    return width == "container" or width < 500


def _fit(chart: Any, width: Width, height: int) -> Chart:
    size = alt.AutoSizeParams(type="fit", contains="padding")
    # The font on the reader's machine may be wider than the one measured here.
    padding = {"left": 16, "right": 16, "top": 5, "bottom": 5}
    # On the page's colour: in the dark a notebook would give it a panel of another.
    fitted: Chart = chart.properties(
        width=width, height=height, autosize=size, padding=padding, background="transparent"
    )
    font = 12 if _narrow(width) else 15  # a page of 700 pixels shows 15 of a wide chart as 11
    configured: Chart = fitted.configure_axis(labelFontSize=font, titleFontSize=font).configure_legend(
        labelFontSize=font, symbolType="square"
    )
    return configured
