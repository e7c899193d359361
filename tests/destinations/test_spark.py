"""Spark on a standalone cluster, over the Delta tables: every common view gives DuckDB's rows."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pyspark
import pytest
from accounts import MOVING, differences, label, ordered, priced, rows, varied
from deltalake import DeltaTable

from pipelines.copying import copy
from pipelines.errors import ApiframeWarehouseError
from pipelines.reports import ENGINES, read_views
from pipelines.reports.spark import register
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.stores import store_for
from pipelines.sync import sync
from pipelines.tables import tables

pytestmark = [
    pytest.mark.destinations,
    pytest.mark.parametrize("destination", ["delta"], indirect=True),
    pytest.mark.filterwarnings("ignore"),  # Spark's own
]
Make = Callable[..., Settings]
JOBS = int(os.environ.get("WAREHOUSE_SPARK_JOBS", "20000"))
ZONE = "America/New_York"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A session on a cluster of one master and two workers, from the pyspark package, on loopback."""
    from pyspark.sql import SparkSession

    folder, port = tmp_path_factory.mktemp("spark"), free_port()
    home = Path(pyspark.__file__).parent
    environment = {
        "PATH": os.environ["PATH"],
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_NO_DAEMONIZE": "1",
        "PYSPARK_PYTHON": sys.executable,
    }
    deploy, master = "org.apache.spark.deploy", f"spark://127.0.0.1:{port}"
    commands = [[f"{deploy}.master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0"]]
    commands += [
        [f"{deploy}.worker.Worker", master, "--host", "127.0.0.1", "--webui-port", "0", "--cores", "1",
         "--memory", "1g", "--work-dir", str(folder / f"worker{number}")]
        for number in (1, 2)
    ]  # fmt: skip
    with contextlib.ExitStack() as stack:
        for number, command in enumerate(commands):
            log = stack.enter_context((folder / f"{number}.log").open("wb"))
            process = subprocess.Popen(
                [home / "bin" / "spark-class", *command], env=environment, stdout=log, stderr=log, cwd=folder
            )  # spark-class becomes the Java process, so this pid is the daemon's
            stack.callback(process.wait)
            stack.callback(process.terminate)
        os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
        session = (
            SparkSession.builder.master(master)
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.executor.memory", "700m")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.shuffle.partitions", "4")
            .config("spark.sql.session.timeZone", "America/St_Johns")
            .config("spark.sql.warehouse.dir", str(folder / "warehouse"))
            .getOrCreate()
        )
        stack.callback(session.stop)
        yield session


def test_every_common_view_gives_the_rows_of_duckdb(
    settings_for: Make, spark: Any, isolated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = tmp_path / "a lake"
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(lake))
    with Sandbox(jobs=JOBS, days=200) as api:
        varied(api)
        priced(api, isolated)
        api.add(1, created_at=datetime(2025, 11, 2, 4, 45, tzinfo=UTC))
        wanted = {"timezone": ZONE, "workers": 8, "request_timeout": 60, "balance_every": "1h"}
        here = settings_for(api, destination="duckdb", **wanted)
        labels = label(api, here.project)
        sync(here)
        copy(store_for(here), store_for(settings_for(api, timezone=ZONE)))
    rules = tmp_path / "rules.csv"
    rules.write_text("text,reason\nit's,\"quo'ted \\\"\ntimeout,time-out\n")
    own = tmp_path / "views"
    own.mkdir()
    text = "-- One row.\n-- Needs: reports.jobs\n-- Columns:\n--   n: jobs\nselect {} as n from reports.jobs\n"
    (own / "own.sql").write_text(text.format("count(*)"))
    (own / "duck.sql").write_text(text.format("list_unique([1])"))
    with pytest.warns(UserWarning, match=r"a view of your own is left out: .*duck\.sql:5: "):
        assert "reports_own" in register(spark, str(lake / "apiframe"), ZONE, own=own)
    made = register(spark, str(lake / "apiframe"), ZONE, label_rules=labels)
    assert len(spark.sparkContext._jsc.sc().statusTracker().getExecutorInfos()) == 3, "a driver and two workers"
    common = [view for view in read_views() if view.engines == ENGINES]
    assert made == [f"reports_{view.name}" for view in common]
    for view in common:
        columns = ", ".join(name for name in view.columns if name not in MOVING)
        wanted = rows(here, f"select {columns} from reports.{view.name}")
        table = spark.sql(f"select {columns} from reports_{view.name}").toArrow()
        found = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
        assert len(found) == len(wanted) > 0, view.name
        assert differences(ordered(found), ordered(wanted)) == [], view.name
    register(spark, str(lake / "apiframe"), ZONE, rules)
    reasons = {row[0] for row in spark.sql("select distinct failure_reason from reports_failure_reasons").collect()}
    assert reasons == {"quo'ted \\", "time-out", "unknown"}


def test_a_table_whose_files_do_not_tell_what_it_holds_is_refused(settings_for: Make, tmp_path: Path) -> None:
    spark = MagicMock(conf={})  # refused before Spark is asked for it: no second cluster in another test process
    with Sandbox(jobs=10) as api:
        sync(settings_for(api))
        lake = tmp_path / "lake" / "apiframe"
        first = next(iter(tables()))  # whatever comes behind it is asked of Spark
        DeltaTable(lake / first).alter.set_table_properties({"delta.enableDeletionVectors": "true"})
        with pytest.raises(ApiframeWarehouseError, match=r"deletionVectors.*Delta connector"):
            register(spark, str(lake))
