"""The table `balances`: what the account has left, asked for once an hour and never in the way of a sync."""

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from support import query

import pipelines.apiframe.clock as clock
from pipelines import exact, status
from pipelines.apiframe.account import standing
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.sync import sync

Make = Callable[..., Settings]
HOUR = timedelta(hours=1)


@pytest.fixture
def here(api: Sandbox, settings_for: Make) -> Settings:
    return settings_for(api, balance_every="1h")


def readings(chosen: Settings) -> list[tuple[Any, ...]]:
    return query(
        chosen.path, "select account = team_id, credits is null, problem from apiframe.balances order by read_at"
    )


@pytest.mark.everywhere
def test_a_balance_is_read_at_the_first_sync_and_then_once_an_hour(settings_for: Make) -> None:
    with Sandbox(jobs=20, days=20) as api:
        chosen = settings_for(api, balance_every="1h")
        asked = []
        for pause in (timedelta(0), timedelta(minutes=59), timedelta(minutes=2), timedelta(minutes=30), HOUR):
            api.advance(pause)
            api.requests.clear()
            sync(chosen)
            asked.append((api.count("/me"), api.count("/jobs")))
    assert [me for me, _ in asked] == [1, 0, 1, 0, 1]
    assert [jobs for _, jobs in asked[1:]] == [1] * 4, "an idle sync in between stays at one request"
    found = query(
        chosen.path,
        "select account = team_id, team_name, plan, user_id is not null, credits > 0, problem from apiframe.balances",
    )
    assert found == [(True, "Sandbox", "pro", True, True, None)] * 3


def test_it_is_read_right_before_the_jobs(api: Sandbox, here: Settings) -> None:
    sync(here)
    api.advance(2 * HOUR)
    api.requests.clear()
    sync(here)
    assert [request.path for request in api.requests][:2] == ["/me", "/jobs"]
    read, started = query(
        here.path,
        "select epoch_us(max(read_at)), (select epoch_us(max(started_at)) from apiframe.sync_runs) "
        "from apiframe.balances",
    )[0]
    assert read <= started < read + 5_000_000


def test_what_a_changed_key_is_asked_anyway_is_a_reading(api: Sandbox, here: Settings, settings_for: Make) -> None:
    sync(here)
    api.requests.clear()
    sync(settings_for(api, balance_every="1h", api_key=api.second_key))
    assert api.count("/me") == 1
    assert len(readings(here)) == 2


@pytest.mark.parametrize("hours", [-300, -3, 3, 300])
def test_a_clock_that_is_wrong_does_not_make_every_sync_ask(api: Sandbox, here: Settings, hours: int) -> None:
    api.skew = timedelta(hours=hours)
    sync(here)
    api.requests.clear()
    sync(here)
    assert api.count("/me") == 0


def test_zero_switches_it_off(api: Sandbox, settings_for: Make) -> None:
    chosen = settings_for(api, balance_every="0")
    for _ in range(2):
        sync(chosen)
        api.advance(2 * HOUR)
    assert (api.count("/me"), readings(chosen)) == (1, [])


@pytest.mark.parametrize("kind", ["500", "404", "html", "truncated", "429"])
def test_a_balance_that_cannot_be_read_is_stored_as_such_and_fails_no_sync(
    api: Sandbox, here: Settings, kind: str
) -> None:
    sync(here)
    api.fault(kind, times=None, path="/me", **({"retry_after": 3600} if kind == "429" else {}))
    api.requests.clear()
    api.advance(2 * HOUR)
    assert not any("could not be read" in note for note in sync(here).notes)
    assert api.count("/me") <= 2, "it holds no sync up"
    asked = api.count("/me")
    sync(here)
    assert api.count("/me") == asked, "nor does it cost each sync a request"
    (_, _, good), (known, no_credits, problem) = readings(here)
    assert (good, known, no_credits) == (None, True, True)
    assert api.base_url in problem or "429" in problem
    assert status.facts(here, clock.machine_time())["balance"]["problem"] == problem
    api.clear_faults()
    api.advance(2 * HOUR)
    sync(here)
    assert status.facts(here, clock.machine_time())["balance"]["credits"] is not None


def test_the_status_tells_balance_and_age(api: Sandbox, here: Settings) -> None:
    sync(here)
    api.advance(3 * HOUR)
    found = status.facts(here, clock.machine_time())["balance"]
    assert json.loads(exact.encode(found))["credits"] > 0
    assert 3 * 3600 <= found["age_seconds"] < 3 * 3600 + 60


def test_the_status_tells_how_long_it_lasts(api: Sandbox, here: Settings, settings_for: Make) -> None:
    sync(settings_for(api))
    assert status.facts(here, clock.machine_time())["runway"] is None, "nothing was read"
    api.renew("pro", -5)
    api.advance(HOUR)
    sync(here)
    found = json.loads(exact.encode(status.facts(here, clock.machine_time())["runway"]))
    assert (found["verdict"], found["credits_left"], found["scope"]) == ("ended", -5, "user")
    assert (found["ends_on"], found["sentence"]) == (found["at"][:10], "no credits are left")
    assert found["read_at"] <= found["at"]
    assert "path" not in found


TEAM: dict[str, Any] = {"id": "t", "name": "T", "plan": "af_basic", "credits": 7}


@pytest.mark.parametrize(
    ("served", "left"),
    [
        ("7", "7"),
        ("0.1", "0.1"),
        ("-3.25", "-3.25"),
        ("1e3", "1000"),
        ("12345678901234.5678", "12345678901234.5678"),  # which no float holds
        ('"99.5"', "99.5"),
        ("99999999999999.9999", "99999999999999.9999"),
        ("null", None),
        ("0.00001", None),
        ("1e400", None),
        ("true", None),
        ("[7]", None),
        ('"\\u001b[31mmuch"', None),
        ("100000000000000", None),
    ],
)
def test_credits_are_exact_or_none(served: str, left: str | None) -> None:
    found = standing({"team": TEAM | {"credits": exact.decode(b"[" + served.encode() + b"]")[0]}}, 1)
    assert found.credits == (None if left is None else Decimal(left))
    assert (found.problem is None) == (left is not None)
    assert found.problem is None or found.problem.isprintable()


@pytest.mark.parametrize("team", [None, [], "t"])
def test_without_a_team_the_account_is_the_user_and_the_problem_says_so(team: Any) -> None:
    found = standing({"user": {"id": "u"}, "team": team}, 1)
    assert (found.account.user_id, found.account.team_id, found.credits) == ("u", None, None)
    assert "team" in (found.problem or "")
