"""The sandbox speaks the published protocol, and its jobs live as real ones do."""

import io
import json
import re
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests
from openapi_schema_validator import OAS31Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from pipelines.sandbox import REMOVED, Sandbox, serve

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
DOCUMENT = json.loads(Path(__file__).with_name("openapi-jobs.json").read_text())
UNKNOWN_ID = "a1b2c3d4-e5f6-4890-abcd-ef1234567890"


@pytest.fixture(scope="module")
def still() -> Iterator[Sandbox]:
    """A sandbox that no test changes."""
    with Sandbox(jobs=700, now=NOW) as api:
        yield api


@pytest.fixture
def api() -> Iterator[Sandbox]:
    with Sandbox(jobs=30, now=NOW) as api:
        yield api


def get(api: Sandbox, path: str = "/jobs", key: str | None = None, **query: Any) -> requests.Response:
    headers = {"X-API-Key": api.api_key if key is None else key}
    return requests.get(api.base_url + path, params=query, headers=headers, timeout=20)


def walk(api: Sandbox, key: str | None = None, **query: Any) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = []
    query = {"limit": 100} | query
    page: dict[str, Any] = {"hasMore": True}
    while page["hasMore"]:
        page = get(api, key=key, **query).json()
        jobs += page["jobs"]
        query["cursor"] = page["nextCursor"]
    return jobs


def job(api: Sandbox, job_id: str) -> dict[str, Any]:
    served = get(api, f"/jobs/{job_id}").json()
    del served["input"]
    return served


def conforms(answer: Any, schema: str) -> None:
    registry = Registry().with_resource("urn:api", DRAFT202012.create_resource(DOCUMENT))
    reference = {"$ref": f"urn:api#/components/schemas/{schema}"}
    OAS31Validator(reference, registry=registry, format_checker=OAS31Validator.FORMAT_CHECKER).validate(answer)


# The published document


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("/jobs?limit=100", "JobList"),
        ("/jobs?limit=100&scope=team&include_models=true", "JobList"),
        ("/jobs?status=FAILED&limit=100", "JobList"),
        ("/jobs?limit=0", "ValidationError"),
        (f"/jobs/{UNKNOWN_ID}", "ErrorResponse"),
        ("/me", "Me"),
        ("/models", "ModelCatalog"),
        ("/models?modality=poem", "ValidationError"),
    ],
)
def test_answers_are_valid_against_the_published_document(still: Sandbox, path: str, schema: str) -> None:
    conforms(get(still, path).json(), schema)


def test_a_job_at_any_age_is_valid_against_the_published_document(api: Sandbox) -> None:
    ids = api.add(20)
    for seconds in (0, 5, 10, 20, 60, 120, 90_000):
        api.advance(timedelta(seconds=seconds))
        for job_id in ids:
            conforms(get(api, f"/jobs/{job_id}").json(), "Job")


# The list


def test_pages_cover_the_listing_exactly_newest_first(still: Sandbox) -> None:
    listed = still.listing()
    assert len(listed) == 700
    assert walk(still) == listed
    keys = [(each["createdAt"], each["id"]) for each in listed]
    assert keys == sorted(set(keys), reverse=True)


def test_pages_cover_jobs_that_share_their_created_at(api: Sandbox) -> None:
    ids = api.add(25, created_at=NOW - timedelta(minutes=1))
    walked = [each["id"] for each in walk(api, limit=4)]
    assert walked == [each["id"] for each in api.listing()]
    assert [each for each in walked if each in ids] == sorted(ids, reverse=True)


@pytest.mark.parametrize("limit", [1, 20, 99, 100])
def test_limit_is_the_size_of_a_page(still: Sandbox, limit: int) -> None:
    assert len(get(still, limit=limit).json()["jobs"]) == limit


def test_twenty_jobs_are_a_page_by_default(still: Sandbox) -> None:
    assert len(get(still).json()["jobs"]) == 20


def test_the_last_page_has_no_cursor_even_when_it_is_full(api: Sandbox) -> None:
    page = get(api, limit=30).json()
    assert (len(page["jobs"]), page["hasMore"], page["nextCursor"]) == (30, False, None)


def test_an_empty_account_has_one_empty_page() -> None:
    with Sandbox(jobs=0, now=NOW) as api:
        assert get(api).json() == {"jobs": [], "nextCursor": None, "hasMore": False}
        assert api.live_on(timedelta(days=1)) == 0


@pytest.mark.parametrize("status", ["QUEUED", "PROCESSING", "COMPLETED", "FAILED", "CANCELLED"])
def test_status_narrows_the_list_to_what_is_served_with_it(api: Sandbox, status: str) -> None:
    api.add(40)
    for seconds in (0, 8, 30, 300):
        api.advance(timedelta(seconds=seconds))
        assert walk(api, status=status) == [each for each in api.listing() if each["status"] == status]


def test_model_and_status_narrow_together(still: Sandbox) -> None:
    wanted = {"model": "midjourney", "status": "FAILED"}
    expected = [each for each in still.listing() if wanted.items() <= each.items()]
    assert expected
    assert walk(still, **wanted) == expected
    assert walk(still, model="no-such-model") == []


def test_search_finds_the_one_job_with_the_id(still: Sandbox) -> None:
    wanted = still.listing()[321]
    assert walk(still, search=wanted["id"]) == [wanted]
    assert walk(still, search=wanted["id"].upper()) == [wanted]
    assert walk(still, search=wanted["id"], status=wanted["status"], model=wanted["model"]) == [wanted]
    assert walk(still, search=wanted["id"], status="QUEUED") == []
    assert walk(still, search=wanted["id"], model="no-such-model") == []
    assert walk(still, search=wanted["id"], key=still.member_key) == []
    assert walk(still, search=UNKNOWN_ID) == []


def test_models_are_listed_only_when_asked_for(still: Sandbox) -> None:
    assert "models" not in get(still, include_models="false").json()
    models = get(still, include_models="true", limit=1).json()["models"]
    assert models == sorted({each["model"] for each in still.listing()})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("status", "DONE"),
        ("status", "completed"),
        ("status", ""),
        ("limit", "0"),
        ("limit", "101"),
        ("limit", "-1"),
        ("limit", "abc"),
        ("limit", "1.5"),
        ("limit", ""),
        ("limit", "\N{ARABIC-INDIC DIGIT ONE}"),
        ("scope", "everyone"),
        ("search", "not-a-uuid"),
        ("search", UNKNOWN_ID.replace("-", "")),
        ("include_models", "yes"),
        ("cursor", ""),
        ("cursor", "abc"),
        ("cursor", "eyJpZCI6Ii4uLiJ9"),
        ("cursor", "ü"),
    ],
)
def test_a_bad_parameter_is_refused_by_name(still: Sandbox, field: str, value: str) -> None:
    answer = get(still, **{field: value})
    assert answer.status_code == 400
    conforms(answer.json(), "ValidationError")
    assert list(answer.json()["details"]) == [field]


def test_a_parameter_given_twice_is_refused(still: Sandbox) -> None:
    assert get(still, limit=["1", "2"]).status_code == 400


def test_unknown_parameters_are_ignored(still: Sandbox) -> None:
    assert get(still, since=["2026-01-01", "2026-02-01"]).json() == get(still).json()


def test_a_cursor_is_opaque_and_cannot_be_made_up(still: Sandbox) -> None:
    cursor = get(still).json()["nextCursor"]
    assert re.fullmatch(r"[A-Za-z0-9_-]+", cursor)
    for forged in (cursor[:-2], "A" + cursor[1:], cursor + "A", cursor[::-1]):
        assert get(still, cursor=forged).status_code == 400


def test_a_cursor_stays_good_while_jobs_are_born_and_deleted(api: Sandbox) -> None:
    first = get(api, limit=10).json()
    expected = api.listing()[10:20]
    api.add(5)
    api.delete([first["jobs"][-1]["id"]])
    assert get(api, limit=10, cursor=first["nextCursor"]).json()["jobs"] == expected


# Who asks


def test_scope_team_shows_the_other_member_too(still: Sandbox) -> None:
    own, team = still.listing(), still.listing("team")
    assert walk(still, scope="user") == own
    assert walk(still, scope="team") == team
    others = walk(still, key=still.member_key)
    assert len(own) + len(others) == len(team)
    assert {each["id"] for each in own + others} == {each["id"] for each in team}
    assert len(others) / len(team) == pytest.approx(0.15, abs=0.01)


def test_a_job_of_another_user_is_not_found(still: Sandbox) -> None:
    theirs = walk(still, key=still.member_key)[0]["id"]
    assert get(still, f"/jobs/{theirs}").status_code == 404
    assert get(still, f"/jobs/{theirs}", key=still.member_key).status_code == 200


@pytest.mark.parametrize("path", ["/jobs", f"/jobs/{UNKNOWN_ID}", "/me"])
def test_a_key_is_required_known_and_active(still: Sandbox, path: str) -> None:
    def refusal(**headers: str) -> tuple[int, str]:
        answer = requests.get(still.base_url + path, headers=headers, timeout=20)
        return answer.status_code, answer.json()["error"]

    assert refusal() == (401, "API key is required")
    assert refusal(**{"X-API-Key": "afk_wrong"}) == (401, "Invalid API key")
    assert refusal(**{"X-API-Key": still.inactive_key}) == (403, "API key is inactive")
    assert refusal(Authorization=f"Bearer {still.api_key}")[0] == 401


def test_only_an_admin_may_see_the_team(still: Sandbox) -> None:
    assert get(still, scope="team", key=still.member_key).status_code == 403


def test_me_tells_the_caller_and_the_balance(still: Sandbox) -> None:
    admin, member = get(still, "/me").json(), get(still, "/me", key=still.member_key).json()
    assert (admin["user"]["role"], member["user"]["role"]) == ("ADMIN", "MEMBER")
    assert admin["team"] == member["team"]
    assert still.api_key.startswith(admin["apiKey"]["prefix"])


def test_a_second_key_is_of_the_same_account_and_a_hosted_one_of_another(api: Sandbox) -> None:
    first, second = (get(api, "/me", key=key).json() for key in (api.api_key, api.second_key))
    assert (first["user"], first["team"]) == (second["user"], second["team"])
    assert first["apiKey"] != second["apiKey"]
    assert get(api, key=api.second_key).json() == get(api).json()
    other = Sandbox(jobs=3, seed=99)
    api.host(other)
    theirs = get(api, "/me", key=other.api_key).json()
    assert theirs["user"]["id"] != first["user"]["id"]
    assert theirs["team"]["id"] != first["team"]["id"]
    assert [job["id"] for job in get(api, key=other.api_key).json()["jobs"]] == [job["id"] for job in other.listing()]


def test_an_account_may_have_no_team_and_the_date_may_be_wrong(api: Sandbox) -> None:
    api.skew = timedelta(days=2)
    api.fault("no_team", path="/me")
    answer = get(api, "/me")
    assert answer.json()["team"] is None
    assert parsedate_to_datetime(answer.headers["Date"]) == (api.now + timedelta(days=2)).replace(microsecond=0)


def test_the_balance_falls_as_jobs_are_made(api: Sandbox) -> None:
    before = get(api, "/me").json()["team"]["credits"]
    api.add(10)
    assert get(api, "/me").json()["team"]["credits"] < before


def test_models_are_public_and_filtered_by_modality(still: Sandbox) -> None:
    models = requests.get(f"{still.base_url}/models", timeout=20).json()["models"]
    assert {model["modality"] for model in models} == {"image", "video", "music"}
    music = get(still, "/models", key="", modality="music").json()["models"]
    assert music == [model for model in models if model["modality"] == "music"]
    assert {each["model"] for each in still.listing()} <= {model["id"] for model in models}


# HTTP


def test_one_job_is_the_listed_one_with_its_input(still: Sandbox) -> None:
    listed = still.listing()[5]
    served = get(still, f"/jobs/{listed['id']}").json()
    assert served.pop("input")["prompt"]
    assert served == listed


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/jobs/{UNKNOWN_ID}", 404),
        ("/jobs/nonsense", 400),
        ("/jobs/", 404),
        ("/nothing", 404),
        ("/../x", 404),
    ],
)
def test_what_is_not_there_is_refused_in_json(still: Sandbox, path: str, status: int) -> None:
    answer = get(still, path)
    assert answer.status_code == status
    conforms(answer.json(), "ErrorResponse")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
def test_other_methods_are_refused_with_what_is_allowed(still: Sandbox, method: str) -> None:
    answer = requests.request(method, f"{still.base_url}/jobs", data=b"{}", timeout=20)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")
    conforms(answer.json(), "ErrorResponse")


def test_head_is_get_without_the_body(still: Sandbox) -> None:
    headers = {"X-API-Key": still.api_key}
    answer = requests.head(f"{still.base_url}/jobs", headers=headers, timeout=20)
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["Content-Length"]) == len(get(still).content)


def test_every_answer_has_a_request_id_and_the_sandboxs_date(still: Sandbox) -> None:
    answers = [
        get(still),
        get(still, "/nothing"),
        get(still, limit=0),
        requests.post(still.base_url, timeout=20),
    ]
    assert len({answer.headers["x-request-id"] for answer in answers}) == len(answers)
    assert {parsedate_to_datetime(answer.headers["Date"]) for answer in answers} == {NOW}


def test_a_connection_is_kept(still: Sandbox) -> None:
    with requests.Session() as session:
        connections = set()
        for _ in range(3):
            with session.get(f"{still.base_url}/models", timeout=20, stream=True) as answer:
                connections.add(answer.raw.connection.sock.getsockname())
                assert answer.content
    assert len(connections) == 1


def test_eight_clients_at_once_all_see_the_same(still: Sandbox) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: walk(still), range(8))) == [still.listing()] * 8


def test_a_taken_port_is_an_os_error(still: Sandbox) -> None:
    with pytest.raises(OSError, match="in use"):
        Sandbox(jobs=0, port=int(still.base_url.split(":")[2].split("/")[0])).start()


def test_a_closed_sandbox_leaves_neither_connection_nor_thread() -> None:
    with Sandbox(jobs=0) as api, requests.Session() as session:
        before = set(threading.enumerate())
        url = f"{api.base_url}/models"
        assert session.get(url, timeout=20).ok
        during = set(threading.enumerate()) - before
        api.close()
        assert not any(thread.is_alive() for thread in during)
        with pytest.raises(requests.ConnectionError):
            requests.get(url, timeout=20)


# The lives of jobs


def test_the_clock_stands_still_unless_it_is_moved(api: Sandbox) -> None:
    assert api.now == NOW
    api.advance(timedelta(hours=1, milliseconds=5))
    assert api.now == NOW + timedelta(hours=1, milliseconds=5)
    with pytest.raises(ValueError, match="back"):
        api.advance(timedelta(seconds=-1))


def test_a_live_sandbox_follows_real_time() -> None:
    api = Sandbox(jobs=10, live=True)
    first = api.now
    while api.now == first:
        threading.Event().wait(0.001)
    assert first < api.now <= datetime.now(UTC) + timedelta(seconds=1)


def test_jobs_go_from_queued_to_processing_to_an_end_and_no_other_way(api: Sandbox) -> None:
    rank = {"QUEUED": 0, "PROCESSING": 1, "COMPLETED": 2, "FAILED": 2, "CANCELLED": 2}
    ids = api.add(200)
    lives = []
    for _ in range(80):
        listed = {each["id"]: each for each in api.listing()}
        lives.append([listed[job_id] for job_id in ids])
        api.advance(timedelta(seconds=5))
    for life in zip(*lives, strict=True):
        for before, after in pairwise(life):
            assert rank[before["status"]] <= rank[after["status"]]
            assert before["createdAt"] == after["createdAt"]
            if after["status"] in ("QUEUED", "PROCESSING"):
                assert before["progress"] <= after["progress"] < 100
                assert (after["result"], after["error"], after["completedAt"]) == (None, None, None)
    assert {each["status"] for states in lives for each in states} == set(rank)


def test_a_job_takes_as_long_as_its_modality(still: Sandbox) -> None:
    modality = {model["id"]: model["modality"] for model in get(still, "/models").json()["models"]}
    bounds = {"image": (10, 60), "video": (60, 300), "music": (30, 120)}
    for each in still.listing():
        if each["status"] == "COMPLETED":
            created, completed = (datetime.fromisoformat(each[at]) for at in ("createdAt", "completedAt"))
            least, most = bounds[modality[each["model"]]]
            assert least <= (completed - created).total_seconds() <= most


def test_a_failure_is_refunded_and_explained(still: Sandbox) -> None:
    failed = walk(still, status="FAILED")
    assert {each["creditCost"] for each in failed} == {0, None}
    assert all(each["error"] and each["result"] is None for each in failed)
    assert {each["completedAt"] is None for each in failed} == {True, False}
    assert all(each["error"] is None for each in walk(still, status="COMPLETED"))


def test_the_credit_cost_stands_while_a_job_is_open_and_drops_when_it_fails(api: Sandbox) -> None:
    [job_id] = api.add(1, status="PROCESSING", model="midjourney")
    assert job(api, job_id)["creditCost"] == 10
    api.finish([job_id], "FAILED")
    assert not job(api, job_id)["creditCost"]


def test_a_webhook_is_pending_until_some_seconds_after_the_end(api: Sandbox) -> None:
    ids = api.add(90, status="PROCESSING")
    assert {job(api, job_id)["webhookStatus"] for job_id in ids} == {"pending", None}
    api.finish(ids)
    ended = {job_id: job(api, job_id)["webhookStatus"] for job_id in ids}
    assert set(ended.values()) == {"pending", None}
    share = sum(status is not None for status in ended.values()) / len(ids)
    assert share == pytest.approx(1 / 3, abs=0.2)
    api.advance(timedelta(minutes=1))
    assert {job(api, job_id)["webhookStatus"] for job_id in ids} <= {"delivered", "failed", None}


def test_assets_of_a_completed_job_expire_a_day_after_it_ended(api: Sandbox) -> None:
    done, failed = api.add(2, status="PROCESSING")
    api.finish([done])
    api.finish([failed], "FAILED")
    api.advance(timedelta(hours=24, milliseconds=-1))
    assert [job(api, each)["expired"] for each in (done, failed)] == [False, False]
    assert not next(each for each in walk(api) if each["id"] == done)["expired"]
    api.advance(timedelta(milliseconds=1))
    assert [job(api, each)["expired"] for each in (done, failed)] == [True, False]
    assert next(each for each in walk(api) if each["id"] == done)["expired"]


def test_results_come_in_every_documented_shape() -> None:
    jobs = Sandbox(jobs=5000, now=NOW).listing()
    results = [each["result"] for each in jobs if each["status"] == "COMPLETED"]
    shapes = {type(result) if not isinstance(result, dict) else frozenset(result) for result in results}
    assert shapes == {
        type(None),
        str,
        frozenset({"images"}),
        frozenset({"images", "gridUrl"}),
        frozenset({"videoUrl"}),
        frozenset({"videos"}),
        frozenset({"tracks"}),
    }
    tracks = [track for each in results if isinstance(each, dict) for track in each.get("tracks", [])]
    assert all(track["audioUrl"] for track in tracks)
    assert {"imageUrl" in track for track in tracks} == {True, False}


def test_few_jobs_are_stuck_for_days() -> None:
    stuck = 0
    for each in Sandbox(jobs=20_000, now=NOW).listing():
        ended, created = each["completedAt"], datetime.fromisoformat(each["createdAt"])
        stuck += bool(ended) and datetime.fromisoformat(ended) - created > timedelta(days=1)
    assert 2 <= stuck <= 25


def test_one_model_had_a_bad_day_at_its_provider() -> None:
    days: dict[str, list[dict[str, Any]]] = {}
    for each in Sandbox(jobs=20_000, now=NOW).listing():
        if each["model"] == "kling-2.6":
            days.setdefault(each["createdAt"][:10], []).append(each)
    failed = {day: [each for each in jobs if each["status"] == "FAILED"] for day, jobs in days.items()}
    rates = {day: len(failed[day]) / len(jobs) for day, jobs in days.items()}
    bad = max(rates, key=rates.__getitem__)
    assert bad == "2026-10-20"
    assert rates[bad] > 0.4
    assert sorted(rates.values())[len(rates) // 2] < 0.2
    assert all("provider" in each["error"].lower() for each in failed[bad])


@pytest.mark.parametrize(("mix", "models", "largest"), [("equal", 10, 0.1), ("one60", 10, 0.6)])
def test_a_mix_sets_the_shares_of_models(mix: str, models: int, largest: float) -> None:
    shares = Counter(each["model"] for each in Sandbox(jobs=5000, now=NOW, mix=mix).listing())
    assert len(shares) == models
    assert shares.most_common(1)[0][1] / 5000 == pytest.approx(largest, abs=0.03)


def test_a_changed_mix_shares_no_model_between_its_halves() -> None:
    models = [each["model"] for each in Sandbox(jobs=2000, now=NOW, mix="changed").listing()]
    assert not set(models[:900]) & set(models[-900:])


def test_an_unknown_mix_is_an_error() -> None:
    with pytest.raises(ValueError, match="mix"):
        Sandbox(jobs=1, mix="odd")


def test_the_same_arguments_give_the_same_jobs() -> None:
    def story(seed: int) -> tuple[list[dict[str, Any]], list[str], int]:
        api = Sandbox(jobs=300, seed=seed, now=NOW)
        ids = api.add(20)
        born = api.live_on(timedelta(days=2))
        return api.listing("team"), ids, born

    assert story(7) == story(7)
    assert story(7) != story(8)


# What tests and the demo do to it


def test_added_jobs_are_the_newest_and_their_ids_come_newest_last(api: Sandbox) -> None:
    for count in (250, 1, 3):
        ids = api.add(count)
        newest = api.listing()[:count]
        assert [each["id"] for each in newest] == ids[::-1]
        assert len({each["createdAt"] for each in newest}) == count
        assert all(datetime.fromisoformat(each["createdAt"]) <= NOW for each in newest)


def test_a_job_may_become_visible_late(api: Sandbox) -> None:
    moment = NOW - timedelta(days=3, milliseconds=1)
    one, two = *api.add(1, created_at=moment), *api.add(1, createdAt="2026-10-30T11:59:59.999Z")
    listed = api.listing()
    assert walk(api) == listed
    created = {each["id"]: each["createdAt"] for each in listed}
    assert created[one] == created[two] == "2026-10-30T11:59:59.999Z"
    assert list(created.values()) == sorted(created.values(), reverse=True)


def test_fields_are_served_as_given_unknown_ones_too(api: Sandbox) -> None:
    [job_id] = api.add(1, status="COMPLETED", creditCost=10.5, result={"new": [1]}, workflow="w", error=None)
    served = job(api, job_id)
    assert (served["creditCost"], served["result"], served["workflow"]) == (10.5, {"new": [1]}, "w")
    assert (served["status"], served["progress"]) == ("COMPLETED", 100)
    assert served["completedAt"]
    assert api.listing()[0] == served == walk(api)[0]


def test_a_job_added_open_stays_open_until_it_is_finished(api: Sandbox) -> None:
    queued, running = *api.add(1, status="QUEUED"), *api.add(1, status="PROCESSING")
    api.advance(timedelta(days=40))
    assert [job(api, each)["status"] for each in (queued, running)] == ["QUEUED", "PROCESSING"]
    api.finish([queued, running], "CANCELLED")
    assert {job(api, each)["completedAt"] for each in (queued, running)} == {"2026-12-12T12:00:00.000Z"}
    assert {each["id"] for each in walk(api, status="CANCELLED")} >= {queued, running}


def test_finish_leaves_final_jobs_alone_and_knows_only_ends(api: Sandbox) -> None:
    [job_id] = api.add(1, status="FAILED")
    before = job(api, job_id)
    api.finish([job_id], "COMPLETED")
    assert job(api, job_id) == before
    with pytest.raises(ValueError, match="not an end"):
        api.finish([job_id], "QUEUED")
    with pytest.raises(KeyError):
        api.finish([UNKNOWN_ID])


def test_put_serves_what_it_is_told_and_removed_drops_a_field(api: Sandbox) -> None:
    [job_id] = api.add(1)
    assert walk(api)[0]["id"] == job_id
    api.put(job_id, status="PAUSED", creditCost=None, webhookStatus="sent", model="brand-new", progress=REMOVED)
    served = walk(api)[0]
    assert (served["status"], served["creditCost"], served["webhookStatus"]) == ("PAUSED", None, "sent")
    assert "progress" not in served
    assert walk(api, model="brand-new") == [served]
    assert "brand-new" in get(api, include_models="true").json()["models"]
    api.advance(timedelta(days=1))
    assert walk(api)[0]["status"] == "PAUSED"
    api.put(job_id, id=REMOVED, createdAt=None)
    assert "id" not in walk(api)[0]
    assert walk(api)[0]["createdAt"] is None


def test_put_moves_a_job_between_the_lists_of_statuses(api: Sandbox) -> None:
    [job_id] = api.add(1, status="PROCESSING")
    assert [each["id"] for each in walk(api, status="PROCESSING")] == [job_id]
    api.put(job_id, status="QUEUED")
    assert walk(api, status="PROCESSING") == []
    assert [each["id"] for each in walk(api, status="QUEUED")] == [job_id]


def test_a_deleted_job_is_gone(api: Sandbox) -> None:
    [job_id] = api.add(1)
    api.delete([job_id])
    assert get(api, f"/jobs/{job_id}").status_code == 404
    assert walk(api, search=job_id) == []
    assert len(walk(api)) == len(api.listing()) == 30


def test_living_on_bears_jobs_at_the_usual_rhythm() -> None:
    api = Sandbox(jobs=9000, days=90, now=NOW)
    born = api.live_on(timedelta(days=14))
    assert 1200 < born < 3000
    jobs = api.listing()
    assert len(jobs) == 9000 + born
    assert all(datetime.fromisoformat(each["createdAt"]) > NOW for each in jobs[:born])
    hours = Counter(each["createdAt"][11:13] for each in jobs[:born])
    assert hours["14"] > 3 * hours["03"]


def test_requests_are_recorded_with_path_query_status_and_key(api: Sandbox) -> None:
    get(api, limit=5, status="FAILED")
    get(api, limit=0)
    requests.get(f"{api.base_url}/me", timeout=20)
    seen = [(each.path, each.query, each.status, each.has_key) for each in api.requests]
    assert seen == [
        ("/jobs", {"limit": "5", "status": "FAILED"}, 200, True),
        ("/jobs", {"limit": "0"}, 400, True),
        ("/me", {}, 401, False),
    ]
    assert (api.count(), api.count("/me"), api.count("/models")) == (2, 1, 0)
    api.requests.clear()
    assert api.count() == 0


def test_something_may_happen_before_each_answer(api: Sandbox) -> None:
    api.on_request = lambda _: api.add(1)
    assert [len(get(api, limit=100).json()["jobs"]) for _ in range(3)] == [31, 32, 33]


# The command's hook


def test_serve_says_where_it_is_and_ends_quietly_on_sigterm() -> None:
    class Out(io.StringIO):
        def flush(self) -> None:  # the line is complete: ask, then end it
            facts.update(json.loads(self.getvalue()))
            answers.append(requests.get(f"{facts['base_url']}/me", headers={"X-API-Key": facts["api_key"]}, timeout=20))
            signal.raise_signal(signal.SIGTERM)

    facts: dict[str, str] = {}
    answers: list[requests.Response] = []
    before = signal.getsignal(signal.SIGTERM)
    serve(0, 50, 1, True, Out())
    assert answers[0].status_code == 200
    assert set(facts) == {"base_url", "api_key"}
    assert signal.getsignal(signal.SIGTERM) == before


def test_serve_on_a_taken_port_is_an_os_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        serve(taken.getsockname()[1], 5, 1, False, io.StringIO())
