"""Checks: one file each in this folder, found by listing it, named by nobody.

A file holds its `PLACE` among the others, the lowest first, and `measure`. It says what it measured whether or not
anything is wrong; what it cannot measure is a finding too. Exit codes are the command's business.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import ModuleType
from typing import Any, Literal

import duckdb

from pipelines.reports import engine_of, macros, render
from pipelines.reports.queries import NO_VIEWS
from pipelines.settings import Settings

State = Literal["ok", "warning", "breached", "unmeasured"]


@dataclass(frozen=True)
class Finding:
    """What one check measured: seconds, exact credits, rates from 0 to 1. `message` is one line of plain text.

    `subject` is what it is about, where a check has several findings.
    """

    check: str
    state: State
    measured: float | Decimal | None
    threshold: float | Decimal | None
    message: str
    subject: str = ""


@dataclass(frozen=True)
class Asked:
    """What a check is asked for: a warehouse in which a sync has ended well, by these settings, seen `now`."""

    connection: duckdb.DuckDBPyConnection
    settings: Settings
    now: datetime

    def rows(self, query: str, **given: Any) -> list[tuple[Any, ...]]:
        """Run a query, its macros replaced; days are those of `reports.timezone`."""
        words = macros(self.settings.timezone, [], engine_of(self.connection))
        return self.connection.execute(render(query, words), given).fetchall()


def run_checks(connection: duckdb.DuckDBPyConnection | None, settings: Settings, now: datetime) -> list[Finding]:
    """Run every check over the views; `connection` is None where there is no warehouse."""
    if connection is None:
        return _unmeasured("there is no warehouse yet; run sync")
    asked = Asked(connection, settings, now)
    try:
        [(synced,)] = asked.rows("select last_sync_at is not null from reports.freshness")
        if not synced:
            return _unmeasured("no sync has ended well yet; run sync")
    except (duckdb.CatalogException, duckdb.BinderException):
        return _unmeasured(NO_VIEWS)
    return [finding for name, check in _FOUND.items() for finding in _findings(name, check, asked)]


def _findings(name: str, check: ModuleType, asked: Asked) -> list[Finding]:
    try:
        found: list[Finding] = check.measure(asked)
    except (duckdb.CatalogException, duckdb.BinderException):
        return _unmeasured(NO_VIEWS, name)
    return found


def _unmeasured(reason: str, *checks: str) -> list[Finding]:
    return [Finding(check, "unmeasured", None, None, f"not measured: {reason}") for check in checks or CHECKS]


def _modules() -> Iterator[tuple[str, ModuleType]]:
    for found in pkgutil.iter_modules(__path__):
        if found.name[0] != "_":
            yield found.name, importlib.import_module(f"{__name__}.{found.name}")


_FOUND = dict(sorted(_modules(), key=lambda found: (found[1].PLACE, found[0])))
#: The names of all checks, in their order: those of their files.
CHECKS = tuple(_FOUND)
