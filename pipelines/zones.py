"""Days and hours in a time zone, by the table of zones of the database: the one that the views count days by.

Python has another, the system's or a package's, and either may be the older one: in 2026 they gave 11 zones different
hours. So nobody asks Python what day it is somewhere; `settings` alone asks it whether a name is that of a zone.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from functools import cache
from typing import Any

import duckdb

from pipelines.reports import engine_of, literal, macros, render


def local(connection: duckdb.DuckDBPyConnection, moment: datetime, zone: str) -> datetime:
    """Return a moment as the clocks of a zone show it, with the offset that they have then.

    What is added to it goes by that offset, too: add days to its date, and ask when they begin.
    """
    query = render("select {local_time(cast($moment as timestamptz))}", macros(zone, [], engine_of(connection)))
    [(shown,)] = connection.execute(query, {"moment": moment.isoformat()}).fetchall()
    found: datetime = shown
    return found.replace(tzinfo=timezone(found - moment.astimezone(UTC).replace(tzinfo=None)))


def begins(connection: duckdb.DuckDBPyConnection, day: date, zone: str) -> datetime:
    """Return the moment at which a day begins in a zone."""
    midnight = f"cast($day as timestamp) at time zone {literal(zone)}"
    words = macros(zone, [], engine_of(connection))
    query = render(f"select {{double(extract(epoch from {midnight}))}}", words)
    [(seconds,)] = connection.execute(query, {"day": day}).fetchall()
    moment = datetime.fromtimestamp(seconds, UTC)
    earlier = moment - timedelta(hours=1)  # midnight comes twice where clocks are then set back
    return earlier if local(connection, earlier, zone).date() == day else moment


def clock(moment: datetime, zone: str) -> str:
    """Write the minute of a moment in a zone, by the table of the DuckDB in this process.

    The year may be one that Python does not have: 0, or 10000.
    """
    query = "select strftime(timezone($zone, cast($moment as timestamptz)), '%Y-%m-%d %H:%M')"
    given: dict[str, Any] = {"zone": zone, "moment": moment.isoformat()}
    [(text,)] = _database().cursor().execute(query, given).fetchall()
    return str(text)


@cache
def _database() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()
