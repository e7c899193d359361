"""An account with everything that views have to tell apart, and how rows are compared across engines."""

import contextlib
import itertools
import math
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd

from pipelines.reports import read_views
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.stores import connect

Rows = list[tuple[Any, ...]]

#: Columns that count to the moment of the query.
MOVING = {"last_sync_age_s", "newest_job_age_s", "age_s", "is_stuck"}
RESULTS: list[Any] = [
    None,
    "https://cdn/x.png",
    "",
    {"images": ["a", "b"], "gridUrl": "g"},
    {"images": "no list"},
    {"images": []},
    {"images": [None, "c"]},
    {"videoUrl": "v"},
    {"videos": ["v", "w"], "images": ["i"]},
    {"tracks": [{"audioUrl": "t", "title": "NUL \0 and \\u0000", "duration": 12.5}, {"title": "no file"}]},
    {"new": {"shape": 1}},
    ["a", "list"],
    42,
]
INPUTS: list[Any] = [
    {"prompt": "NUL \0 and \\u0000", "seed": 12345678901, "options": {"raw": True, "none": None, "empty": {}}},
    {"prompt": 'it\'s "odd"', "images": ["a", {"b": 0.5}], "a.b": {"c d": {"e": "🎨"}}, "": 1},
    None,
    {},
]
ERRORS = ["NSFW content", 'it\'s "odd" \\ 100 % ?$1 {x}', "Timeout\nafter\n60 s", "Überlast 🎨", "x" * 10_000, None]


def varied(api: Sandbox) -> None:
    """Add jobs of every shape."""
    for place, result in enumerate(RESULTS):
        at = api.now - timedelta(days=place, hours=3)
        cost, asked = [None, 1.5, 0.0001][place % 3], INPUTS[place % len(INPUTS)]
        api.add(1, status="COMPLETED", result=result, created_at=at, creditCost=cost, input=asked)
    for place, error in enumerate(ERRORS):
        api.add(1, status="FAILED", error=error, model=f"m'{place}", created_at=api.now - timedelta(days=place))
    api.add(1, status="FAILED", creditCost=12.5)  # whose refund has not come
    api.add(2, status="ARCHIVED", webhookStatus="sent")
    for days in (3, 4):  # no two at one time: which of them is the oldest would be chance
        api.add(1, status="QUEUED", created_at=api.now - timedelta(days=days))
    api.add(2, model=None, novel={"field": [1, 2.50, "🎨"]})


def priced(api: Sandbox, project: Path) -> None:
    """Give the project prices of the account's days: none for the first, then a price, a pack, another currency."""
    days = [(api.now - timedelta(days=ago)).date() for ago in (50, 20, 5)]
    lines = [f"{days[0]},0.0123456789,,,USD", f"{days[1]},,29,3000,USD", f"{days[2]},1.5,,,JPY"]
    (project / ".dlt").mkdir(exist_ok=True)
    (project / ".dlt" / "prices.csv").write_text(
        "\n".join(["valid_from,price_per_credit,paid,credits,currency", *lines])
    )


def label(api: Sandbox, project: Path) -> Path:
    """Give jobs labels by a file and by rules of every kind; returns the file of the rules."""
    folder = project / ".dlt"
    folder.mkdir(exist_ok=True)
    named = [f"{job['id']},project,p{place % 3}\n" for place, job in enumerate(api.listing()[:30])]
    twice = f"{api.listing()[0]['id']},project,other\n"
    (folder / "labels.csv").write_text("".join(["job_id,label,value\n", *named, twice, "gone,project,x\n"]))
    day = api.now.date() - timedelta(days=20)
    lines = [
        'project,"quo\'ted ""\\",error,it\'s',
        "project,über,error,ÜBERLAST",
        "kind,moving,modality,Video",
        "kind,other,model,a",
        f"time,late,created_after,{day + timedelta(days=10)}",
        f"time,middle,created_after,{day}T13:30",
        f"time,early,created_before,{day - timedelta(days=10)}T00:00:00.5+05:30",
        f"time,first,created_before,{day - timedelta(days=5)}",
        "team,mine,scope,USER",
    ]
    rules = folder / "label_rules.csv"
    rules.write_text("\n".join(["label,value,field,contains", *lines]))
    return rules


def rows(settings: Settings, sql: str) -> Rows:
    with contextlib.closing(connect(settings)) as connection:
        table = connection.sql(sql).to_arrow_table()
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def views(settings: Settings) -> dict[str, Rows]:
    """The rows of every view, in one order, without the columns that move."""
    found = {}
    for view in read_views():
        columns = [f'"{name}"' for name in view.columns if name not in MOVING]
        found[view.name] = ordered(rows(settings, f"select {', '.join(columns)} from reports.{view.name}"))
    return found


def ordered(found: Rows) -> Rows:
    """The rows in an order that the last digit of a float does not change; every view has a key without floats."""
    known = [tuple(map(comparable, row)) for row in found]
    return sorted(known, key=lambda row: repr([value for value in row if not isinstance(value, float)]))


def comparable(value: Any) -> Any:
    """The value in a type that every engine has: what is exact as Decimal, times in UTC."""
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return Decimal(value).normalize()
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value  # Postgres has no text with NUL


def differences(found: Rows, wanted: Rows) -> list[tuple[Any, Any]]:
    """Cells, or whole rows, that differ: floats by more than the order in which they are added up explains."""
    return [
        (cell, other)
        for row, wanted_row in itertools.zip_longest(found, wanted, fillvalue=("no row",))
        for cell, other in itertools.zip_longest(row, wanted_row, fillvalue="no cell")
        if not same(cell, other)
    ]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9) or (math.isnan(one) and math.isnan(other))
    return type(one) is type(other) and bool(one == other)


def cells(frame: pd.DataFrame) -> Rows:
    """The names of the columns, and the rows."""
    return [tuple(frame.columns), *frame.itertuples(index=False, name=None)]


def page_differences(found: str, wanted: str) -> list[tuple[str, str]]:
    """Pieces of two reports that differ: a number with a point may by one in the last digit shown, all else may not."""
    pieces = [re.split(r"(\d+(?:\.\d+)?(?:e-\d+)?)", page) for page in (found, wanted)]
    return [
        (one, other)
        for place, (one, other) in enumerate(itertools.zip_longest(*pieces, fillvalue=""))
        if one != other and not (place % 2 and one and other and shown_alike(one, other))
    ]


def shown_alike(one: str, other: str) -> bool:
    if "." not in one + other:
        return False
    digits = min(len(number.partition(".")[2]) for number in (one, other)) or 4  # a whole coordinate has no point
    return abs(float(one) - float(other)) <= max(1.01 * 10.0**-digits, 1e-4)
