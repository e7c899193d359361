"""An account with everything that views have to tell apart, and how rows are compared across engines."""

import contextlib
import math
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from pipelines.reports import read_views
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.warehouse import connect

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
ERRORS = ["NSFW content", 'it\'s "odd" \\ 100 % ?$1 {x}', "Timeout\nafter\n60 s", "Überlast 🎨", "x" * 10_000, None]


def varied(api: Sandbox) -> None:
    """Add jobs of every shape."""
    for place, result in enumerate(RESULTS):
        at = api.now - timedelta(days=place, hours=3)
        api.add(1, status="COMPLETED", result=result, created_at=at, creditCost=[None, 1.5, 0.0001][place % 3])
    for place, error in enumerate(ERRORS):
        api.add(1, status="FAILED", error=error, model=f"m'{place}", created_at=api.now - timedelta(days=place))
    api.add(2, status="ARCHIVED", webhookStatus="sent")
    for days in (3, 4):  # no two at one time: which of them is the oldest would be chance
        api.add(1, status="QUEUED", created_at=api.now - timedelta(days=days))
    api.add(2, model=None, novel={"field": [1, 2.50, "🎨"]})


def rows(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(connect(settings)) as connection:
        table = connection.sql(sql).to_arrow_table()
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def views(settings: Settings, *, but: tuple[str, ...] = ()) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of every view, in one order, without the columns that move."""
    found = {}
    for view in read_views():
        if view.name not in but:
            columns = [f'"{name}"' for name in view.columns if name not in MOVING]
            found[view.name] = sorted(
                (
                    tuple(map(comparable, row))
                    for row in rows(settings, f"select {', '.join(columns)} from reports.{view.name}")
                ),
                key=repr,
            )
    return found


def comparable(value: Any) -> Any:
    """The value as every engine has it: numbers to twelve digits, times in microseconds."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, (int, float, Decimal)):
        number = float(value)
        return float(f"{number:.12g}") if math.isfinite(number) else number
    if isinstance(value, datetime):
        return value.timestamp()
    return str(value).replace("\0", "\ufffd")  # Postgres has no text with NUL
