"""Inputs of jobs: off unless asked for, each settled job asked for once, nothing stored that is not to be kept."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from support import query, runs
from test_crashes import killed

from pipelines.apiframe.answers import NotFoundError
from pipelines.apiframe.client import Client
from pipelines.apiframe.inputs import FAULTS, Kept
from pipelines.sandbox import REMOVED, Sandbox
from pipelines.settings import Settings
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
    assert "job_inputs could not be read" in sync(here).notes[0]
    assert job not in inputs(here)


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
