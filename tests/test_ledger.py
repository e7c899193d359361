"""The sandbox keeps books: what `/me` serves is what was booked, at every instant, and nothing else moves it."""

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
import requests

from pipelines.sandbox import Sandbox

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
OPEN = ("QUEUED", "PROCESSING")


@pytest.fixture
def api() -> Iterator[Sandbox]:
    with Sandbox(jobs=40, days=5, now=NOW) as api:
        yield api


def get(api: Sandbox, path: str = "/me") -> requests.Response:
    return requests.get(api.base_url + path, headers={"X-API-Key": api.api_key}, timeout=20)


def served(api: Sandbox) -> Decimal:
    """The balance, digit for digit."""
    team = json.loads(get(api).text, parse_float=Decimal)["team"]
    assert type(team["credits"]) in (int, Decimal)
    return Decimal(team["credits"])


def booked(api: Sandbox, *kinds: str) -> Decimal:
    return sum((entry.credits for entry in api.ledger if not kinds or entry.kind in kinds), Decimal(0))


def listed(api: Sandbox) -> Decimal:
    """What the team's jobs cost, as the list says."""
    return sum((Decimal(str(job["creditCost"] or 0)) for job in api.listing("team")), Decimal(0))


def lines(api: Sandbox, job: str | None) -> list[tuple[str, Decimal]]:
    return [(entry.kind, entry.credits) for entry in api.ledger if entry.job == job]


def live(api: Sandbox, draw: random.Random) -> None:
    """A little of an account's life in which nobody is wronged."""
    ids = [job["id"] for job in api.listing("team") if job["status"] in OPEN]
    some = draw.sample(ids, min(len(ids), 3))
    cost = draw.choice([7, 10.5, 0.01, 12.3456, 1250])
    match draw.randrange(8):
        case 0:
            api.live_on(timedelta(hours=draw.choice([1, 9, 30])))
        case 1:
            api.advance(timedelta(seconds=draw.choice([1, 40, 100, 4000])))
        case 2:
            api.add(draw.randint(1, 4), colleague=draw.random() < 0.3)
        case 3:
            api.add(2, status=draw.choice(OPEN), creditCost=cost, colleague=draw.random() < 0.3)
        case 4:
            api.finish(some, draw.choice(["COMPLETED", "FAILED", "FAILED", "CANCELLED"]))
        case 5:
            api.refunds(some, after=timedelta(minutes=draw.choice([1, 50, 2000])))
        case 6:
            api.add(
                1, status=draw.choice(["COMPLETED", "FAILED", "CANCELLED"]), created_at=api.now - timedelta(hours=3)
            )
        case _:
            api.book("top-up", draw.choice([Decimal("0.01"), 1000]))
            api.renew(draw.choice(["basic", "pro"]), 5000, adds=draw.random() < 0.5)


def wrong(api: Sandbox, draw: random.Random) -> None:
    """What an account should not live through."""
    api.refunds(after=draw.choice([None, timedelta(0), timedelta(hours=2)]), booked=draw.random() < 0.5)
    jobs = api.listing("team")
    api.book("charge", -3.25, draw.choice([None, *(job["id"] for job in jobs)]))
    api.put(draw.choice(jobs)["id"], creditCost=0.5)
    api.delete([draw.choice(jobs)["id"]])


@pytest.mark.parametrize("leaks", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_the_balance_is_the_sum_of_the_books_at_every_instant(seed: int, leaks: bool) -> None:
    draw = random.Random(seed)
    readings: dict[datetime, Decimal] = {}
    with Sandbox(jobs=40, days=5, seed=seed, now=NOW) as api:
        for _ in range(40):
            live(api, draw)
            if leaks:
                wrong(api, draw)
            readings[api.now] = served(api)
            assert readings[api.now] == booked(api)
            if not leaks:
                assert -booked(api, "charge", "refund") == listed(api)
        books = api.ledger
    assert all(before.at <= after.at for before, after in pairwise(books))
    for at, balance in readings.items():
        assert balance == sum(entry.credits for entry in books if entry.at <= at)


def test_the_same_story_makes_the_same_books() -> None:
    def story() -> list[Any]:
        api, draw = Sandbox(jobs=40, days=5, now=NOW), random.Random(5)
        for _ in range(30):
            live(api, draw)
        return api.ledger

    assert story() == story()


def test_a_history_is_in_the_books_from_its_first_job_on() -> None:
    api = Sandbox(jobs=3000, now=NOW)
    opening, *others = api.ledger
    assert (opening.kind, opening.job, opening.at) == ("opening", None, NOW - timedelta(days=90))
    assert {entry.kind for entry in others} == {"charge", "refund"}
    assert all(entry.at <= NOW for entry in others)
    assert -booked(api, "charge", "refund") == listed(api)
    assert booked(api) == 250_000


def test_a_job_is_charged_when_it_is_made_and_given_back_when_it_fails(api: Sandbox) -> None:
    before = served(api)
    [job] = api.add(1, status="PROCESSING", creditCost=12.34)
    assert served(api) == before - Decimal("12.34")
    api.advance(timedelta(days=2))
    api.finish([job], "FAILED")
    assert not api.listing()[0]["creditCost"]
    assert lines(api, job) == [("charge", Decimal("-12.34")), ("refund", Decimal("12.34"))]
    assert served(api) == booked(api)
    assert [entry.at for entry in api.ledger if entry.job == job] == [NOW, NOW + timedelta(days=2)]


def test_a_job_that_fails_by_itself_is_given_back_at_its_end() -> None:
    api = Sandbox(jobs=0, now=NOW)
    api.add(200, model="veo-3.1")
    api.advance(timedelta(hours=1))
    failed = {job["id"]: job for job in api.listing() if job["status"] == "FAILED" and job["completedAt"]}
    assert failed
    refunds = {entry.job: entry.at for entry in api.ledger if entry.kind == "refund"}
    assert all(refunds[job] == datetime.fromisoformat(failed[job]["completedAt"]) for job in failed)


def test_a_late_refund_falls_in_list_and_books_at_one_moment(api: Sandbox) -> None:
    [job] = api.add(1, status="PROCESSING", creditCost=40)
    api.refunds([job], after=timedelta(hours=30))
    api.finish([job], "FAILED")
    api.advance(timedelta(hours=30, milliseconds=-1))
    before = served(api)
    assert get(api, "/jobs").json()["jobs"][0]["creditCost"] == 40
    api.advance(timedelta(milliseconds=1))
    assert not get(api, "/jobs").json()["jobs"][0]["creditCost"]
    assert lines(api, job) == [("charge", -40), ("refund", 40)]
    assert served(api) >= before + 40


def test_a_forgotten_refund_keeps_its_cost_until_it_is_given_after_all(api: Sandbox) -> None:
    [job] = api.add(1, status="PROCESSING", creditCost=40)
    api.refunds([job], after=None)
    api.finish([job], "FAILED")
    api.advance(timedelta(days=90))
    assert get(api, f"/jobs/{job}").json()["creditCost"] == 40
    assert lines(api, job) == [("charge", -40)]
    api.refunds([job])
    assert not get(api, f"/jobs/{job}").json()["creditCost"]
    assert api.ledger[-1] == (NOW + timedelta(days=90), "refund", job, 40)
    with pytest.raises(ValueError, match="already"):
        api.refunds([job])


def test_a_cost_may_fall_in_the_list_alone(api: Sandbox) -> None:
    [job] = api.add(1, status="PROCESSING", creditCost=40)
    api.refunds([job], booked=False)
    api.finish([job], "FAILED")
    assert not api.listing()[0]["creditCost"]
    assert lines(api, job) == [("charge", -40)]


def test_what_is_usual_holds_for_jobs_that_are_born_from_then_on() -> None:
    api = Sandbox(jobs=900, days=3, now=NOW)
    api.refunds(after=None)
    assert api.live_on(timedelta(days=1))
    failed = [job for job in api.listing() if job["status"] == "FAILED"]
    new = [job["creditCost"] for job in failed if datetime.fromisoformat(job["createdAt"]) > NOW]
    assert new
    assert all(new)
    assert not any(job["creditCost"] for job in failed[len(new) :])
    api.refunds()
    [job] = api.add(1, status="FAILED")
    assert [kind for kind, _ in lines(api, job)] == ["charge", "refund"]


def test_a_job_served_as_failed_with_a_cost_was_not_given_back(api: Sandbox) -> None:
    [job] = api.add(1, status="FAILED", creditCost=7)
    assert (api.listing()[0]["creditCost"], lines(api, job)) == (7, [("charge", -7)])


@pytest.mark.parametrize("cost", [None, "12", True, [10], float("nan"), 1e300])
def test_a_cost_that_is_no_number_of_credits_is_not_charged(api: Sandbox, cost: Any) -> None:
    before = booked(api)
    api.add(1, status="PROCESSING", creditCost=cost)
    assert booked(api) == before


def test_what_put_serves_is_not_booked(api: Sandbox) -> None:
    [job] = api.add(1, status="PROCESSING", creditCost=40)
    before = api.ledger
    api.put(job, status="FAILED", creditCost=0)
    api.put(api.listing()[-1]["id"], creditCost=10.01)
    api.advance(timedelta(days=9))
    assert [entry for entry in api.ledger if entry.at == NOW] == [entry for entry in before if entry.at == NOW]
    assert lines(api, job) == [("charge", -40)]


def test_charges_may_be_one_too_many_or_without_a_job(api: Sandbox) -> None:
    job, before = api.listing()[3]["id"], served(api)
    api.book("charge", -10, job)
    api.book("charge", Decimal("-0.01"))
    assert [entry[1:] for entry in api.ledger[-2:]] == [("charge", job, -10), ("charge", None, Decimal("-0.01"))]
    assert served(api) == before - Decimal("10.01")


def test_a_renewal_sets_the_credits_or_adds_to_them_and_names_the_plan(api: Sandbox) -> None:
    api.renew("af_basic", 2000)
    assert (served(api), get(api).json()["team"]["plan"]) == (2000, "af_basic")
    api.renew("af_pro", Decimal("5500.5"), adds=True)
    assert (served(api), get(api).json()["team"]["plan"]) == (Decimal("7500.5"), "af_pro")
    assert served(api) == booked(api)


def test_a_colleagues_job_is_the_teams_alone(api: Sandbox) -> None:
    mine, before = api.listing(), served(api)
    [job] = api.add(1, status="PROCESSING", creditCost=9, colleague=True)
    assert api.listing() == mine
    assert api.listing("team")[0]["id"] == job
    assert served(api) == before - 9


def test_me_fails_as_it_is_told_to(api: Sandbox) -> None:
    for kind, status in (("403", 403), ("500", 500), ("no_team", 200), ("html", 200), ("truncated", 200)):
        api.fault(kind, path="/me")
        if kind == "truncated":
            with pytest.raises(requests.exceptions.ChunkedEncodingError):
                get(api)
            continue
        answer = get(api)
        assert answer.status_code == status
        if kind == "no_team":
            assert answer.json()["team"] is None
            assert answer.json()["user"]
    for body in (b"null", b'{"team": {"credits": "many"}}', b'{"team": {"credits": 1e999}}'):
        api.fault("garbage", path="/me", body=body)
        assert get(api).content == body
    assert get(api).json()["team"]


def test_a_job_may_be_made_between_the_balance_and_the_list(api: Sandbox) -> None:
    made: list[str] = []
    api.on_request = lambda request: made.extend(api.add(1, creditCost=5) if request.path == "/jobs" else ())
    before = served(api)
    assert get(api, "/jobs").json()["jobs"][0]["id"] == made[0]
    assert served(api) == before - 5
