"""The source in somebody else's dlt pipeline: any destination, dlt's own state, none of this project's warehouse."""

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed
from support import JOBS, microseconds, served

from pipelines.apiframe import UndocumentedError, apiframe_source, jobs_source
from pipelines.apiframe.answers import ApiError
from pipelines.errors import ConfigurationError
from pipelines.sandbox import Sandbox
from pipelines.tables.jobs import TABLE

Run = Callable[..., Any]


@pytest.fixture
def api() -> Iterator[Sandbox]:
    """A quiet account of 350 jobs."""
    with Sandbox(jobs=350, days=20) as api:
        api.finish(job["id"] for job in api.listing("team"))
        api.advance(timedelta(hours=30))
        yield api


@pytest.fixture
def run(api: Sandbox, isolated: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Somebody's script: a pipeline into theirs.duckdb, settings from the environment."""
    monkeypatch.setenv("SOURCES__APIFRAME__API_KEY", api.api_key)
    monkeypatch.setenv("SOURCES__APIFRAME__BASE_URL", api.base_url)
    monkeypatch.setenv("RUNTIME__REQUEST_BACKOFF_FACTOR", "0.01")
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.setenv("RUNTIME__LOG_LEVEL", "CRITICAL")  # dlt tells of hints that differ on purpose

    def script(folder: str = "here", **arguments: Any) -> Any:
        pipeline = dlt.pipeline(
            pipeline_name="theirs",
            pipelines_dir=str(isolated / folder),
            destination=dlt.destinations.duckdb(str(isolated / "theirs.duckdb")),
            dataset_name="raw",
        )
        api.requests.clear()
        return pipeline.run(apiframe_source(**arguments))

    return script


def loaded(isolated: Path) -> dict[str, dict[str, Any]]:
    columns = [f"epoch_us({name})" if "TIME ZONE" in JOBS[name] else name for name in TABLE.arrow_schema.names]
    with duckdb.connect(str(isolated / "theirs.duckdb"), read_only=True) as connection:
        rows = connection.execute(f"select {', '.join(columns)} from raw.jobs").fetchall()
    jobs = [dict(zip(TABLE.arrow_schema.names, row, strict=True)) for row in rows]
    assert len({job["id"] for job in jobs}) == len(jobs)
    for job in jobs:
        job |= {name: json.loads(job[name]) if job[name] is not None else None for name in ("result", "extra")}
    return {job["id"]: job for job in jobs}


def wrong(isolated: Path, api: Sandbox, scope: str = "user") -> dict[str, Any]:
    """Rows of the destination that are not as the API lists them."""
    rows = loaded(isolated)
    return {
        job["id"]: rows.get(job["id"])
        for job in api.listing(scope)
        if served(job) != {name: rows.get(job["id"], {}).get(name) for name in served(job)}
    }


def test_a_first_run_loads_every_job(api: Sandbox, run: Run, isolated: Path) -> None:
    api.add(3, status="PROCESSING", novelty={"a": 1}, creditCost=2.5)
    run()
    assert wrong(isolated, api) == {}
    assert len(loaded(isolated)) == 353
    assert api.count() == 4 + 1, "the end is asked for twice"


def test_columns_have_the_types_of_the_contract(api: Sandbox, run: Run, isolated: Path) -> None:
    run()
    with duckdb.connect(str(isolated / "theirs.duckdb"), read_only=True) as connection:
        described = {name: kind for name, kind, *_ in connection.execute("describe raw.jobs").fetchall()}
    assert {name: described[name] for name in TABLE.arrow_schema.names} == {
        name: kind for name, kind in JOBS.items() if name != "_dlt_load_id"
    }


def test_an_empty_account_has_every_column_and_the_next_run_loads_its_jobs(run: Run, isolated: Path) -> None:
    with Sandbox(jobs=0) as empty:
        run(api_key=empty.api_key, base_url=empty.base_url)
        assert loaded(isolated) == {}
        empty.add(2)
        run(api_key=empty.api_key, base_url=empty.base_url)
        assert wrong(isolated, empty) == {}


def test_a_second_run_brings_what_is_new_and_what_changed_and_reads_no_history(
    api: Sandbox, run: Run, isolated: Path
) -> None:
    moving = api.add(4, status="PROCESSING") + api.add(1, status="QUEUED", created_at=api.now - timedelta(days=9))
    run()
    api.finish(moving[:2])
    api.finish(moving[2:], "FAILED")
    api.add(120)
    run()
    assert wrong(isolated, api) == {}
    assert api.count() <= 4


def test_a_run_without_changes_costs_few_requests(api: Sandbox, run: Run, isolated: Path) -> None:
    run()
    before = loaded(isolated)
    api.advance(timedelta(hours=3))
    run()
    assert api.count() <= 2
    for job, row in loaded(isolated).items():
        assert row | {"synced_at": 0} == before.pop(job) | {"synced_at": 0}
    assert before == {}


def test_a_job_is_followed_over_many_runs_until_it_is_settled(api: Sandbox, run: Run, isolated: Path) -> None:
    job = api.add(1, status="PROCESSING")[0]
    for progress in (10, 50, 90):
        run()
        api.add(130, status="COMPLETED")
        api.advance(timedelta(hours=8))
        api.put(job, progress=progress)
    run()
    assert loaded(isolated)[job]["progress"] == 90
    api.put(job, status="COMPLETED", completedAt=api.now.isoformat(), result="https://x/1.png")
    run()
    assert loaded(isolated)[job]["status"] == "COMPLETED"
    api.put(job, creditCost=7)
    run()
    assert loaded(isolated)[job]["credit_cost"] == 7, "it ended less than settle_after before"


def test_an_old_job_that_ends_with_its_webhook_pending_is_followed_as_long_as_any_other(
    api: Sandbox, run: Run, isolated: Path
) -> None:
    job = api.add(1, status="PROCESSING", created_at=api.now - timedelta(days=9), creditCost=80)[0]
    run()
    api.put(job, status="COMPLETED", webhookStatus="pending", completedAt=api.now.isoformat())
    run()
    api.advance(timedelta(minutes=5))
    api.put(job, status="FAILED", creditCost=0)
    run()
    assert (loaded(isolated)[job]["status"], loaded(isolated)[job]["credit_cost"]) == ("FAILED", 0)


def test_the_state_is_restored_on_another_machine(api: Sandbox, run: Run, isolated: Path) -> None:
    moving = api.add(2, status="PROCESSING", created_at=api.now - timedelta(days=9))
    run()
    shutil.rmtree(isolated / "here")
    api.finish(moving)
    api.add(5)
    run(folder="there")
    assert wrong(isolated, api) == {}
    assert api.count() <= 4, "no history"


def test_state_holds_the_high_water_mark_and_no_key(api: Sandbox, run: Run, isolated: Path) -> None:
    info = run()
    state = info.pipeline.state["sources"]["apiframe"]["resources"]["jobs"]
    newest = max(microseconds(job["createdAt"]) for job in api.listing())
    assert microseconds(state["incremental"]["created_at"]["last_value"]) == newest
    assert state["scopes"]["user"]["high_water_mark"] == newest
    assert state["scopes"]["user"]["unsettled"] == {}
    assert api.api_key not in json.dumps(info.pipeline.state, default=str)
    for file in (isolated / "here").rglob("*"):
        assert file.is_dir() or api.api_key.encode() not in file.read_bytes()


def test_the_team_has_a_state_of_its_own(api: Sandbox, run: Run, isolated: Path) -> None:
    run()
    run(scope="team")
    assert wrong(isolated, api, "team") == {}
    api.add(2)
    run()
    assert wrong(isolated, api) == {}
    assert api.count() <= 2
    run(scope="team")
    assert api.count() <= 2


def test_the_key_of_another_account_is_refused_and_a_rotated_one_goes_on(
    api: Sandbox, run: Run, isolated: Path
) -> None:
    stranger = Sandbox(jobs=30, seed=2)
    api.host(stranger)
    run()
    run()
    assert api.count("/me") == 0, "the key is the same"
    for scope in ("user", "team"):
        with pytest.raises(Exception, match="belongs to user") as problem:
            run(api_key=stranger.api_key, scope=scope)
        assert any(isinstance(cause, ConfigurationError) for cause in causes(problem.value))
        assert api.count() == 0
    assert len(loaded(isolated)) == 350
    api.add(2)
    run(api_key=api.second_key)
    assert wrong(isolated, api) == {}
    api.fault("500", times=None, path="/me")
    run(api_key=api.second_key)
    with pytest.raises(Exception, match="does not tell whether this key does too"):
        run()


def test_arguments_come_before_the_configuration(api: Sandbox, run: Run, isolated: Path) -> None:
    with Sandbox(jobs=20, seed=9) as other:
        run(api_key=other.api_key, base_url=other.base_url, workers=1, settle_after="2h")
        assert wrong(isolated, other) == {}
    assert api.requests == []


def test_a_failed_run_leaves_what_was_there_and_the_next_is_whole(api: Sandbox, run: Run, isolated: Path) -> None:
    run()
    api.add(250)
    api.fault("no_jobs", times=None, after=1)
    with pytest.raises(Exception, match="no list of jobs") as problem:
        run()
    assert any(isinstance(cause, UndocumentedError) for cause in causes(problem.value))
    assert len(loaded(isolated)) == 350
    api.clear_faults()
    run()
    assert wrong(isolated, api) == {}


def causes(problem: BaseException | None) -> Iterator[BaseException]:
    while problem is not None:
        yield problem
        problem = problem.__cause__ or problem.__context__


def test_a_catalogue_that_cannot_be_read_does_not_stop_a_run(api: Sandbox, run: Run, isolated: Path) -> None:
    api.fault("500", times=None, path="/models")
    run()
    assert wrong(isolated, api) == {}


def test_errors_are_those_of_the_client(api: Sandbox, run: Run) -> None:
    with pytest.raises(Exception, match="refused the key") as problem:
        run(api_key="afk_wrong")
    assert any(isinstance(cause, ApiError) and cause.status == 401 for cause in causes(problem.value))
    assert "afk_wrong" not in str(problem.value)


def test_without_a_key_it_is_said_how_to_set_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCES__APIFRAME__API_KEY")
    with pytest.raises(ConfigurationError, match="APIFRAME_API_KEY"):
        run()


def test_one_source_may_be_run_again(api: Sandbox, run: Run, isolated: Path) -> None:
    source = apiframe_source()
    pipeline = run().pipeline
    for _ in range(2):
        api.add(5)
        pipeline.run(source)
        assert wrong(isolated, api) == {}


def test_an_old_open_job_that_is_gone_is_asked_for_no_more(api: Sandbox, run: Run, isolated: Path) -> None:
    gone = api.add(1, status="PROCESSING", created_at=api.now - timedelta(days=9))
    run()
    api.delete(gone)
    run()
    assert api.count() == 4, "the first page, two searches, and one for a job that must be found"
    run()
    assert api.count() == 1
    assert gone[0] in loaded(isolated)


@pytest.mark.parametrize("after", [0, 1, 2])
def test_an_old_open_job_is_not_given_up_for_an_empty_answer(
    api: Sandbox, run: Run, isolated: Path, after: int
) -> None:
    old = api.add(1, status="PROCESSING", created_at=api.now - timedelta(days=90))
    run()
    api.put(old[0], progress=55)
    api.fault("empty_end", after=after)
    run()
    assert wrong(isolated, api) == {}
    api.finish(old)
    run()
    assert wrong(isolated, api) == {}


def test_the_resource_merges_by_id() -> None:
    source = jobs_source(lambda: ())
    assert list(source.resources) == ["jobs"]
    schema = source.jobs.compute_table_schema()
    assert schema["write_disposition"] == "merge"
    assert schema["columns"]["id"]["primary_key"]


# Destinations that know no ids


@pytest.fixture
def into_a_folder(run: Run, isolated: Path) -> Any:
    """A pipeline of plain files, of which dlt says that it merges, and adds."""
    return dlt.pipeline(
        "folder",
        pipelines_dir=str(isolated / "folder"),
        destination=dlt.destinations.filesystem(bucket_url=f"file://{isolated / 'lake'}"),
        dataset_name="raw",
    )


def test_plain_files_are_refused_since_a_job_that_changes_would_be_there_twice(
    into_a_folder: Any, api: Sandbox, isolated: Path
) -> None:
    with pytest.raises(PipelineStepFailed, match="delete-insert"):
        into_a_folder.run(apiframe_source(), loader_file_format="parquet")
    assert not api.requests
    assert not list((isolated / "lake").glob("raw/jobs/*"))


def test_plain_files_that_are_to_be_added_to_are_what_was_asked_for(into_a_folder: Any, isolated: Path) -> None:
    source = apiframe_source()
    source.jobs.apply_hints(write_disposition="append")
    into_a_folder.run(source, loader_file_format="parquet")
    assert list((isolated / "lake").glob("raw/jobs/*.parquet"))


@pytest.mark.parametrize("strategy", ["delete-insert", "upsert"])
@pytest.mark.parametrize("kind", ["delta", "iceberg"])
def test_a_strategy_that_keeps_an_id_twice_where_pages_overlap_is_refused(
    into_a_folder: Any, api: Sandbox, kind: Any, strategy: Any
) -> None:
    """Tables of these formats know upsert alone, of dlt's: 350 jobs were 400 rows."""
    source = apiframe_source()
    source.jobs.apply_hints(table_format=kind, write_disposition={"disposition": "merge", "strategy": strategy})
    with pytest.raises(PipelineStepFailed, match="delete-insert"):
        into_a_folder.run(source)
    assert not api.requests
