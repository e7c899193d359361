"""Inputs of jobs: off unless asked for, each settled job asked for once, nothing stored that is not to be kept."""

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from support import query, running, runs
from test_crashes import killed

from pipelines import cli
from pipelines.apiframe.answers import NotFoundError
from pipelines.apiframe.client import Client
from pipelines.apiframe.inputs import FAULTS, Kept
from pipelines.errors import ApiframeWarehouseError, BusyError
from pipelines.inputs import backfill
from pipelines.sandbox import REMOVED, Sandbox
from pipelines.settings import Settings
from pipelines.stores import store_for
from pipelines.sync import sync
from pipelines.tables import job_inputs

Make = Callable[..., Settings]
HOUR = timedelta(hours=1)


@pytest.fixture
def api() -> Iterator[Sandbox]:
    """40 jobs that have ended long ago."""
    with Sandbox(jobs=0) as api:
        for age in range(40):
            api.add(1, status="COMPLETED", webhookStatus=None, created_at=api.now - timedelta(days=20, minutes=age))
        yield api


@pytest.fixture
def here(api: Sandbox, settings_for: Make) -> Settings:
    return settings_for(api, inputs=True)


def asked(api: Sandbox) -> Counter[str]:
    """How often the input of each job was asked for."""
    paths = (request.path for request in api.requests)
    return Counter(path.removeprefix("/jobs/") for path in paths if path.startswith("/jobs/"))


def inputs(chosen: Settings) -> dict[str, Any]:
    """Input by job, or the problem why there is none."""
    found = query(chosen.path, "select id, cast(input as varchar), problem from apiframe.job_inputs")
    by_id = {identity: problem or json.loads(text) for identity, text, problem in found}
    assert len(by_id) == len(found), "an input is in the warehouse twice"
    return by_id


# What is kept

HELD = {"prompt": "a cat", "model": "m", "options": {"seed": 7, "style": {"name": "raw"}}, "images": [{"url": "u"}, 3]}


@pytest.mark.parametrize(
    ("chosen", "kept"),
    [
        ({}, HELD),
        ({"keep": ["model"]}, {"model": "m"}),
        ({"keep": ["options"]}, {"options": HELD["options"]}),
        ({"keep": ["options.seed", "options.style.none", "model.none"]}, {"options": {"seed": 7}}),
        ({"keep": ["images.url", "none"]}, {"images": [{"url": "u"}]}),
        ({"keep": ["seed", "Prompt"]}, {}),
        ({"drop": ["prompt", "options", "images"]}, {"model": "m"}),
        ({"drop": ["prompt", "images", "options.style.name"]}, {"model": "m", "options": {"seed": 7, "style": {}}}),
        ({"drop": ["prompt", "options", "images.url"]}, {"model": "m", "images": [{}, 3]}),
        ({"drop": ["prompt.none", "images.url.none", "none"]}, HELD),
    ],
)
def test_what_is_kept_of_an_input_is_named_by_paths(chosen: Any, kept: Any) -> None:
    assert Kept(**chosen).of(HELD) == kept


def test_nulls_on_the_way_stay_where_something_else_is_dropped() -> None:
    held = {"options": None, "images": [None, {"url": None, "size": None}], "a.b": 1, "a": {"b": 2}}
    dropped = Kept(drop=["options.seed", "images.url", "a.b"]).of(held)
    assert dropped == {"options": None, "images": [None, {"size": None}], "a": {}}


# A sync


@pytest.mark.everywhere
def test_without_the_setting_nothing_is_asked_for(api: Sandbox, settings_for: Make) -> None:
    chosen = settings_for(api)
    sync(chosen)
    assert asked(api) == {}
    assert inputs(chosen) == {}


@pytest.mark.everywhere
def test_each_settled_job_is_asked_for_once_and_then_a_sync_costs_one_request(api: Sandbox, here: Settings) -> None:
    jobs = [job["id"] for job in api.listing()]
    fresh, [running] = api.add(2, status="COMPLETED", webhookStatus=None), api.add(1, status="PROCESSING")
    sync(here)
    assert asked(api) == dict.fromkeys(jobs, 1)
    assert runs(here.path)[-1]["requests"] == len(api.requests)
    api.advance(2 * HOUR)
    sync(here)
    assert asked(api) == dict.fromkeys(jobs + fresh, 1)
    api.finish([running])
    api.advance(2 * HOUR)
    sync(here)
    assert asked(api) == dict.fromkeys([*jobs, *fresh, running], 1)
    api.requests.clear()
    sync(here)
    assert len(api.requests) == 1
    assert {found["aspect_ratio"] for found in inputs(here).values()} == {"16:9", "1:1", "9:16"}
    [(late,)] = query(
        here.path,
        "select count(*) from apiframe.job_inputs join apiframe.jobs using (id) where read_at < completed_at "
        "or read_at is null",
    )
    assert late == 0


def test_the_newest_are_read_first_so_many_a_sync(api: Sandbox, here: Settings) -> None:
    jobs = [job["id"] for job in api.listing()]
    for done in (15, 30, 40, 40):
        sync(replace(here, inputs_per_sync=15))
        assert asked(api) == dict.fromkeys(jobs[:done], 1)
    assert len(inputs(here)) == 40


def test_none_a_sync_leaves_them_all_to_the_command(api: Sandbox, here: Settings) -> None:
    sync(replace(here, inputs_per_sync=0))
    assert asked(api) == {}


@pytest.mark.everywhere
def test_jobs_without_input_and_those_not_found_are_remembered(api: Sandbox, settings_for: Make) -> None:
    none, odd, seen = (job["id"] for job in api.listing()[:3])
    api.put(none, input=None)
    api.put(odd, input=["a cat"])
    [other] = api.add(1, status="COMPLETED", webhookStatus=None, colleague=True)
    api.advance(2 * HOUR)
    chosen = settings_for(api, inputs=True, scope="team")
    for _ in range(2):
        assert not sync(chosen).notes
    found = inputs(chosen)
    assert (found[none], found[odd], found[other]) == ("none", "it is no object", "404: Job not found")
    assert found[seen]["prompt"]
    assert set(asked(api).values()) == {1}


def test_of_the_team_the_own_jobs_alone_are_asked_for_with_scope_user(api: Sandbox, here: Settings) -> None:
    [other] = api.add(1, status="COMPLETED", webhookStatus=None, colleague=True)
    api.advance(2 * HOUR)
    sync(replace(here, scope="team", inputs=False))
    sync(here)
    assert other not in asked(api)
    assert len(asked(api)) == 40


def test_a_job_that_is_listed_no_longer_is_not_asked_for(api: Sandbox, here: Settings) -> None:
    gone = api.listing()[3]["id"]
    sync(replace(here, inputs=False))
    api.delete([gone])
    sync(here, full=True)
    assert len(asked(api)) == 39
    assert gone not in asked(api)


@pytest.mark.everywhere
def test_an_input_is_stored_as_it_was_served_to_the_last_digit(api: Sandbox, here: Settings) -> None:
    held = '{"seed":12345678901234567890123.50,"b":"a\\u0000\\ud83d\\ude00","a":[1e400,-0.10,null,{"ü":true}]}'
    job = api.listing()[0]["id"]
    body = f'{{"id":"{job}","input":{held}}}'
    api.fault("garbage", path=f"/jobs/{job}", body=body.encode())
    sync(here)
    [(text,)] = query(here.path, f"select cast(input as varchar) from apiframe.job_inputs where id = '{job}'")
    assert text == held.replace("\\ud83d\\ude00", "\U0001f600").replace("1e400", "1E+400")


@pytest.mark.parametrize(
    ("option", "kept"),
    [
        ({"inputs_keep": ("seed", "o.a")}, {"seed": 1, "o": {"a": 1}}),
        ({"inputs_drop": ("prompt", "o.a")}, {"seed": 1, "o": {"b": 2}}),
    ],
)
def test_what_is_not_to_be_kept_is_in_no_file(api: Sandbox, here: Settings, option: Any, kept: Any) -> None:
    for job in api.listing():
        api.put(job["id"], input={"prompt": "my-secret-prompt", "seed": 1, "o": {"a": 1, "b": 2}})
    sync(replace(here, **option))
    assert list(inputs(here).values()) == [kept] * 40
    files = [file for file in here.path.parent.rglob("*") if file.is_file()]
    assert here.path in files
    assert not any(b"my-secret-prompt" in file.read_bytes() for file in files)


def test_what_no_program_can_read_is_a_problem(api: Sandbox, here: Settings) -> None:
    job = api.listing()[0]["id"]
    body = f'{{"id":"{job}","input":{{"deep":{"[" * 253}{"]" * 253}}}}}'
    api.fault("garbage", path=f"/jobs/{job}", body=body.encode())
    assert not sync(here).notes
    assert inputs(here)[job] == "nested too deeply"


# Faults


@pytest.mark.parametrize("kind", ["500", "html", "garbage", "reset", "429", "truncated"])
def test_a_fault_that_passes_is_ridden_out(api: Sandbox, here: Settings, kind: str) -> None:
    sync(replace(here, inputs=False))
    api.fault(kind, path="/jobs/*", times=1, **({"retry_after": 0} if kind == "429" else {}))
    assert not sync(here).notes
    assert len(inputs(here)) == 40


@pytest.mark.parametrize("kind", ["500", "html", "403", "429", "reset", "error_body"])
def test_a_fault_that_lasts_ends_the_reading_with_a_note_and_fails_no_sync(
    api: Sandbox, here: Settings, kind: str
) -> None:
    sync(replace(here, inputs=False))
    api.fault(kind, path="/jobs/*", times=None, after=20, **({"retry_after": 3600} if kind == "429" else {}))
    [note] = sync(here).notes[:1]
    assert note.startswith("job_inputs could not be read: ")
    assert api.api_key not in note
    assert len(inputs(here)) == 20, "what was read is kept"
    assert sum(asked(api).values()) <= 20 + 2 * (FAULTS + here.workers), "and nothing more is asked for"
    api.clear_faults()
    api.requests.clear()
    assert not sync(here).notes
    assert len(asked(api)) == 20
    assert len(inputs(here)) == 40


def test_a_job_that_can_never_be_read_keeps_no_other_out(api: Sandbox, here: Settings) -> None:
    bad = api.listing()[2]["id"]
    api.fault("500", path=f"/jobs/{bad}", times=None)
    for _ in range(2):
        [note] = sync(here).notes
        assert bad in note
    assert len(inputs(here)) == 39
    assert {job: count for job, count in asked(api).items() if count > 1} == {bad: 4}


def test_an_answer_without_the_field_is_not_taken_for_a_job_without_input(api: Sandbox, here: Settings) -> None:
    job = api.listing()[0]["id"]
    api.put(job, input=REMOVED)
    [note] = sync(here).notes
    assert "not with what the API documents" in note
    assert job not in inputs(here)
    assert len(inputs(here)) == 39


def test_a_404_of_somebody_who_knows_nothing_of_jobs_is_not_remembered(
    api: Sandbox, here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers(*_: Any) -> None:
        raise NotFoundError("a proxy answered 404", status=404)

    monkeypatch.setattr(Client, "job", answers)
    assert sync(here).notes == ["job_inputs could not be read: a proxy answered 404"]
    assert inputs(here) == {}


# Kills

STORE = "pipelines.stores.duckdb:DuckDBStore"
MOMENTS: dict[str, dict[str, Any]] = {
    "before the first are stored": {"place": f"{STORE}.write", "text": "name='job_inputs'"},
    "second chunk": {"place": f"{STORE}.write", "text": "name='job_inputs'", "number": 2},
    "second chunk stored": {"place": "pipelines.tables.job_inputs:_store", "number": 2, "after": True},
    "before it is recorded": {"place": f"{STORE}.write", "text": "name='sync_runs'"},
    "before publishing": {"place": f"{STORE}.publish"},
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_sync_that_is_killed_asks_again_for_one_chunk_at_most(api: Sandbox, here: Settings, moment: str) -> None:
    killed(here, **MOMENTS[moment])
    assert asked(api)
    sync(here)
    assert len(inputs(here)) == len(asked(api)) == 40
    assert max(asked(api).values()) <= 2
    assert sum(asked(api).values()) - 40 <= job_inputs.CHUNK + here.workers
    if "record" in moment or "publishing" in moment:
        assert sum(asked(api).values()) == 40


# The command


def command(*options: str, exit_code: int = 0) -> Any:
    """What it prints, decoded, or the error it ends with."""
    done = CliRunner().invoke(cli.cli, ["inputs", "--json", *options])
    if exit_code:
        assert isinstance(done.exception, ApiframeWarehouseError)
        assert done.exception.exit_code == exit_code
        return str(done.exception)
    assert done.exception is None, done.exception
    return json.loads(done.output)


@pytest.fixture
def configured(api: Sandbox, here: Settings, destination: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The same settings, as the command finds them; one sync without inputs has ended well."""
    for name, value in {
        "SOURCES__APIFRAME__API_KEY": api.api_key,
        "SOURCES__APIFRAME__BASE_URL": api.base_url,
        "SOURCES__APIFRAME__INPUTS": "true",
        "SOURCES__APIFRAME__WORKERS": "4",
        "RUNTIME__REQUEST_BACKOFF_FACTOR": "0.01",
        "WAREHOUSE__DESTINATION": destination,
    }.items():
        monkeypatch.setenv(name, value)
    sync(replace(here, inputs=False))
    api.requests.clear()
    return here


@pytest.mark.everywhere
def test_the_command_reads_what_is_missing_and_readers_see_it(api: Sandbox, configured: Settings) -> None:
    api.put(api.listing()[5]["id"], input=None)
    fresh = api.add(1, status="COMPLETED")
    first = command("--limit", "15")
    assert [first[name] for name in ("read", "without", "missing", "requests")] == [14, 1, 25, 15]
    assert len(inputs(configured)) == 15
    rest = command()
    assert [rest[name] for name in ("read", "without", "missing", "requests")] == [25, 0, 0, 25]
    assert set(asked(api).values()) == {1}
    assert fresh[0] not in asked(api)
    assert command()["requests"] == 0
    sync(replace(configured, inputs_per_sync=10**6))
    assert asked(api) == dict.fromkeys(inputs(configured), 1)
    assert len(inputs(configured)) == 40


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("SOURCES__APIFRAME__INPUTS", "false", "set inputs = true under [sources.apiframe]"),
        ("WAREHOUSE__PATH", "elsewhere/w.duckdb", "there is no warehouse at"),
        ("SOURCES__APIFRAME__API_KEY", "", "no API key"),
        ("SOURCES__APIFRAME__INPUTS_KEEP", "a", "set one of them, not both"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_asks_for_nothing(
    api: Sandbox, configured: Settings, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str
) -> None:
    monkeypatch.setenv("SOURCES__APIFRAME__INPUTS_DROP", "prompt")
    monkeypatch.setenv(variable, value)
    assert told in command(exit_code=2)
    assert not api.requests
    assert not (configured.project / "elsewhere").exists()


def test_the_key_of_another_account_is_refused_before_anything_is_asked_for(
    api: Sandbox, configured: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox(jobs=3, seed=7) as other:
        api.host(other)
        monkeypatch.setenv("SOURCES__APIFRAME__API_KEY", other.api_key)
        assert "belongs to" in command(exit_code=2)
        monkeypatch.setenv("SOURCES__APIFRAME__BASE_URL", other.base_url)
        assert "set another warehouse.path" in command(exit_code=2)
    assert asked(api) == asked(other) == {}


def test_a_warehouse_in_use_is_busy(configured: Settings) -> None:
    with store_for(configured).lock(0), pytest.raises(BusyError):
        backfill(configured, wait=0.1)


@pytest.mark.parametrize(("kind", "exit_code"), [("500", 1), ("401", 3)])
def test_an_error_keeps_what_was_read_and_says_so(
    api: Sandbox, configured: Settings, monkeypatch: pytest.MonkeyPatch, kind: str, exit_code: int
) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", "2")
    api.fault("500" if kind == "500" else "403", path="/jobs/*", times=None, after=20)
    told = command(exit_code=exit_code)
    assert "20 inputs read before that, kept; run it again" in told
    assert len(inputs(configured)) == 20
    api.clear_faults()
    assert command()["read"] == 20


def test_an_interrupt_keeps_and_publishes_what_it_has(api: Sandbox, configured: Settings) -> None:
    def interrupted(done: int, _: int) -> None:
        if done == 21:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backfill(configured, on_input=interrupted)
    assert len(inputs(configured)) == 21
    backfill(configured)
    assert len(inputs(configured)) == 40
    assert sum(asked(api).values()) <= 40 + configured.workers


def test_how_long_it_takes_is_told(configured: Settings, api: Sandbox) -> None:
    told: list[tuple[int, int]] = []
    backfill(configured, limit=30, on_input=lambda done, wanted: told.append((done, wanted)))
    assert told == [(done, 30) for done in range(1, 31)]


def test_a_sync_that_was_cut_short_is_not_shown_to_readers(
    api: Sandbox, configured: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise ApiframeWarehouseError("cut short")

    api.add(5, status="PROCESSING")
    with monkeypatch.context() as patched:
        patched.setattr("pipelines.sync.conductor._Sync._record", fails)
        with pytest.raises(ApiframeWarehouseError, match="cut short"):
            sync(configured)
    before = configured.path.read_bytes()
    assert command()["published"] is False
    assert configured.path.read_bytes() == before
    api.requests.clear()
    sync(configured)
    assert len(inputs(configured)) == 40
    assert asked(api) == {}, "they were kept"


def _backfill_until(chosen: Settings, after: bool) -> None:
    original = job_inputs._store

    def store(*arguments: Any) -> None:
        if after:
            original(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    job_inputs._store = store
    backfill(chosen)


@pytest.mark.everywhere
@pytest.mark.parametrize("after", [False, True])
def test_a_command_that_is_killed_again_and_again_goes_on(api: Sandbox, configured: Settings, after: bool) -> None:
    for _ in range(2):
        with running(_backfill_until, configured, after) as process:
            process.join(60)
            assert process.exitcode == -signal.SIGKILL
    backfill(configured)
    assert len(inputs(configured)) == len(asked(api)) == 40
    assert sum(asked(api).values()) - 40 <= 2 * (job_inputs.CHUNK + configured.workers)


# By path


@pytest.mark.everywhere
def test_spend_by_a_path_of_the_input(api: Sandbox, here: Settings) -> None:
    one, two, three = (job["id"] for job in api.listing()[:3])
    for job, found, cost in (
        (one, {"size": "1:1", "o": {"list": [1, {"a": "b"}], "raw": True, "none": None, "e": {}}}, 5),
        (two, {"size": "1:1", "text": "a\0b \\u0000", "a.b": {"c": 0.5}}, 7),
        (three, {"size": "9:16"}, 0.25),
    ):
        api.put(job, input=found, creditCost=cost)
    sync(here)
    spent = "select value, cast(sum(credits) as varchar) from reports.input_values where path = 'size' group by value"
    assert dict(query(here.path, spent)) == {"1:1": "12.0000", "9:16": "0.2500"}
    found = query(here.path, f"select path, value from reports.input_values where id in ('{one}', '{two}')")
    values = {path: value and value.replace("\ufffd", "\0") for path, value in found}  # Postgres has no NUL
    assert values == {
        "size": "1:1",
        "o.list": '[1,{"a":"b"}]',
        "o.raw": "true",
        "o.none": None,
        "text": "a\0b \\u0000",
        "a.b.c": "0.5",
    }
