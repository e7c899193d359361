"""The client: the API's own words in every error, passing faults ridden out, the key told to nobody."""

import contextlib
import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support import microseconds

from pipelines import settings
from pipelines.apiframe import bodies
from pipelines.apiframe.answers import (
    ApiError,
    CursorRefusedError,
    NotFoundError,
    RefusedKeyError,
    RefusedScopeError,
    UndocumentedError,
)
from pipelines.apiframe.client import Client, Interrupted
from pipelines.apiframe.records import to_rows
from pipelines.errors import ConfigurationError, KeyRefusedError
from pipelines.sandbox import Sandbox
from pipelines.sandbox.faults import KINDS

KEY = "afk_0123456789abcdef0123456789abcdef01234567"
Connect = Callable[..., Client]


@pytest.fixture
def api() -> Iterator[Sandbox]:
    with Sandbox(jobs=250, days=5) as api:
        yield api


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Clients that try again at once."""
    with contextlib.ExitStack() as clients:

        def make(api: Sandbox, **other: Any) -> Client:
            return clients.enter_context(
                contextlib.closing(client_of(api.base_url, other.pop("key", api.api_key), **other))
            )

        yield make


def client_of(base_url: str, key: str = KEY, **other: Any) -> Client:
    return Client(base_url, key, **({"backoff_factor": 0.001, "timeout": 5} | other))


class Answers:
    """A server that always answers the same, for what no sandbox would say. Knows the requests that came."""

    def __init__(self, body: bytes | str, status: int = 200, **headers: str) -> None:
        self.body = body.encode() if isinstance(body, str) else body
        self.status = status
        self.headers = {"Content-Type": "application/json"} | {n.replace("_", "-"): v for n, v in headers.items()}
        self.paths: list[str] = []
        self.came: list[dict[str, str]] = []

    def parts(self, _path: str) -> Iterator[bytes]:
        """The body as it is sent."""
        yield self.body

    def __enter__(self) -> "Answers":
        answers = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answers.paths.append(self.path)
                answers.came.append(dict(self.headers))
                self.send_response(answers.status)
                for name, value in answers.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answers.body)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    for part in answers.parts(self.path):
                        self.wfile.write(part)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


# Pages


def test_pages_hold_the_jobs_as_served_and_where_they_stand(api: Sandbox, connect: Connect) -> None:
    client, jobs, cursor = connect(api), [], None
    while True:
        page = client.page(cursor=cursor)
        jobs += page.jobs
        assert page.positions == [(microseconds(job["createdAt"]), job["id"]) for job in page.jobs]
        if (cursor := page.next_cursor) is None:
            break
    assert jobs == api.listing()
    assert [request.query["limit"] for request in api.requests] == ["100"] * 3


def test_what_is_asked_for_is_what_the_api_is_asked(api: Sandbox, connect: Connect) -> None:
    job = api.listing()[0]
    page = connect(api, scope="team").page(status=job["status"], model=job["model"], search=job["id"], limit=7)
    assert api.requests[0].query == {
        "scope": "team",
        "status": job["status"],
        "model": job["model"],
        "search": job["id"],
        "limit": "7",
    }
    assert [each["id"] for each in page.jobs] == [job["id"]]


def test_the_catalogue_of_models(api: Sandbox, connect: Connect) -> None:
    assert "midjourney" in {model["id"] for model in connect(api).models()}


def test_the_time_is_that_of_the_api(api: Sandbox, connect: Connect) -> None:
    client = connect(api)
    assert abs(client.now() / 1e6 - time.time()) < 60
    api.advance(timedelta(days=400))
    page = client.page()
    assert abs(page.read_at - microseconds(api.now)) < 60e6
    assert abs(client.now() - microseconds(api.now)) < 60e6


@pytest.mark.parametrize("date", ["yesterday", "", None, "Wed, 21 Oct 2015 07:28:00 +99999999999999"])
def test_without_a_usable_date_the_time_is_that_of_this_machine(date: str | None) -> None:
    with Answers('{"jobs": [], "nextCursor": null, "hasMore": false}') as answers:
        answers.headers["X-Served"] = "1"
        if date is not None:
            answers.headers["Date"] = date
        page = client_of(answers.base_url).page()
    assert abs(page.read_at / 1e6 - time.time()) < 60


def test_many_pages_come_over_one_connection(api: Sandbox, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    server, connections = api._server, []
    accept = server.process_request
    monkeypatch.setattr(server, "process_request", lambda *of: (connections.append(of), accept(*of)))
    client = connect(api)
    for _ in range(12):
        client.page(limit=3)
    client.models()
    assert len(connections) == 1


def test_counters_are_true(api: Sandbox, connect: Connect) -> None:
    client = connect(api)
    api.fault("429", times=2, retry_after=0)
    api.fault("503", times=1)
    client.page()
    assert (client.requests, client.retries, client.throttled) == (4, 3, 2) == (api.count(), 3, 2)


# Documented errors


@pytest.mark.parametrize(
    ("asked", "kind", "status", "text", "exit_code", "told"),
    [
        (
            {"key": "afk_wrong"},
            RefusedKeyError,
            401,
            "Invalid API key",
            3,
            "refused the key: Invalid API key; check APIF",
        ),
        ({"key": "inactive"}, RefusedKeyError, 403, "API key is inactive", 3, "refused the key: API key is inactive"),
        (
            {"key": "member", "scope": "team"},
            RefusedScopeError,
            403,
            "Only team admins can list the team's jobs",
            2,
            "set sources.apiframe.scope to user",
        ),
        (
            {"limit": 1000},
            ApiError,
            400,
            'Invalid query parameters {"limit":["Must be an integer from 1 to 100"]}',
            1,
            "400 Bad Request: Invalid query parameters",
        ),
        ({"search": "x"}, ApiError, 400, 'Invalid query parameters {"search":["Invalid uuid"]}', 1, "Invalid uuid"),
        (
            {"cursor": "nonsense"},
            CursorRefusedError,
            400,
            'Invalid query parameters {"cursor":["Invalid cursor"]}',
            1,
            "Invalid cursor",
        ),
        ({"base_url": "/nowhere"}, NotFoundError, 404, "Not found", 1, "check sources.apiframe.base_url"),
    ],
)
def test_a_documented_error_is_not_tried_again_and_is_told_in_the_apis_own_words(
    api: Sandbox, asked: dict[str, Any], kind: type[ApiError], status: int, text: str, exit_code: int, told: str
) -> None:
    keys = {"inactive": api.inactive_key, "member": api.member_key}
    key = asked.pop("key", api.api_key)
    base_url = api.base_url + asked.pop("base_url", "")
    client = client_of(base_url, keys.get(key, key), scope=asked.pop("scope", "user"))
    with contextlib.closing(client), pytest.raises(kind) as problem:
        client.page(**asked)
    assert len(api.requests) == client.requests == 1
    assert type(problem.value) is kind
    assert (problem.value.status, problem.value.text, problem.value.exit_code) == (status, text, exit_code)
    assert problem.value.request_id.startswith("req_")
    assert str(problem.value).endswith(f"(request {problem.value.request_id})")
    assert told in str(problem.value)
    assert str(problem.value).isprintable()


def test_kinds_of_errors_have_the_exit_codes_of_the_contract() -> None:
    assert issubclass(RefusedKeyError, KeyRefusedError)
    assert issubclass(RefusedScopeError, ConfigurationError)
    kinds = (RefusedKeyError, RefusedScopeError, ApiError, CursorRefusedError, NotFoundError, UndocumentedError)
    assert [kind.exit_code for kind in kinds] == [3, 2, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (402, '{"error": "Pay first"}', "Pay first"),
        (418, '{"error": {"code": 7}}', '{"code":7}'),
        (451, "<html>no</html>", ""),
        (409, '{"message": "x"}', ""),
        (400, "[]", ""),
        (400, '{"error": "line\\nline \\u001b[31m"}', "line line  [31m"),
        (400, '{"error": "say \\"please\\""}', 'say "please"'),
    ],
)
def test_any_other_refusal_is_an_error_at_once(status: int, body: str, text: str) -> None:
    with Answers(body, status) as answers, pytest.raises(ApiError) as problem:
        client_of(answers.base_url).page()
    assert len(answers.paths) == 1
    assert (problem.value.status, problem.value.text, problem.value.request_id) == (status, text, None)
    assert str(status) in str(problem.value)
    assert str(problem.value).isprintable()


def test_an_answer_without_end_is_not_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MOST_BYTES", 2**20)
    with Answers(b" " * (2**20 + 1)) as answers, pytest.raises(ApiError, match="more than 1 MB"):
        client_of(answers.base_url).page()


def test_long_words_are_shortened() -> None:
    with Answers(f'{{"error": "{"x" * 10_000}"}}', 400) as answers, pytest.raises(ApiError) as problem:
        client_of(answers.base_url).page()
    assert len(str(problem.value)) < 600


# Faults

#: Not answered by trying again: 401, 403, 404 and a redirect are refusals, the rest are answers like any other.
OTHERS = {"401", "403", "404", "redirect", "unordered", "empty_page"}
OTHERS |= {"early_end", "empty_end", "skewed_date", "oversize"}
OTHERS |= {"garbage", "no_team"}  # of /me: tests/test_ledger.py
PASSING = {
    "429": "429 Too Many Requests",
    "500": "500 Internal Server Error",
    "502": "502 Bad Gateway",
    "503": "503 Service Unavailable",
    "timeout": "no answer within 0.3 s",
    "drip": "no answer within 0.3 s",
    "reset": "the connection broke",
    "truncated": "the answer was cut off|the connection broke",
    "html": "text/html",
    "error_body": "no list of jobs",
    "missing_cursor": "hasMore is true, but there is no nextCursor",
    "repeated_cursor": "nextCursor is the cursor of this very page",
    "no_jobs": "no list of jobs",
}


def test_every_fault_of_the_sandbox_is_tried() -> None:
    assert set(KINDS) == set(PASSING) | OTHERS


def options(kind: str) -> dict[str, Any]:
    return {"retry_after": 0} if kind == "429" else {}


@pytest.mark.parametrize("kind", PASSING)
@pytest.mark.parametrize("times", [1, 4])
def test_a_passing_fault_is_ridden_out(api: Sandbox, connect: Connect, kind: str, times: int) -> None:
    client = connect(api, timeout=0.3)
    cursor = client.page(limit=2).next_cursor
    api.requests.clear()
    api.fault(kind, times=times, **options(kind))
    assert client.page(cursor=cursor).jobs == api.listing()[2:102]
    assert api.count() == 1 + times
    assert client.retries == times


@pytest.mark.parametrize("kind", PASSING)
def test_a_lasting_fault_is_an_error_after_five_attempts(api: Sandbox, connect: Connect, kind: str) -> None:
    client = connect(api, timeout=0.3)
    cursor = client.page(limit=2).next_cursor
    api.requests.clear()
    api.fault(kind, times=None, **options(kind))
    with pytest.raises(ApiError, match=PASSING[kind]) as problem:
        client.page(cursor=cursor)
    assert api.count() == 5
    assert problem.value.exit_code == 1
    assert api.base_url in str(problem.value)
    assert str(problem.value).isprintable()
    assert "\n" not in str(problem.value)
    # The client is as good as new.
    api.clear_faults()
    assert client.page(cursor=cursor).jobs == api.listing()[2:102]


@pytest.mark.parametrize("status", [202, 204, 206, 408, 425, 429, 500, 501, 502, 503, 504, 520, 522, 524, 530])
def test_statuses_that_pass_are_tried_five_times(status: int) -> None:
    with Answers("busy", status) as answers, pytest.raises(ApiError) as problem:
        client_of(answers.base_url).page()
    assert len(answers.paths) == 5
    assert problem.value.status == status


def test_attempts_are_a_setting(api: Sandbox, connect: Connect) -> None:
    api.fault("500", times=8)
    connect(api, max_attempts=9).page()
    assert api.count() == 9


def test_a_server_that_is_not_there_is_named(connect: Connect) -> None:
    with Sandbox(jobs=1) as api:
        gone = api.base_url
    with pytest.raises(ApiError, match="connection refused") as problem:
        client_of(gone).page()
    assert gone in str(problem.value)
    assert problem.value.status is None


def test_a_host_that_does_not_exist_is_named() -> None:
    with pytest.raises(ApiError, match=r"http://apiframe\.invalid/v2/jobs: unknown host"):
        client_of("http://apiframe.invalid/v2").page()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("", "not with what the API documents"),
        ("null", "no object"),
        ("[]", "no object"),
        ("{}", "no list of jobs"),
        ('{"jobs": {}, "hasMore": false}', "no list of jobs"),
        ('{"jobs": [], "nextCursor": null}', "hasMore is null"),
        ('{"jobs": [], "nextCursor": "c", "hasMore": "yes"}', 'hasMore is "yes"'),
        ('{"jobs": [], "nextCursor": 7, "hasMore": true}', "there is no nextCursor"),
        ('{"jobs": [], "nextCursor": "", "hasMore": true}', "there is no nextCursor"),
        ('{"jobs": [{"id": "a", "createdAt": "2026-01-01"}, 7], "hasMore": false}', "a job is not an object: 7"),
        ('{"jobs": [{"id": "a", "note": "\\u001b[31m\\n"}], "hasMore": false}', "a job has no createdAt: "),
        ('{"jobs": [{"createdAt": "2026-01-01T00:00:00Z"}], "hasMore": false}', "a job has no id: "),
        ('{"jobs": [], "hasMore": false, "x": NaN}', "NaN is not JSON"),
        ('{"jobs": [' + "[" * 100_000, "nested too deeply"),
        (b'{"jobs": ["\xff\xfe"], "hasMore": false}', "utf-8"),
    ],
)
def test_an_answer_that_is_not_documented_is_an_error_and_never_the_end(body: bytes | str, told: str) -> None:
    with Answers(body, x_request_id="req_7") as answers, pytest.raises(UndocumentedError) as problem:
        client_of(answers.base_url).page()
    assert len(answers.paths) == 5
    assert (problem.value.status, problem.value.request_id) == (200, "req_7")
    assert told in str(problem.value)
    assert str(problem.value).isprintable()
    assert len(str(problem.value)) < 600


def test_the_end_of_the_list_is_where_has_more_is_false() -> None:
    with Answers('{"jobs": [], "nextCursor": "c", "hasMore": false}') as answers:
        assert client_of(answers.base_url).page().next_cursor is None


@pytest.mark.parametrize("body", ["[]", "{}", '{"models": {}}', '{"models": [{"label": "x"}]}', '{"models": [7]}', "x"])
def test_a_catalogue_that_is_none_is_an_error(body: str) -> None:
    with Answers(body) as answers, pytest.raises(UndocumentedError, match="/models answered 200"):
        client_of(answers.base_url).models()
    assert len(answers.paths) == 2


# Pages and jobs that are too large, or odd


def test_a_page_with_too_many_bytes_is_asked_for_with_half_the_limit_and_the_next_one_whole(
    api: Sandbox, connect: Connect
) -> None:
    client = connect(api)
    api.fault("oversize", times=None, limit=30)
    page = client.page()
    assert [request.query["limit"] for request in api.requests] == ["100", "50", "25"]
    assert page.jobs == api.listing()[:25]
    api.clear_faults()
    api.requests.clear()
    assert client.page(cursor=page.next_cursor).jobs == api.listing()[25:125]
    assert [request.query["limit"] for request in api.requests] == ["100"]


def test_one_job_with_too_many_bytes_is_read_but_for_what_is_too_long(
    api: Sandbox, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "MOST_BYTES", 2**20)
    monkeypatch.setattr("pipelines.sandbox.moods.OVERSIZE_BYTES", 2**21)
    job = api.listing()[0]
    api.fault("oversize", times=None, job=job["id"])
    client = connect(api)
    first, again = client.page(), client.page()
    assert first.jobs == again.jobs, "it is the same each time"
    kept = first.jobs[0].pop("unread_error")
    assert first.jobs == [{name: value for name, value in job.items() if name != "error"}]
    assert (kept["reason"], kept["bytes"], kept["text"]) == ("too many bytes", 2**21 + 2, '"' + "A" * 999)
    assert client.page(cursor=first.next_cursor).jobs == api.listing()[1:101]
    assert [request.query["limit"] for request in api.requests] == ["100", "50", "25", "12", "6", "3", "1"] * 2 + [
        "100"
    ]


def test_a_page_that_does_not_come_in_time_is_asked_for_with_half_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow line: many bytes came, so that fewer may come whole."""
    monkeypatch.setattr(bodies, "MANY_BYTES", 1000)
    whole = b'{"jobs": [], "nextCursor": null, "hasMore": false}'

    class Slow(Answers):
        def parts(self, path: str) -> Iterator[bytes]:
            if "limit=100" in path:
                yield b" " * 2000
                left.wait(5)
            else:
                yield b" " * 2000 + whole

    left = threading.Event()
    with Slow(b" " * 2000 + whole) as answers:
        assert client_of(answers.base_url, timeout=0.2).page().jobs == []
        left.set()
    assert [path.split("limit=")[1].split("&")[0] for path in answers.paths] == ["100", "50"]


def test_a_server_that_ignores_the_limit_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MOST_BYTES", 2**10)
    jobs = ",".join(f'{{"id": "{i}", "createdAt": "2026-01-01", "error": "{"x" * 90}"}}' for i in range(100))
    with (
        Answers(f'{{"jobs": [{jobs}], "nextCursor": null, "hasMore": false}}') as answers,
        pytest.raises(UndocumentedError, match="it has more than 0 MB, and there are more jobs on it than the 1 asked"),
    ):
        client_of(answers.base_url).page()


SOUND = '{"id": "b", "createdAt": "2026-01-01"}'
ODD = f'{{"jobs": [{{"id": "a", "createdAt": "2026-01-02", "result": %s}}, {SOUND}], "hasMore": false}}'


@pytest.mark.parametrize(
    ("value", "requests"),
    [("[" * 5000 + "]" * 5000, 1), ("NaN", 2)],  # what may have been lost on the way is asked for again
)
def test_an_odd_job_keeps_no_other_out(value: str, requests: int) -> None:
    with Answers(ODD % value) as answers:
        page = client_of(answers.base_url).page()
    assert [job["id"] for job in page.jobs] == ["a", "b"]
    assert page.jobs[0]["unread_result"]["text"] == value
    assert len(answers.paths) == requests


def test_the_key_is_in_no_job_though_it_lies_across_two_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MOST_BYTES", 10)
    job = f'{{"id": "a", "createdAt": "2026-01-01", "error": "{KEY} {KEY}", "{KEY}": "{KEY}"}}'
    body = f'{{"jobs": [{job}], "hasMore": false}}'.encode()
    for size in (1, 7, 43, 1000):
        parts = (body[at : at + size] for at in range(0, len(body), size))
        assert b"".join(bodies._without(KEY.encode(), parts)) == body.replace(KEY.encode(), b"***")
    with Answers(body) as answers:
        assert KEY not in repr(client_of(answers.base_url).page())


@pytest.mark.parametrize("number", ["1", "1234567890123456789012"])
def test_a_byte_order_mark_is_no_harm(number: str) -> None:
    with Answers(f'\ufeff{{"jobs": [], "hasMore": false, "n": {number}}}') as answers:
        assert client_of(answers.base_url).page().jobs == []
    assert len(answers.paths) == 1


def test_odd_entries_of_the_catalogue_are_left_out() -> None:
    with Answers('{"models": [7, {"label": "x"}, {"id": 7}, {"id": "flux", "costMin": true}]}') as answers:
        assert client_of(answers.base_url).models() == [{"id": "flux", "costMin": True}]


# Waiting


@pytest.mark.parametrize("kind", ["429", "503"])
def test_the_api_is_given_the_seconds_that_it_asks_for(api: Sandbox, connect: Connect, kind: str) -> None:
    client = connect(api)
    api.fault(kind, retry_after="0.4")
    began = time.monotonic()
    client.page()
    assert 0.4 <= time.monotonic() - began < 2
    assert api.count() == 2


def test_all_threads_wait_when_one_is_asked_to(api: Sandbox, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    client, arrived = connect(api), []
    api.on_request = lambda _: arrived.append(time.monotonic())
    api.fault("429", retry_after="0.5")
    asked, waits, wait = threading.Event(), [], client._wait

    def told(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:  # before the first try, and after its answer
            asked.set()
        wait(seconds)

    monkeypatch.setattr(client, "_wait", told)
    first = threading.Thread(target=client.page)
    first.start()
    assert asked.wait(5)
    client.page()
    first.join()
    assert len(arrived) == 3
    assert arrived[1] - arrived[0] >= 0.5


def test_a_date_in_the_past_asks_for_nothing(api: Sandbox, connect: Connect) -> None:
    api.fault("503", retry_after=format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True))
    began = time.monotonic()
    connect(api).page()
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "asked",
    ["3600", "Fri, 01 Jan 2999 00:00:00 GMT", "Fri, 01 Jan 2999 00:00:00", "inf"],
)
@pytest.mark.parametrize("kind", ["429", "503"])
def test_a_wait_above_max_retry_delay_ends_at_once(api: Sandbox, connect: Connect, kind: str, asked: str) -> None:
    api.fault(kind, times=None, retry_after=asked)
    with pytest.raises(ApiError, match=r"asks to wait (\d+|inf) s: run again then") as problem:
        connect(api, max_retry_delay=300).page()
    assert api.count() == 1
    assert problem.value.status == int(kind)
    assert "request req_" in str(problem.value)


@pytest.mark.parametrize(
    "asked", ["soon", "-5", "nan", "", "Mon, 99 Foo 2026", "Wed, 21 Oct 2015 07:28:00 +99999999999999"]
)
def test_a_retry_after_that_says_nothing_is_as_none(api: Sandbox, connect: Connect, asked: str) -> None:
    api.fault("503", times=2, retry_after=asked)
    connect(api).page()
    assert api.count() == 3


def test_pauses_grow_and_are_never_longer_than_max_retry_delay(
    api: Sandbox, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, pauses = connect(api, backoff_factor=4, max_retry_delay=10, max_attempts=6), []
    monkeypatch.setattr(client, "_wait", lambda seconds: pauses.append(seconds) if seconds else None)
    api.fault("500", times=5)
    client.page()
    assert len(pauses) == 5
    assert all(full / 2 <= pause <= full for pause, full in zip(pauses, [4, 8, 10, 10, 10], strict=True))


@pytest.mark.parametrize("asked", [None, "soon", "-5", "nan"])
@pytest.mark.parametrize(("factor", "longest"), [(1, 300), (0.5, 300), (1, 10)])
def test_where_it_is_not_said_how_long_to_wait_a_throttled_request_waits_a_minute(
    api: Sandbox, connect: Connect, monkeypatch: pytest.MonkeyPatch, factor: float, longest: float, asked: str | None
) -> None:
    client, now = connect(api, backoff_factor=factor, max_retry_delay=longest), [1000.0]
    monkeypatch.setattr("pipelines.apiframe.client.time.monotonic", lambda: now[0])
    monkeypatch.setattr(client, "_wait", lambda seconds: now.__setitem__(0, now[0] + seconds))
    arrived: list[float] = []
    api.on_request = lambda _: arrived.append(now[0])
    api.fault("429", times=None, retry_after=asked)
    with pytest.raises(ApiError, match="429 Too Many Requests"):
        client.page()
    pauses = [later - earlier for earlier, later in pairwise(arrived)]
    wanted = [min(longest, factor * share) for share in (4, 8, 16, 32)]
    assert pauses == pytest.approx(wanted, abs=0.2), "it backs off"


def test_all_threads_wait_for_one_that_is_throttled(api: Sandbox, connect: Connect) -> None:
    client = connect(api, backoff_factor=0.1)
    api.fault("429", times=1, retry_after=None)
    arrived: list[float] = []
    asked = threading.Event()
    api.on_request = lambda _: arrived.append(time.monotonic())
    wait = client._wait
    client._wait = lambda seconds: (asked.set() if seconds else None, wait(seconds))[1]  # type: ignore[method-assign]
    first = threading.Thread(target=client.page)
    first.start()
    assert asked.wait(5)
    client.page()
    first.join()
    assert arrived[1] - arrived[0] >= 0.4, "a fifteenth of 60 s times 0.1"


def test_a_client_that_is_closed_does_not_wait(api: Sandbox) -> None:
    client = client_of(api.base_url, api.api_key, backoff_factor=60)
    api.fault("500", times=None)
    api.on_request = lambda _: client.close()
    with pytest.raises(Interrupted):
        client.page()
    with pytest.raises(Interrupted):
        client.page()
    assert api.count() == 1


# The key


def test_a_redirect_is_an_error_and_takes_the_key_nowhere(api: Sandbox, connect: Connect) -> None:
    with Sandbox(jobs=1) as elsewhere:
        api.fault("redirect", location=f"{elsewhere.base_url}/jobs")
        with pytest.raises(ApiError, match=r"302 Found: Moved: .* sends elsewhere") as problem:
            connect(api).page()
        assert elsewhere.requests == []
    assert api.count() == 1
    assert problem.value.status == 302


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "told"),
    [
        (
            "http://127.0.0.1:9/v3/jobs?limit=100",
            "sends elsewhere to http://127.0.0.1:9/v3/jobs; check sources.apiframe",
        ),
        (f"https://elsewhere.example/{KEY}?key={KEY}", "sends elsewhere to https://elsewhere.example/***; check sour"),
        ("/login", "sends elsewhere to /login; check sources.apiframe.base_url"),
        ("", "sends elsewhere; check sources.apiframe.base_url"),
    ],
)
def test_a_redirect_is_told_with_where_it_leads(status: int, location: str, told: str) -> None:
    with Answers("", status, Location=location) as answers, pytest.raises(ApiError) as problem:
        client_of(answers.base_url).page()
    assert len(answers.paths) == 1
    assert told in str(problem.value)
    assert KEY not in str(problem.value)
    assert problem.value.exit_code == 1


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (401, f'{{"error": "Invalid API key {KEY}"}}', {}),
        (403, f'{{"error": "{KEY} is inactive"}}', {"x_request_id": KEY}),
        (400, f'{{"error": "bad", "details": {{"{KEY}": ["{KEY}"]}}}}', {}),
        (500, f"<html>{KEY}</html>", {"Content_Type": KEY}),
        (200, f"<html>{KEY}</html>", {"Content_Type": "text/html", "x_request_id": f"for {KEY}"}),
        (200, f'{{"jobs": "{KEY}"}}', {}),
        (200, f'{{"jobs": [{{"error": "{KEY}"}}], "hasMore": false}}', {}),
        (200, f'{{"jobs": [], "hasMore": "{KEY}"}}', {"Content_Type": f"text/{KEY}"}),
        (302, KEY, {"Location": f"http://127.0.0.1:1/?key={KEY}"}),
        (429, "{}", {"Retry_After": KEY}),
    ],
)
def test_the_key_is_in_no_error_though_the_api_echoes_it(
    status: int, body: str, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with Answers(body, status, **headers) as answers:
        client = client_of(answers.base_url)
        with contextlib.closing(client), pytest.raises(ApiError) as problem:
            client.page()
    assert answers.came[0]["X-API-Key"] == KEY
    error = problem.value
    told = [str(error), repr(error), error.text, str(error.request_id), repr(client), caplog.text]
    assert KEY not in " ".join(told) + "".join(traceback.format_exception(error))


def test_the_key_is_in_no_row_though_a_job_holds_it(api: Sandbox, connect: Connect) -> None:
    job = api.add(1, error=f"the key {api.api_key} has no credits", result={api.api_key: api.api_key}, x=api.api_key)[0]
    page = connect(api).page()
    row = to_rows(page.jobs, page.positions, scope="user", synced_at=0, modalities={})[0]
    assert row.id == job
    assert row.error == "the key *** has no credits"
    assert api.api_key not in repr(page) + repr(row)


def test_the_key_is_not_in_the_address(api: Sandbox, connect: Connect) -> None:
    connect(api).page()
    assert api.api_key not in repr(api.requests[0])
    assert api.requests[0].has_key


# Proxies


@pytest.fixture
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.usefixtures("without_proxies")
def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with Answers('{"jobs": [], "hasMore": false}') as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url)
        client_of("http://apiframe.invalid/v2").page()
        assert proxy.paths == ["http://apiframe.invalid/v2/jobs?limit=100&scope=user"]


@pytest.mark.usefixtures("without_proxies")
def test_no_proxy_of_the_environment_is_used_too(
    api: Sandbox, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert len(connect(api).page().jobs) == 100


@pytest.mark.usefixtures("without_proxies")
def test_a_proxy_that_does_not_answer_is_named_as_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with pytest.raises(ApiError, match="the proxy does not answer"):
        client_of("http://apiframe.invalid/v2").page()


def test_passwords_of_the_home_folder_are_not_sent() -> None:
    (Path.home() / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    with Answers('{"jobs": [], "hasMore": false}') as answers:
        client_of(answers.base_url).page()
        assert "Authorization" not in answers.came[0]


def test_five_attempts_are_the_default() -> None:
    assert Client("http://x", KEY)._max_attempts == settings.load().request_max_attempts == 5


# A limit of requests


def times_of_sending(client: Client, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When each request was sent, from now on."""
    sent: list[float] = []
    send = client._sessions.send

    def noted(path: str, parameters: dict[str, str]) -> Any:
        sent.append(time.monotonic())
        return send(path, parameters)

    monkeypatch.setattr(client._sessions, "send", noted)
    return sent


def test_a_limit_of_requests_a_minute_holds_for_all_threads_together_and_for_repetitions(
    api: Sandbox, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect(api, max_requests_per_minute=1500)
    sent = times_of_sending(client, monkeypatch)
    api.fault("500", times=3)
    threads = [threading.Thread(target=lambda: [client.page() for _ in range(5)]) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sent) == client.requests == 6 * 5 + 3
    # What lies between taking a turn and sending may shorten one pause, but not a minute's worth of them.
    assert sent[-1] - sent[0] >= (len(sent) - 1) * 60 / 1500 - 0.01


def test_whoever_stands_in_line_waits_too_where_the_api_says_so(
    api: Sandbox, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect(api, max_requests_per_minute=600)
    sent = times_of_sending(client, monkeypatch)
    api.fault("429", retry_after=1)
    threads = [threading.Thread(target=client.page) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.throttled == 1
    assert len([at for at in sent if at < sent[0] + 1]) <= 2, "the one that was told, and at most one on its way"


def test_whoever_waits_for_a_turn_is_interrupted(api: Sandbox, connect: Connect) -> None:
    client = connect(api, max_requests_per_minute=1)
    client.page()
    told: list[Exception] = []

    def ask() -> None:
        try:
            client.page()
        except Interrupted as problem:
            told.append(problem)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    client.close()
    for thread in threads:
        thread.join(10)
    assert len(told) == 3
