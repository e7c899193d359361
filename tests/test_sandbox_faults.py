"""Each fault that can be ordered from the sandbox, as a client sees it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import requests

from pipelines.sandbox import Sandbox

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)


@pytest.fixture
def api() -> Iterator[Sandbox]:
    with Sandbox(jobs=60, now=NOW) as api:
        yield api


def get(api: Sandbox, path: str = "/jobs", timeout: float = 20, **query: Any) -> requests.Response:
    return requests.get(
        api.base_url + path,
        params=query,
        headers={"X-API-Key": api.api_key},
        timeout=timeout,
        allow_redirects=False,
    )


def walk(api: Sandbox, **query: Any) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = []
    page: dict[str, Any] = {"hasMore": True}
    while page["hasMore"]:
        page = get(api, limit=7, **query).json()
        jobs += page["jobs"]
        query["cursor"] = page["nextCursor"]
    return jobs


def pages(api: Sandbox, number: int) -> list[dict[str, Any]]:
    """The first pages of the list, seven jobs each."""
    found: list[dict[str, Any]] = []
    for _ in range(number):
        cursor = {"cursor": found[-1]["nextCursor"]} if found else {}
        found.append(get(api, limit=7, **cursor).json())
    return found


# Faults of transport and status


@pytest.mark.parametrize("kind", ["500", "502", "503"])
def test_a_server_error_comes_with_an_error_text(api: Sandbox, kind: str) -> None:
    api.fault(kind)
    answer = get(api)
    assert answer.status_code == int(kind)
    assert answer.json()["error"]
    assert "Retry-After" not in answer.headers
    assert get(api).status_code == 200


@pytest.mark.parametrize(("options", "expected"), [({}, "1"), ({"retry_after": 7}, "7"), ({"retry_after": None}, None)])
def test_429_says_when_to_come_back(api: Sandbox, options: dict[str, Any], expected: str | None) -> None:
    api.fault("429", **options)
    answer = get(api)
    assert (answer.status_code, answer.headers.get("Retry-After")) == (429, expected)


def test_timeout_hangs_until_the_client_goes_away(api: Sandbox) -> None:
    api.fault("timeout")
    with pytest.raises(requests.ReadTimeout):
        get(api, timeout=0.1)
    assert api.requests[0].status == 0
    assert get(api).status_code == 200


def test_timeout_may_end_by_itself(api: Sandbox) -> None:
    api.fault("timeout", seconds=0.02)
    with pytest.raises(requests.ConnectionError):
        get(api)


def test_reset_breaks_the_connection(api: Sandbox) -> None:
    api.fault("reset")
    with pytest.raises(requests.ConnectionError, match="reset"):
        get(api)
    assert get(api).status_code == 200


def test_truncated_is_a_body_shorter_than_its_length(api: Sandbox) -> None:
    api.fault("truncated")
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        get(api)


def test_html_is_a_page_with_status_200(api: Sandbox) -> None:
    api.fault("html")
    answer = get(api)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html")
    with pytest.raises(requests.JSONDecodeError):
        answer.json()


def test_error_body_is_an_error_with_status_200(api: Sandbox) -> None:
    api.fault("error_body")
    answer = get(api)
    assert answer.status_code == 200
    assert list(answer.json()) == ["error"]


def test_redirect_leads_elsewhere(api: Sandbox) -> None:
    api.fault("redirect")
    api.fault("redirect", location="https://example.com/")
    assert [(get(api).status_code, get(api).headers["Location"])] == [(302, "https://example.com/")]


# Faults of a page


def test_missing_cursor_claims_more_without_saying_where(api: Sandbox) -> None:
    api.fault("missing_cursor")
    page = get(api).json()
    assert (page["hasMore"], page["nextCursor"], len(page["jobs"])) == (True, None, 20)


def test_repeated_cursor_comes_round_again(api: Sandbox) -> None:
    cursor = get(api).json()["nextCursor"]
    api.fault("repeated_cursor", times=2)
    assert get(api, cursor=cursor).json()["nextCursor"] == cursor
    again = get(api).json()["nextCursor"]
    assert get(api, cursor=again).json()["jobs"] == api.listing()[:20]


@pytest.mark.parametrize("cursors", ["position", "offset"])
def test_repeated_cursor_may_be_one_of_earlier_pages(api: Sandbox, cursors: str) -> None:
    api.cursors = cursors
    led = [None, *(page["nextCursor"] for page in pages(api, 3))]
    for back in (1, 2):
        api.fault("repeated_cursor", after=3, back=back)
        *_, last = pages(api, 4)
        assert last["nextCursor"] == led[3 - back]
    api.fault("repeated_cursor", back=1)
    first = get(api).json()
    assert get(api, cursor=first["nextCursor"]).json()["jobs"] == first["jobs"]


def test_no_jobs_is_a_page_without_the_list(api: Sandbox) -> None:
    api.fault("no_jobs")
    assert list(get(api).json()) == ["nextCursor", "hasMore"]


def test_unordered_is_a_page_upside_down(api: Sandbox) -> None:
    api.fault("unordered")
    assert get(api).json()["jobs"] == api.listing()[:20][::-1]


def test_an_empty_page_can_be_ridden_through(api: Sandbox) -> None:
    api.fault("empty_page", times=2)
    api.fault("empty_page", after=3)
    cursors = []
    api.on_request = lambda request: cursors.append(request.query.get("cursor"))
    assert walk(api) == api.listing()
    assert len(set(cursors)) == len(cursors)


def test_an_early_end_is_a_page_that_should_go_on(api: Sandbox) -> None:
    api.fault("early_end", after=1)
    assert walk(api) == api.listing()[:14]
    assert walk(api) == api.listing()


def test_an_early_end_may_lie_at_a_moment_of_the_list_and_hides_no_job_from_a_search(api: Sandbox) -> None:
    shown, hidden = api.listing()[:25], api.listing()[25:]
    api.fault("early_end", None, before=datetime.fromisoformat(shown[-1]["createdAt"]))
    assert walk(api) == shown
    assert walk(api, status="COMPLETED") == [each for each in shown if each["status"] == "COMPLETED"]
    assert get(api, search=hidden[0]["id"]).json()["jobs"] == hidden[:1]
    api.clear_faults()
    api.fault("early_end", None, before=datetime.fromisoformat(shown[-1]["createdAt"]), blind=True)
    assert walk(api) == shown
    assert get(api, search=shown[0]["id"]).json()["jobs"] == []


def test_an_empty_end_says_that_there_is_nothing(api: Sandbox) -> None:
    job = api.listing()[0]
    nothing = {"jobs": [], "nextCursor": None, "hasMore": False}
    api.fault("empty_end", times=2)
    assert get(api).json() == nothing
    assert get(api, search=job["id"]).json() == nothing
    assert get(api, search=job["id"]).json()["jobs"] == [job]


def test_oversize_is_a_page_of_more_than_64_mb_where_many_jobs_are_asked_for(api: Sandbox) -> None:
    api.fault("oversize", None, limit=50)
    assert len(get(api, limit=100).content) > 2**26
    assert get(api, limit=50).json()["jobs"] == api.listing()[:50]


def test_oversize_may_be_one_job(api: Sandbox) -> None:
    listed = api.listing()
    api.fault("oversize", None, job=listed[3]["id"])
    assert get(api, limit=3).json()["jobs"] == listed[:3]
    page = get(api, limit=5).json()["jobs"]
    assert [len(each.pop("error") or "") > 2**26 for each in page] == [False, False, False, True, False]
    assert get(api, search=listed[4]["id"]).json()["jobs"] == [listed[4]]


def test_a_skewed_date_is_the_clock_of_one_answer(api: Sandbox) -> None:
    api.fault("skewed_date", seconds=3 * 3600)
    api.fault("skewed_date", seconds=-86_400)
    dates = [parsedate_to_datetime(get(api).headers["Date"]) - NOW for _ in range(3)]
    assert dates == [timedelta(hours=3), timedelta(days=-1), timedelta(0)]


# Which requests are met


def test_a_fault_meets_the_requests_it_was_ordered_for(api: Sandbox) -> None:
    api.fault("500", times=2, after=1)
    assert [get(api).status_code for _ in range(5)] == [200, 500, 500, 200, 200]


def test_orders_are_served_in_turn_and_counted_apart(api: Sandbox) -> None:
    api.fault("500")
    api.fault("502")
    api.fault("503", after=3)
    assert [get(api).status_code for _ in range(5)] == [500, 502, 200, 503, 200]


def test_a_fault_without_end_stays_until_it_is_cleared(api: Sandbox) -> None:
    api.fault("500", times=None)
    assert [get(api).status_code for _ in range(3)] == [500] * 3
    api.clear_faults()
    assert get(api).status_code == 200


def test_a_fault_meets_only_its_path(api: Sandbox) -> None:
    job_id = api.listing()[0]["id"]
    api.fault("500", path="/me")
    api.fault("502", path="/jobs/*")
    assert (get(api).status_code, get(api, "/me").status_code) == (200, 500)
    assert get(api, f"/jobs/{job_id}").status_code == 502


def test_an_unknown_fault_or_option_is_an_error(api: Sandbox) -> None:
    with pytest.raises(ValueError, match="unknown fault 'flood'"):
        api.fault("flood")
    with pytest.raises(ValueError, match="no option seconds"):
        api.fault("500", seconds=1)


def test_met_requests_are_recorded_as_answered(api: Sandbox) -> None:
    api.fault("429")
    api.fault("html")
    get(api)
    get(api)
    assert [each.status for each in api.requests] == [429, 200]
    assert api.count() == 2


def test_above_the_rate_limit_requests_are_put_off(api: Sandbox) -> None:
    api.rate_limit = 3
    answers = [get(api, "/models") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].headers["Retry-After"] == "1"
    api.rate_limit = None
    assert get(api).status_code == 200


def test_latency_delays_each_answer(api: Sandbox) -> None:
    api.latency = 0.1
    assert get(api).elapsed.total_seconds() >= 0.1


# What servers make of cursors


@pytest.mark.parametrize("mode", ["position", "offset", "bound", "keeps_filter", "restart", "second"])
def test_a_list_is_complete_by_its_own_cursors_in_every_mode(api: Sandbox, mode: str) -> None:
    api.cursors = mode
    assert walk(api) == api.listing()
    assert walk(api, status="COMPLETED") == [each for each in api.listing() if each["status"] == "COMPLETED"]


@pytest.fixture
def foreign(api: Sandbox) -> tuple[str, int]:
    """A cursor of a filtered list, and how many jobs of the whole list lie before it."""
    api.add(50, created_at=NOW)
    page = get(api, status="COMPLETED", limit=12).json()
    ids = [each["id"] for each in api.listing()]
    return page["nextCursor"], ids.index(page["jobs"][-1]["id"]) + 1


def test_position_takes_a_foreign_cursor_as_a_place(api: Sandbox, foreign: tuple[str, int]) -> None:
    cursor, place = foreign
    assert get(api, cursor=cursor).json()["jobs"] == api.listing()[place : place + 20]


def test_offset_takes_a_foreign_cursor_as_a_number_of_jobs(api: Sandbox) -> None:
    api.cursors = "offset"
    cursor = get(api, status="COMPLETED", limit=12).json()["nextCursor"]
    assert get(api, cursor=cursor).json()["jobs"] == api.listing()[12:32]


def test_offset_shows_a_job_twice_when_one_is_born_meanwhile(api: Sandbox) -> None:
    api.cursors = "offset"
    first = get(api).json()
    api.add(1)
    assert get(api, cursor=first["nextCursor"]).json()["jobs"][0] == first["jobs"][-1]


def test_bound_refuses_a_foreign_cursor(api: Sandbox, foreign: tuple[str, int]) -> None:
    api.cursors = "bound"
    answer = get(api, cursor=foreign[0])
    assert (answer.status_code, list(answer.json()["details"])) == (400, ["cursor"])
    assert get(api, cursor=foreign[0], status="COMPLETED").status_code == 200


def test_keeps_filter_goes_on_with_the_list_of_the_cursor(api: Sandbox, foreign: tuple[str, int]) -> None:
    api.cursors = "keeps_filter"
    expected = [each for each in api.listing() if each["status"] == "COMPLETED"][12:32]
    assert get(api, cursor=foreign[0]).json()["jobs"] == expected


def test_restart_starts_at_the_top_on_a_foreign_cursor(api: Sandbox, foreign: tuple[str, int]) -> None:
    api.cursors = "restart"
    assert get(api, cursor=foreign[0]).json()["jobs"] == api.listing()[:20]


def test_second_skips_the_rest_of_a_second_on_a_foreign_cursor(api: Sandbox) -> None:
    api.cursors = "second"
    ids = [
        each for ms in range(3) for each in api.add(1, status="COMPLETED", created_at=f"2026-11-02T11:59:59.50{ms}Z")
    ]
    cursor = get(api, status="COMPLETED", limit=1).json()["nextCursor"]
    shown = [each["id"] for each in walk(api, cursor=cursor)]
    assert shown[0] == api.listing()[3]["id"]
    assert not set(ids) & set(shown)


def test_forgotten_cursors_are_refused(api: Sandbox) -> None:
    cursor = get(api).json()["nextCursor"]
    api.forget_cursors()
    assert get(api, cursor=cursor).status_code == 400
    assert get(api, cursor=get(api).json()["nextCursor"]).status_code == 200


# What servers make of order and filters


def test_oldest_first_is_the_list_turned_round(api: Sandbox) -> None:
    newest_first = api.listing()
    api.order = "oldest"
    assert walk(api) == newest_first[::-1]


def test_shuffled_is_complete_and_in_no_order(api: Sandbox) -> None:
    newest_first = api.listing()
    api.order = "shuffled"
    jobs = walk(api)
    assert jobs not in (newest_first, newest_first[::-1])
    assert sorted(jobs, key=lambda each: each["id"]) == sorted(newest_first, key=lambda each: each["id"])


def test_filters_may_be_ignored(api: Sandbox) -> None:
    api.ignore_filters = True
    assert walk(api, status="FAILED", model="veo-3.1") == api.listing()


def test_a_misspelt_mode_is_an_error(api: Sandbox) -> None:
    with pytest.raises(ValueError, match="newest"):
        api.order = "newst"
    with pytest.raises(ValueError, match="position"):
        api.cursors = "positions"
