"""Delta: tables in a folder or an S3 bucket, what is their own and what can go wrong."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from accounts import rows
from deltalake import DeltaTable
from support import stale

from pipelines import query
from pipelines.errors import ApiframeWarehouseError, BusyError, ConfigurationError
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.stores import connect, store_for
from pipelines.stores.delta import DeltaStore
from pipelines.sync import sync

pytestmark = [pytest.mark.destinations, pytest.mark.parametrize("destination", ["delta"], indirect=True)]
Make = Callable[..., Settings]
BUCKET = "DESTINATION__FILESYSTEM__BUCKET_URL"


@pytest.fixture
def here(api: Sandbox, settings_for: Make) -> Settings:
    return settings_for(api)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


def test_columns_and_types_are_the_counterparts_of_duckdbs(here: Settings, lake: Path) -> None:
    sync(here)
    schema = pa.schema(DeltaTable(lake / "apiframe" / "jobs").schema())
    texts = ("id", "status", "model", "modality", "error", "webhook_status", "scope", "_dlt_load_id", "result", "extra")
    assert dict(zip(schema.names, map(str, schema.types), strict=True)) == {
        **dict.fromkeys(texts, "string"),
        **dict.fromkeys(("created_at", "completed_at", "synced_at", "delisted_at"), "timestamp[us, tz=UTC]"),
        "progress": "double",
        "credit_cost": "decimal128(18, 4)",
        "expired": "bool",
        "asset_count": "int32",
    }


def test_maintenance_leaves_few_files_and_the_same_rows(api: Sandbox, here: Settings, lake: Path) -> None:
    for _ in range(4):
        api.add(20)
        sync(here)
    warehouse = store_for(here)
    assert isinstance(warehouse, DeltaStore)
    files = list((lake / "apiframe" / "jobs").glob("*.parquet"))
    before = rows(here, "select * from apiframe.jobs order by id")
    assert warehouse.maintain(timedelta(days=7))["jobs"]["deleted"] == 0, "readers of the last week may need them"
    assert warehouse.maintain(timedelta(minutes=59))["jobs"]["deleted"] == 0, "and those of the last hour"
    done = warehouse.maintain(timedelta(0))
    assert done["jobs"]["files"] == 1
    assert done["jobs"]["deleted"] >= len(files) - 1
    assert len(list((lake / "apiframe" / "jobs").glob("*.parquet"))) == 1
    assert rows(here, "select * from apiframe.jobs order by id") == before
    api.add(20)
    sync(here)
    assert stale(here.path, api) == {}


def test_a_lake_of_an_older_version_is_read_before_it_grows_its_tables(
    api: Sandbox, here: Settings, lake: Path
) -> None:
    sync(here)
    for name in ("balances", "job_changes"):
        shutil.rmtree(lake / "apiframe" / name)
    with contextlib.closing(connect(here)) as connection:
        assert connection.execute("select count(*), sum(credits_refunded) from reports.jobs").fetchall() == [(1000, 0)]
    api.add(1)
    sync(here)
    assert {file.name for file in (lake / "apiframe").iterdir()} >= {"balances", "job_changes"}


def test_readers_keep_the_version_that_they_opened(api: Sandbox, here: Settings) -> None:
    sync(here)
    with connect(here) as reader:
        [(before,)] = reader.execute("select count(*) from reports.jobs").fetchall()
        api.add(50)
        sync(here)
        assert reader.execute("select count(*) from reports.jobs").fetchall() == [(before,)]
    assert rows(here, "select count(*) from reports.jobs") == [(before + 50,)]


def test_a_users_own_views_are_there_for_readers_and_a_broken_one_is_left_out(here: Settings) -> None:
    folder = here.project / ".dlt" / "views"
    folder.mkdir(parents=True)
    text = "-- One row.\n-- Needs: reports.jobs\n-- Columns:\n--   n: jobs\nselect count(*) as n from reports.jobs\n"
    (folder / "own.sql").write_text(text)
    (folder / "broken.sql").write_text(text.replace("count(*)", "count(nothing)"))
    assert [f"{folder / 'broken.sql'}:5: " in note for note in sync(here).notes] == [True]
    with connect(here) as connection:
        assert connection.execute("select n from reports.own").fetchall() == [(1000,)]


def test_a_query_reads_the_lake_and_writes_nowhere(here: Settings, lake: Path, tmp_path: Path) -> None:
    sync(here)
    before = sorted(lake.rglob("*"))
    with connect(here) as connection:
        for sql in (f"copy apiframe.jobs to '{lake}/x.parquet'", "attach 'x.duckdb'", "delete from apiframe.jobs"):
            with pytest.raises(ConfigurationError, match=r"^query: .+"):
                query.run(connection, sql)
        assert query.run(connection, "select count(*) from reports.jobs").rows == [(1000,)]
    assert sorted(lake.rglob("*")) == before
    assert not (tmp_path / "project" / "x.duckdb").exists()


def test_one_sync_at_a_time_also_from_another_folder(api: Sandbox, settings_for: Make, tmp_path: Path) -> None:
    here, elsewhere = settings_for(api), settings_for(api, path=str(tmp_path / "elsewhere.duckdb"))
    with store_for(here).lock(0), pytest.raises(BusyError, match="another sync holds delta"):
        sync(elsewhere, wait=0.2)
    sync(elsewhere, wait=0)
    assert stale(here.path, api) == {}


@pytest.mark.parametrize("requests", [1, 30, 110])
def test_a_sync_that_is_killed_loses_nothing(settings_for: Make, requests: int, isolated: Path) -> None:
    with Sandbox(jobs=12_000, days=60) as api:  # more than a first chunk
        here = settings_for(api)
        environment = {
            **os.environ,
            "WAREHOUSE__DESTINATION": "delta",
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
        sync(here)
        assert stale(here.path, api) == {}


def test_what_a_killed_run_left_half_written_is_no_obstacle(api: Sandbox, here: Settings, lake: Path) -> None:
    for folder in ("apiframe", "apiframe_staging"):
        (lake / folder).mkdir(parents=True)
    sync(here)
    state = max((lake / "apiframe" / "_dlt_pipeline_state").iterdir())
    state.with_name(state.name.replace("apiframe__1", "apiframe__9")).write_text('{"half":')
    api.add(3)
    sync(here, full=True)
    assert stale(here.path, api) == {}


def test_no_lake_is_a_clear_error(here: Settings, lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no warehouse in delta .* yet"):
        connect(here)
    monkeypatch.delenv(BUCKET)
    with pytest.raises(ConfigurationError, match=r"set destination\.filesystem\.bucket_url"):
        sync(here)
    (lake.parent / "file").write_text("")
    monkeypatch.setenv(BUCKET, str(lake.parent / "file"))
    with pytest.raises(ConfigurationError, match="cannot write in"):
        sync(here)


# S3


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """An S3 of our own on a free port, in a process of its own: the Delta library waits for it with Python locked."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            break
        assert process.poll() is None
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


@pytest.fixture
def bucket(s3: str, destination: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    import botocore.session

    client = botocore.session.get_session().create_client(
        "s3", endpoint_url=s3, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key="pass"
    )
    client.create_bucket(Bucket="lake")
    credentials = "DESTINATION__FILESYSTEM__CREDENTIALS__"
    for name, value in {
        BUCKET: "s3://lake/warehouse",
        f"{credentials}AWS_ACCESS_KEY_ID": "key",
        f"{credentials}AWS_SECRET_ACCESS_KEY": "pass",
        f"{credentials}REGION_NAME": "us-east-1",
        f"{credentials}ENDPOINT_URL": s3,
    }.items():
        monkeypatch.setenv(name, value)
    yield "s3://lake/warehouse"
    for found in client.list_objects_v2(Bucket="lake").get("Contents", []):
        client.delete_object(Bucket="lake", Key=found["Key"])
    client.delete_bucket(Bucket="lake")


@pytest.mark.usefixtures("bucket")
def test_a_bucket_is_a_lake_too(api: Sandbox, here: Settings) -> None:
    sync(here)
    assert stale(here.path, api) == {}
    api.add(20)
    outcome = sync(here)
    assert (outcome.run.mode, outcome.path) == ("incremental", "delta s3://lake/warehouse")
    assert stale(here.path, api) == {}
    warehouse = store_for(here)
    assert isinstance(warehouse, DeltaStore)
    assert warehouse.maintain(timedelta(0))["jobs"]["files"] == 1
    assert sync(here, full=True).drifted >= 0
    assert stale(here.path, api) == {}


@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_is_missing_or_out_of_reach_is_a_clear_error(
    api: Sandbox, here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync(here)
    monkeypatch.setenv(BUCKET, "s3://nowhere/warehouse")
    for act in (lambda: sync(here), lambda: connect(here)):
        with pytest.raises(ConfigurationError, match="there is no bucket nowhere"):
            act()
    monkeypatch.setenv(BUCKET, "s3://lake/warehouse")
    with monkeypatch.context() as patch:
        patch.setenv("DESTINATION__FILESYSTEM__CREDENTIALS__ENDPOINT_URL", "http://127.0.0.1:1")
        with pytest.raises(ApiframeWarehouseError) as problem:
            sync(here)
    assert problem.value.exit_code == 1
    assert "pass" not in str(problem.value)
    sync(here)
    assert stale(here.path, api) == {}
