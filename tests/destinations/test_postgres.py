"""Postgres: what is its own, and what can go wrong with a server."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from accounts import rows
from cluster import Server
from dlt.common.destination.exceptions import DestinationTransientException
from dlt.destinations.impl.postgres.postgres import PostgresCsvCopyJob
from support import runs, stale, stored

from pipelines import query, rendering, status
from pipelines.cli import cli
from pipelines.errors import ApiframeWarehouseError, BusyError, ConfigurationError
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.stores import connect, store_for
from pipelines.stores.postgres import Connection
from pipelines.sync import sync
from pipelines.tables import SCHEMA
from pipelines.warehouse import Warehouse

pytestmark = [pytest.mark.destinations, pytest.mark.parametrize("destination", ["postgres"], indirect=True)]
Make = Callable[..., Settings]
CREDENTIALS = "DESTINATION__POSTGRES__CREDENTIALS"


@pytest.fixture
def here(api: Sandbox, settings_for: Make) -> Settings:
    return settings_for(api)


def test_columns_and_types_are_the_counterparts_of_duckdbs(api: Sandbox, here: Settings) -> None:
    sync(here)
    types = dict(
        rows(
            here,
            "select attname, format_type(atttypid, atttypmod) from pg_attribute "
            "where attrelid = 'apiframe.jobs'::regclass and attnum > 0",
        )
    )
    assert types == {
        **dict.fromkeys(("id", "status", "model", "modality", "error", "webhook_status", "scope"), "character varying"),
        **dict.fromkeys(("created_at", "completed_at", "synced_at", "delisted_at"), "timestamp with time zone"),
        "progress": "double precision",
        "credit_cost": "numeric(18,4)",
        "expired": "boolean",
        "asset_count": "integer",
        "result": "json",
        "extra": "json",
        "_dlt_load_id": "character varying(64)",
    }


def test_an_error_names_the_database_and_no_file(api: Sandbox, here: Settings) -> None:
    sync(here)
    place = store_for(here).place
    with connect(here) as connection, pytest.raises(ApiframeWarehouseError) as problem:
        Warehouse.over(connection).query("select 1 / 0")
    assert str(problem.value) == f"{place}: division by zero"


def test_a_sync_finds_what_it_asks_for_by_indexes(api: Sandbox, here: Settings) -> None:
    api.add(1, status="PROCESSING")
    sync(here)
    plans = []
    with connect(here) as connection:
        connection.execute("set enable_seqscan = off")  # of so few jobs it would read all

        def explained(sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
            if f"{SCHEMA}.jobs" in sql:
                plans.extend(row[0] for row in connection.execute(f"explain {sql}", parameters).fetchall())
            return connection.execute(sql, parameters).fetchall()

        warehouse = Warehouse(explained)
        assert warehouse.totals() == (1001, 1)
        assert warehouse.unsettled("user", int(api.now.timestamp() * 1e6), 3600 * 1_000_000)
        assert not warehouse.lately_delisted("user", 0, 3600 * 1_000_000)
    assert len(plans) > 10
    assert not [line for line in plans if "Seq Scan" in line]


def test_check_without_a_warehouse_is_a_finding(
    here: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WAREHOUSE__DESTINATION", "postgres")
    assert cli.main(["check", "--json"], standalone_mode=False) == 5
    assert {check["state"] for check in json.loads(capsys.readouterr().out)["checks"]} == {"unmeasured"}


def test_texts_that_postgres_cannot_hold_are_kept_in_extra(api: Sandbox, here: Settings) -> None:
    blank, nul = api.add(1, status="FAILED", error="", model="")[0], api.add(1, status="FAILED", error="a\0b", x=1)[0]
    sync(here)
    found = stored(here.path)
    assert (found[blank]["error"], found[blank]["extra"]) == (None, {"error": "", "model": ""})
    assert (found[nul]["error"], found[nul]["extra"]) == (None, {"error": "a\0b", "x": 1})
    again = sync(here)
    assert (again.run.jobs_new, stored(here.path)) == (0, found), "not taken for changes"


def test_a_catalogue_with_nul_is_stored_without(api: Sandbox, here: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    model = {"id": "a\0b", "label": "c\0d", "modality": "image", "costMin": 2}
    monkeypatch.setattr("pipelines.apiframe.client.Client.models", lambda _: [model])
    api.add(1, model="a\0b")
    sync(here)
    sql = "select id, label, modality from apiframe.models where label is not null"
    assert rows(here, sql) == [("ab", "cd", "image")]


def test_one_sync_at_a_time_also_from_another_folder(api: Sandbox, settings_for: Make, tmp_path: Path) -> None:
    here, elsewhere = settings_for(api), settings_for(api, path=str(tmp_path / "elsewhere.duckdb"))
    with store_for(here).lock(0), pytest.raises(BusyError, match=r"another sync holds postgres 127"):
        sync(elsewhere, wait=0.2)
    sync(elsewhere, wait=0)
    assert stale(here.path, api) == {}


def test_a_sync_that_waits_can_be_interrupted(api: Sandbox, here: Settings, isolated: Path) -> None:
    held = store_for(here)
    program = [sys.executable, "-m", "pipelines", "sync", "--wait", "300"]
    environment = {
        **os.environ,
        "WAREHOUSE__DESTINATION": "postgres",
        "WAREHOUSE__PATH": str(isolated / "elsewhere.duckdb"),
        "APIFRAME_API_KEY": api.api_key,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    with held.lock(0):
        process = subprocess.Popen(program, env=environment, cwd=isolated, stderr=subprocess.DEVNULL)
        asking = "select 1 from pg_stat_activity where query like 'select pg_%advisory_lock%'"
        while not held.query(f"{asking} and pid <> pg_backend_pid()"):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 1


def test_two_syncs_at_once_end_in_the_same_warehouse(api: Sandbox, settings_for: Make, tmp_path: Path) -> None:
    here, elsewhere = settings_for(api), settings_for(api, path=str(tmp_path / "elsewhere.duckdb"))
    other = threading.Thread(target=sync, args=(elsewhere,), kwargs={"wait": 60})
    with store_for(elsewhere).lock(0):
        other.start()
    sync(here)
    other.join()
    assert stale(here.path, api) == {}
    assert rows(here, "select count(*) from apiframe.sync_runs") == [(2,)]


@pytest.mark.parametrize("requests", [1, 30, 110])
def test_a_sync_that_is_killed_loses_nothing(
    settings_for: Make, requests: int, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox(jobs=12_000, days=60) as api:  # more than a first chunk
        here = settings_for(api)
        environment = {
            **os.environ,
            "WAREHOUSE__DESTINATION": "postgres",
            "SOURCES__APIFRAME__BASE_URL": api.base_url,
            "APIFRAME_API_KEY": api.api_key,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        process = subprocess.Popen([sys.executable, "-m", "pipelines", "sync"], env=environment, cwd=isolated)

        def kill(_: Any) -> None:
            if api.count() == requests:
                process.send_signal(signal.SIGKILL)

        api.on_request = kill
        assert process.wait() == -signal.SIGKILL
        api.on_request = None
        api.live_on(timedelta(hours=3))
        sync(here, wait=10)
        assert stale(here.path, api) == {}


@pytest.mark.parametrize("requests", [2, 60, 118])
def test_a_server_that_goes_away_ends_the_sync_and_loses_nothing(
    server: Server, settings_for: Make, requests: int
) -> None:
    with Sandbox(jobs=12_000, days=60) as api:
        here = settings_for(api)
        api.on_request = lambda _: server.stop() if api.count() == requests else None
        try:
            with pytest.raises(ApiframeWarehouseError) as problem:
                sync(here)
        finally:
            api.on_request = None
            server.start()
        assert problem.value.exit_code == 1
        assert "\n" not in str(problem.value)
        assert "opensesame" not in str(problem.value)
        sync(here)
        assert stale(here.path, api) == {}


def test_an_insert_whose_answer_was_lost_is_repeated_and_leaves_no_job_twice(
    api: Sandbox, here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert, lost = PostgresCsvCopyJob.run, []

    def loses_the_answer(job: PostgresCsvCopyJob) -> None:
        insert(job)
        if not lost and job.load_table_name == "jobs":
            lost.append(job)
            raise DestinationTransientException("the connection broke")

    monkeypatch.setattr(PostgresCsvCopyJob, "run", loses_the_answer)
    sync(here)
    assert lost
    assert stale(here.path, api) == {}
    assert rows(here, "select count(*) from apiframe.jobs") == [(1000,)]
    assert runs(here.path)[-1]["jobs_new"] == 1000


def test_a_server_that_refuses_says_why_and_how_to_go_on(
    server: Server, database: str, here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address, code, words in (
        (server.address(database, password="wrong"), 2, "password authentication failed"),
        (server.address("nowhere"), 2, "does not exist"),
        (server.address(database).replace(str(server.port), "1"), 1, "Connection refused"),
        ("nonsense", 2, "no usable credentials"),
    ):
        monkeypatch.setenv(CREDENTIALS, address)
        for act in (lambda: sync(here), lambda: connect(here)):
            with pytest.raises(ApiframeWarehouseError, match=words) as problem:
                act()
            assert problem.value.exit_code == code
            assert "opensesame" not in str(problem.value)
            assert "wrong" not in str(problem.value)
    monkeypatch.delenv(CREDENTIALS)
    with pytest.raises(ConfigurationError, match=r"set destination\.postgres.credentials"):
        sync(here)


def test_a_user_without_rights_is_told_which_to_grant(
    server: Server, database: str, api: Sandbox, here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = f"loader_{database}"
    monkeypatch.setenv(CREDENTIALS, server.address(database, role))
    with server.session(database) as owner:
        owner.execute(f"create role {role} login password 'opensesame'")
        try:
            with pytest.raises(ConfigurationError, match="grant create on the database"):
                sync(here)
            owner.execute("create schema apiframe")
            with pytest.raises(ConfigurationError, match="grant create on schema apiframe"):
                sync(here)
            assert api.count() == 0
            owner.execute(f"grant all on schema apiframe to {role}; grant create on database {database} to {role}")
            sync(here)
            assert stale(here.path, api) == {}
        finally:
            owner.execute(f"drop owned by {role}; drop role {role}")


def test_readers_cannot_write_and_an_empty_database_says_so(api: Sandbox, here: Settings) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no warehouse in postgres .* yet"):
        connect(here)
    sync(here)
    with connect(here) as connection, pytest.raises(ApiframeWarehouseError, match="read-only"):
        connection.sql("delete from apiframe.jobs")


def test_a_users_own_views_are_made_changed_left_out_and_dropped(
    server: Server, database: str, here: Settings, api: Sandbox
) -> None:
    folder = here.project / ".dlt" / "views"
    folder.mkdir(parents=True)
    text = (
        "-- One row.\n-- Needs: reports.jobs\n-- Columns:\n--   {0}: jobs\nselect count(*) as {0} from reports.jobs\n"
    )
    (folder / "own.sql").write_text(text.format("n"))
    (folder / "above.sql").write_text(text.format("m").replace("reports.jobs", "reports.own"))
    (folder / "duck.sql").write_text(text.format("n").replace("count(*)", "\narg_max(id, id)"))
    first = sync(here).notes
    assert len(first) == 1
    assert f"a view of your own is left out: {folder / 'duck.sql'}:6: function arg_max" in first[0]
    assert rows(here, "select n, m from reports.own, reports.above") == [(1000, 1)]
    (folder / "own.sql").write_text(text.format("other"))
    (folder / "above.sql").unlink()
    (folder / "duck.sql").unlink()
    assert sync(here).notes == []
    assert rows(here, "select other from reports.own") == [(1000,)]
    with server.session(database) as owner:
        owner.execute("drop view reports.webhooks; create view reports.webhooks as select 1 as x")
        assert sync(here).notes == [], "where columns of ours have changed, all are made again"
        assert rows(here, "select other from reports.own") == [(1000,)]
        owner.execute("create view reports.theirs as select 1 as x")
        (folder / "theirs.sql").write_text(text.format("n"))
        (folder / "own.sql").unlink()
        assert "somebody else has a view theirs" in sync(here).notes[0]
        owner.execute("select viewname from pg_views where schemaname = 'reports' and viewname in "
                      "('own', 'above', 'duck', 'theirs')")  # fmt: skip
        assert owner.fetchall() == [("theirs",)]
    assert rows(here, "select x from reports.theirs") == [(1,)]


@pytest.mark.usefixtures("destination")
@pytest.mark.parametrize(
    "sql",
    [
        "create table public.x (i int)",
        "delete from apiframe.jobs",
        "with gone as (delete from apiframe.jobs returning id) select * from gone",
        "commit; create table public.x (i int)",
        "rollback; begin read write; create table public.x (i int); commit",
        "select 1; select 2",
        "set transaction read write",
        "set session characteristics as transaction read write",
        "select set_config('transaction_read_only', 'off', false)",
        "select set_config('default_transaction_read_only', 'off', false)",
        "copy (select 1) to '{}/x'",
        "copy (select 1) to program 'cat > {}/x'",
        "do $$ begin create table public.x (i int); end $$",
        "$$; end; $$ select 1",
        "close apiframe_query",
        "",
    ],
)
def test_no_statement_of_a_query_writes_or_lets_a_later_one_write(server: Server, database: str, sql: str) -> None:
    with server.session(database) as owner:
        owner.execute("create schema apiframe; create table apiframe.jobs as select 'a' as id")
    with Connection(server.address(database), "postgres", read_only=True) as connection:
        if "default_transaction" in sql:
            query.run(connection, sql)  # how the next transaction begins is said there
        else:
            with pytest.raises(ConfigurationError, match=r"^query: .+"):
                query.run(connection, sql.format(server.folder))
        with pytest.raises(ConfigurationError, match=r"^query: .+"):
            query.run(connection, "create table public.x (i int)")
        assert query.run(connection, "select to_regclass('public.x')").rows == [(None,)]
        assert query.run(connection, "select id from apiframe.jobs").rows == [("a",)]
    assert not (server.folder / "x").exists()


@pytest.mark.usefixtures("destination")
def test_values_of_a_query_are_exact(server: Server, database: str) -> None:
    expected = {
        "1.50::numeric": "1.50",
        "'NaN'::numeric": "NaN",
        "170141183460469231731687303715884105728::numeric": str(2**127),
        "date 'infinity'": "infinity",
        "date '0044-03-15 BC'": "0044-03-15 BC",
        "timestamptz '10000-01-01'": "10000-01-01 00:00:00+00",
        "timestamptz '2026-01-31 10:00:00.5'": "2026-01-31 10:00:00.500+00:00",
        "timetz '10:00:00+02'": "10:00:00+02",
        "time '24:00:00'": "24:00:00",
        "interval '1 month'": "1 mon",
        "interval '90 seconds'": "0:01:30",
        "'\\x00ab'::bytea": "\\x00ab",
        "array[date 'infinity']": "{infinity}",
        "'{\"n\": 1.50}'::json": '{"n": 1.50}',
        "true": "true",
        "'a%b''c'": "a%b'c",
    }
    with Connection(server.address(database), "postgres", read_only=True) as connection:
        result = query.run(connection, "select " + ", ".join(expected))
        assert query.run(connection, "show timezone").rows == [("UTC",)]
        assert query.run(connection, "select 1 as x where false") == rendering.Result(["x"], [])
    assert [rendering._text(value) for value in result.rows[0]] == list(expected.values())
    json.loads(rendering.render(result, "json"), parse_constant=pytest.fail)


def test_a_reader_needs_rights_on_the_views_alone(
    server: Server, database: str, here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync(here)
    role = f"reader_{database}"
    monkeypatch.setenv(CREDENTIALS, server.address(database, role))
    with server.session(database) as owner:
        owner.execute(f"create role {role} login password 'opensesame'")
        try:
            with pytest.raises(ConfigurationError, match="permission denied for schema reports"), connect(here) as one:
                one.sql("select count(*) from reports.jobs")
            owner.execute(f"grant usage on schema reports to {role}; grant select on reports.jobs to {role}")
            assert rows(here, "select count(*) from reports.jobs") == [(1000,)]
            with pytest.raises(ConfigurationError, match="permission denied for schema apiframe"):
                status.facts(here, 0)
        finally:
            owner.execute(f"drop owned by {role}; drop role {role}")


def test_grants_and_views_of_others_outlive_a_change_of_our_views(
    server: Server, database: str, api: Sandbox, settings_for: Make
) -> None:
    sync(settings_for(api))
    with server.session(database) as owner:
        owner.execute("create view public.mine as select day, credits from reports.daily_spend")
        owner.execute("grant usage on schema reports to public; grant select on reports.jobs to public")
        chosen = settings_for(api, timezone="Asia/Kolkata")
        sync(chosen)
        owner.execute(
            "select pg_get_viewdef('reports.jobs'::regclass), "
            "has_table_privilege('pg_monitor', 'reports.jobs', 'select')"
        )
        definition, granted = owner.fetchone()
        assert "Asia/Kolkata" in definition
        assert granted
        owner.execute("select count(*) from public.mine")
        assert owner.fetchone()[0] > 0
