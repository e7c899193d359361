"""Programs bring a DuckDB of their own: every table and view of the published file, read by older ones."""

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from accounts import MOVING, varied

from pipelines.reports import read_views
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.sync import sync
from pipelines.tables import tables

#: `make test-destinations` puts them there, with the newest release of each.
OLDER = Path(sys.prefix) / "readers"
READ = """
import sys, duckdb
assert duckdb.__version__.startswith(sys.argv[1]), duckdb.__version__
connection = duckdb.connect(sys.argv[2], read_only=True)
connection.execute("set TimeZone = 'UTC'")
for query in sys.argv[3:]:
    table = connection.sql(query)
    texts = [  # the last digit of a sum of floats depends on the order in which they come
        f"round({name}, 6)" if kind == "DOUBLE" else f"cast({name} as varchar)"
        for name, kind in zip(table.columns, map(str, table.types))
    ]
    print(query, sorted(table.project(", ".join(texts)).fetchall(), key=repr))
"""
HOLD = """
import sys, duckdb
held = duckdb.connect(sys.argv[1], read_only=True)
for query in sys.stdin:
    print(held.sql(query).fetchall(), flush=True)
"""
COUNT = "select cast(count(*) as bigint) n, cast(sum(status = 'QUEUED') as bigint) open from apiframe.jobs"

pytestmark = [pytest.mark.destinations, pytest.mark.parametrize("destination", ["duckdb"], indirect=True)]


def read_by(version: str, folder: str, file: Path, queries: list[str]) -> str:
    command = [sys.executable, "-c", READ, version, str(file), *queries]
    done = subprocess.run(command, env={"PYTHONPATH": folder}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("version", ["1.3", "1.4", "1.5"])
def test_an_older_duckdb_reads_the_same(settings_for: Callable[..., Settings], version: str, destination: str) -> None:
    with Sandbox(jobs=500, days=60) as api:
        varied(api)
        chosen = settings_for(api, balance_every="1h", inputs=True)
        sync(chosen)
        api.live_on(timedelta(hours=30))
        sync(chosen)  # merged and compared, not only appended
    columns = {f"apiframe.{name}": list(table.types) for name, table in tables().items()}
    columns |= {f"reports.{view.name}": [name for name in view.columns if name not in MOVING] for view in read_views()}
    if version == "1.3":  # writes out each use of a step, and plans for minutes
        del columns["reports.reconciliation"]
    queries = [f"select {', '.join(names)} from {place}" for place, names in columns.items()]
    wanted = read_by("2.", "", chosen.path, queries)
    assert wanted.count("\n") == len(queries)
    assert read_by(version, str(OLDER / version), chosen.path, queries) == wanted


@pytest.mark.parametrize("version", ["1.3", "1.4", "1.5"])
def test_an_older_duckdb_that_holds_the_file_all_day_is_in_nobodys_way_and_sees_whole_syncs(
    settings_for: Callable[..., Settings], version: str, destination: str
) -> None:
    with Sandbox(jobs=300, days=20) as api:
        chosen = settings_for(api)
        sync(chosen)
        command = [sys.executable, "-c", HOLD, str(chosen.path)]
        with subprocess.Popen(
            command, env={"PYTHONPATH": str(OLDER / version)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as reader:
            assert reader.stdin
            assert reader.stdout
            first = f"[{counts(api)}]\n"
            for _ in range(10):
                api.add(3)
                sync(chosen)
                print(COUNT, file=reader.stdin, flush=True)
                assert reader.stdout.readline() == first
                assert str(tuple(map(str, counts(api)))) in read_by(version, str(OLDER / version), chosen.path, [COUNT])
            reader.stdin.close()
            assert reader.wait(30) == 0


def counts(api: Sandbox) -> tuple[int, int]:
    jobs = api.listing("user")
    return len(jobs), sum(job["status"] == "QUEUED" for job in jobs)
