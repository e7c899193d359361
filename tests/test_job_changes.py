"""The table `job_changes`: what syncs saw change, never lost and never told twice, wherever a sync was cut short."""

import importlib
import os
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support import query
from test_crashes import killed

from pipelines import cli
from pipelines.apiframe.records import Row
from pipelines.errors import ApiframeWarehouseError
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.sync import sync
from pipelines.tables.job_changes import Change, between, shown

Make = Callable[..., Settings]

JOB = Row("a", "PROCESSING", "m", None, 0.0, 10, None, "pending", 1, None, None, 0, None, None, "user", 1, None)


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ({"status": "FAILED", "error": "x"}, [("status", "PROCESSING", "FAILED"), ("error", None, "x")]),
        ({"credit_cost": Decimal("0.0000")}, [("credit_cost", "10", "0")]),
        ({"credit_cost": Decimal("120.5000")}, [("credit_cost", "10", "120.5")]),
        ({"credit_cost": None}, [("credit_cost", "10", None)]),
        ({"credit_cost": Decimal("10.0000")}, []),
        ({"credit_cost": None, "extra": '{"creditCost":"ten"}'}, []),  # no cost was seen
        ({"webhook_status": None}, [("webhook_status", "pending", None)]),
        ({"expired": False}, [("expired", None, "false")]),
        ({"delisted_at": 5}, [("delisted", "false", "true")]),
        ({"progress": 50.0, "result": '"x"', "completed_at": 4, "extra": "{}", "modality": "image"}, []),
    ],
)
def test_a_change_is_told_field_by_field_as_text(now: dict[str, Any], told: list[Any]) -> None:
    row = JOB._replace(synced_at=7, **now)
    assert between(JOB, row) == [Change("a", 7, *change) for change in told]


FIRST = Change("a", 5, "credit_cost", "10", "0")
SECOND = Change("a", 6, "credit_cost", "0", "10")


@pytest.mark.parametrize(
    ("begun", "cost", "told_before", "told"),
    [
        ([FIRST], 0, [], [FIRST]),
        ([FIRST], 10, [], []),  # it was not stored
        ([FIRST], 7, [], [FIRST]),  # another has been stored since
        ([FIRST, SECOND], 10, [], [FIRST, SECOND]),
        ([FIRST, SECOND], 0, [], [FIRST]),
        ([FIRST], 0, [FIRST], []),
        ([FIRST, FIRST], 0, [], [FIRST]),
    ],
)
def test_of_a_sync_that_was_cut_short_what_the_jobs_show_is_told(
    begun: list[Change], cost: int, told_before: list[Change], told: list[Change]
) -> None:
    assert shown(begun, {"a": JOB._replace(credit_cost=cost)}, told_before) == told


def changes(chosen: Settings) -> list[tuple[Any, ...]]:
    return query(chosen.path, "select id, field, before, after from apiframe.job_changes order by id, field, seen_at")


@pytest.mark.everywhere
def test_changes_of_known_jobs_are_told_and_new_jobs_are_none(settings_for: Make) -> None:
    with Sandbox(jobs=20, days=20) as api:
        [job] = api.add(1, status="PROCESSING", creditCost=12, webhookStatus=None)
        chosen = settings_for(api)
        sync(chosen)
        assert changes(chosen) == []
        api.put(job, status="FAILED", creditCost=0.5, error="no\nway")
        api.add(3)
        sync(chosen)
        api.advance(timedelta(minutes=1))
        api.put(job, creditCost=0)
        sync(chosen)
        sync(chosen)
    assert [change for change in changes(chosen) if change[0] == job] == [
        (job, "credit_cost", "12", "0.5"),
        (job, "credit_cost", "0.5", "0"),
        (job, "error", None, "no\nway"),
        (job, "status", "PROCESSING", "FAILED"),
    ]
    [(order,)] = query(
        chosen.path,
        "select count(*) from apiframe.job_changes as changed join apiframe.jobs using (id) "
        "where seen_at > synced_at or seen_at < jobs.created_at",
    )
    assert order == 0


def test_a_job_that_is_listed_no_longer_and_again_is_told(api: Sandbox, settings_for: Make) -> None:
    chosen = settings_for(api)
    sync(chosen)
    job = api.listing()[5]["id"]
    api.delete([job])
    sync(chosen, full=True)
    assert (job, "delisted", "false", "true") in changes(chosen)


@pytest.mark.everywhere
@pytest.mark.parametrize(
    ("module", "owner", "name"),
    [("dlt.pipeline.pipeline", "Pipeline", "load"), ("pipelines.sync.conductor", "_Sync", "_record")],
    ids=["not stored", "not told"],
)
def test_what_a_sync_saw_that_fails_is_told_once_by_the_next(
    settings_for: Make, monkeypatch: pytest.MonkeyPatch, module: str, owner: str, name: str
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise ApiframeWarehouseError("cut short")

    with Sandbox(jobs=20, days=20) as api:
        [job] = api.add(1, status="PROCESSING", creditCost=12, webhookStatus=None)
        chosen = settings_for(api)
        sync(chosen)
        api.put(job, creditCost=0)
        for _ in range(2):
            with monkeypatch.context() as patched:
                patched.setattr(getattr(importlib.import_module(module), owner), name, fails)
                with pytest.raises(ApiframeWarehouseError, match="cut short"):
                    sync(chosen)
        sync(chosen)
        sync(chosen)
    assert [change for change in changes(chosen) if change[0] == job] == [(job, "credit_cost", "12", "0")]


STORE = "pipelines.stores.duckdb:DuckDBStore"
MOMENTS: dict[str, dict[str, Any]] = {
    "noted": {"place": f"{STORE}.write", "text": "_job_changes_begun", "after": True},
    "stored": {"place": "dlt.pipeline.pipeline:Pipeline.load", "after": True},
    "told": {"place": f"{STORE}.write", "text": "name='job_changes'", "after": True},
    "recorded": {"place": "pipelines.sync.conductor:_Sync._record", "after": True},
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_sync_that_is_killed_loses_no_change_and_tells_none_twice(
    api: Sandbox, settings_for: Make, moment: str
) -> None:
    chosen = settings_for(api)
    jobs = api.add(3, status="PROCESSING", creditCost=12)
    sync(chosen)
    api.put(jobs[0], creditCost=0)
    killed(chosen, **MOMENTS[moment])
    api.put(jobs[1], creditCost=None)
    sync(chosen)
    assert sorted(change for change in changes(chosen) if change[1] == "credit_cost") == sorted(
        [(jobs[0], "credit_cost", "12", "0"), (jobs[1], "credit_cost", "12", None)]
    )
    [(left,)] = query(chosen.path, "select count(*) from duckdb_tables() where table_name = '_job_changes_begun'")
    assert left == 0


@pytest.mark.everywhere
def test_maintenance_alone_deletes_old_changes(
    settings_for: Make, destination: str, monkeypatch: pytest.MonkeyPatch, isolated: Path
) -> None:
    def maintain(age: str) -> str:
        done = CliRunner().invoke(cli.cli, ["maintain", "--changes-older-than", age, "--json"], catch_exceptions=False)
        return done.output.replace(" ", "").strip()

    monkeypatch.setenv("WAREHOUSE__DESTINATION", destination)
    with Sandbox(jobs=3) as api:
        [job] = api.add(1, status="PROCESSING", creditCost=12, webhookStatus=None)
        chosen = settings_for(api)
        monkeypatch.setenv("WAREHOUSE__PATH", os.fspath(chosen.path))
        sync(chosen)
        api.put(job, creditCost=5)
        sync(chosen)
        seen = len(changes(chosen))
        assert maintain("400d") == '{"job_changes":{"rows_deleted":0}}'
        assert maintain("0s") == f'{{"job_changes":{{"rows_deleted":{seen}}}}}'
        api.advance(timedelta(minutes=1))
        api.put(job, creditCost=7)
        sync(chosen)
        assert (job, "credit_cost", "5", "7") in changes(chosen)
        assert (job, "credit_cost", "12", "5") not in changes(chosen)
