"""A warehouse belongs to one account on every destination, and one of an older version adopts it."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import support
from deltalake import DeltaTable, write_deltalake

from pipelines.apiframe.records import Row
from pipelines.apiframe.settled import can_change
from pipelines.errors import ConfigurationError
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.stores import store_for
from pipelines.sync import sync
from pipelines.warehouse import ROW

pytestmark = pytest.mark.destinations
Make = Callable[..., Settings]


def test_a_warehouse_belongs_to_one_account(settings_for: Make) -> None:
    stranger = Sandbox(jobs=3, seed=2)
    with Sandbox(jobs=30) as api:
        api.host(stranger)
        chosen = settings_for(api)
        sync(chosen)
        assert sync(chosen).run.requests == 1
        with pytest.raises(ConfigurationError, match="belongs to user"):
            sync(settings_for(api, api_key=stranger.api_key))
        api.add(1)
        assert sync(settings_for(api, api_key=api.second_key)).run.jobs_new == 1
        assert support.query(chosen.path, "select count(*) from apiframe.jobs") == [(31,)]


def test_a_warehouse_of_an_older_version_adopts_the_account_of_the_next_sync(settings_for: Make) -> None:
    with Sandbox(jobs=30) as api:
        chosen = settings_for(api)
        sync(chosen)
        forget_the_account(chosen)
        store_for(chosen).seal_file.unlink()
        assert sync(chosen).run.requests == 3, "whose key it is, one of the jobs, and the page"
        assert sync(chosen).run.requests == 1
        users = support.query(chosen.path, "select count(*), count(user_id), count(team_id) from apiframe.sync_runs")
        assert users == [(3, 2, 2)]


def forget_the_account(chosen: Settings) -> None:
    store: Any = store_for(chosen)
    if chosen.destination == "postgres":
        with store.lock(10), store.open():
            store.query("alter table apiframe.sync_runs drop column user_id cascade, drop column team_id cascade")
        return
    location = store.location("sync_runs")
    rows = DeltaTable(location).to_pyarrow_table().drop_columns(["user_id", "team_id"])
    write_deltalake(location, rows, mode="overwrite", schema_mode="overwrite")


def test_what_can_still_change_is_the_same_there(settings_for: Make) -> None:
    with Sandbox(jobs=400, days=20) as api:
        chosen = settings_for(api)
        api.add(2, status="ARCHIVING")
        api.add(2, status="COMPLETED", webhookStatus="pending")
        run = sync(chosen).run
        hour = 3_600_000_000
        with contextlib.closing(store_for(chosen).connect_readonly()) as connection:
            rows = [Row(*row) for row in connection.execute(f"select {ROW} from apiframe.jobs").fetchall()]
        store = store_for(chosen)
        with store.lock(10), store.open() as warehouse:
            found = {job.id for job in warehouse.unsettled("user", run.started_at, hour)}
        assert found == {row.id for row in rows if can_change(row, run.started_at, hour)}
        assert len(found) >= 4
