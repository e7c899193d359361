"""What is not documented is kept on every destination as it is in DuckDB."""

from collections.abc import Callable
from typing import Any

import pytest
import support
import test_drift

from pipelines.sandbox import REMOVED, Sandbox
from pipelines.settings import Settings
from pipelines.sync import sync

pytestmark = pytest.mark.destinations


def test_what_is_not_documented_is_kept_as_in_duckdb(
    settings_for: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, destination: str
) -> None:
    with Sandbox(jobs=20, days=5) as api:
        for fields, _ in test_drift.CASES:
            api.add(1, **({"status": "COMPLETED"} | fields))
        there = settings_for(api)
        sync(there)
        found = support.stored(there.path)
        monkeypatch.undo()
        here = settings_for(api, destination="duckdb")
        sync(here)
        wanted = support.stored(here.path)
        assert found.keys() == wanted.keys()
        for identity, row in wanted.items():
            assert comparable(found[identity], destination) == comparable(row, destination)


def comparable(row: dict[str, Any], destination: str) -> dict[str, Any]:
    row = {name: value for name, value in row.items() if name not in ("synced_at", "_dlt_load_id")}
    if destination == "postgres":  # keeps in extra what it has no text for
        for column, name in (("status",) * 2, ("model",) * 2, ("error",) * 2, ("webhook_status", "webhookStatus")):
            if row[column] is not None and (not row[column] or "\0" in row[column]):
                row["extra"] = {**(row["extra"] or {}), name: row[column]}
                row[column] = None
    return row


def test_fields_that_come_and_go_are_no_new_columns(settings_for: Callable[..., Settings]) -> None:
    with Sandbox(jobs=30, days=2) as api:
        chosen = settings_for(api)
        sync(chosen)
        job = api.add(1, status="PROCESSING")[0]
        for fields in (
            {"creditCost": None},
            {"creditCost": 2.5},
            {"prompt": "x"},
            {"prompt": REMOVED, "creditCost": 3},
        ):
            api.put(job, **fields)
            sync(chosen)
            assert support.stale(chosen.path, api) == {}
