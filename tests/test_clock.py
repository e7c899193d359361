"""Which clock counts: a table of cases, then what a wrong one costs. It never costs a job."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from support import runs, stale

from pipelines.apiframe import clock
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.sync import sync

MINUTE = 60_000_000
HOUR, DAY = 60 * MINUTE, 24 * 60 * MINUTE
T = 1_780_000_000_000_000


@pytest.mark.parametrize(
    ("api", "machine", "created", "now", "said"),
    [
        (0, 0, [], 0, None),
        (0, 5 * MINUTE, [], 0, None),
        (5 * MINUTE, 0, [], 0, None),
        # The earlier one counts, whoever is wrong.
        (3 * HOUR, 0, [], 0, "3.0 hours ahead of this machine's: this machine's was used"),
        (400 * DAY, 0, [-HOUR] * 100, 0, "400.0 days ahead of this machine's: this machine's was used"),
        (0, 6 * MINUTE, [], 0, "6 minutes behind this machine's: the API's was used"),
        (0, 3650 * DAY, [], 0, "3,650.0 days behind this machine's: the API's was used"),
        # But jobs that are there were born: not when some are misdated, only when most are.
        (0, -T, [-HOUR] * 100, -HOUR, "the newest jobs' was used"),
        (0, -T, [-HOUR] * 10, -T, "this machine's was used"),
        (0, 0, [900 * DAY] * 10 + [-HOUR] * 90, 0, None),
        # They decide between two clocks, and against none: a clock that is behind loses nothing.
        (0, 0, [900 * DAY] * 11 + [-HOUR] * 89, 0, "jobs are dated 900.0 days ahead of the API's clock and of this"),
        (-2 * DAY, -2 * DAY, [-HOUR] * 11, -2 * DAY, "jobs are dated 47.0 hours ahead"),
        (0, -T, [900 * DAY] * 11, 0, "jobs are dated 900.0 days ahead"),
    ],
)
def test_the_earlier_clock_counts_but_none_before_jobs_that_are_there(
    api: int, machine: int, created: list[int], now: int, said: str | None
) -> None:
    decided = clock.decide(T + api, T + machine, [T + each for each in created])
    assert decided.now == T + now
    assert said in (decided.note or "") if said else decided.note is None


@pytest.fixture
def api() -> Iterator[Sandbox]:
    """A quiet account: 250 jobs, the newest ones hours old."""
    with Sandbox(jobs=250, days=20) as api:
        api.finish(job["id"] for job in api.listing())
        api.advance(timedelta(hours=30))
        yield api


def changing_jobs(api: Sandbox) -> list[str]:
    """Jobs born hours and days ago that ended just now, with three pages of younger ones above them."""
    jobs = [
        api.add(1, status="PROCESSING", creditCost=80, created_at=api.now - timedelta(hours=hours))[0]
        for hours in (7, 8, 9, 200)
    ]
    api.add(300, created_at=api.now - timedelta(hours=6), status="COMPLETED")
    api.finish(jobs)
    return jobs


def refund(api: Sandbox, jobs: list[str]) -> None:
    for job in jobs:
        api.put(job, status="FAILED", creditCost=0)


def test_jobs_dated_into_the_future_leave_no_other_stale(api: Sandbox, settings_for: Callable[..., Settings]) -> None:
    chosen = settings_for(api)
    jobs = changing_jobs(api)
    sync(chosen)
    api.add(12, created_at=api.now + timedelta(days=2), status="COMPLETED")
    assert any("ahead of the API's clock" in note for note in sync(chosen).notes)
    refund(api, jobs)
    sync(chosen)
    assert stale(chosen.path, api) == {}


@pytest.mark.parametrize("ahead", [timedelta(hours=3), timedelta(days=2), timedelta(days=400)])
def test_one_answer_with_a_clock_that_is_ahead_leaves_no_changed_job_stale(
    api: Sandbox, settings_for: Callable[..., Settings], ahead: timedelta
) -> None:
    chosen = settings_for(api)
    jobs = changing_jobs(api)
    api.skew = ahead
    outcome = sync(chosen)
    assert [note for note in outcome.notes if "ahead of this machine's: this machine's was used" in note]
    assert outcome.run.started_at <= api.now.timestamp() * 1e6 + MINUTE
    api.skew = timedelta(0)
    api.advance(timedelta(minutes=10))
    refund(api, jobs)
    again = sync(chosen)
    assert stale(chosen.path, api) == {}
    assert again.notes == []


def test_what_a_sync_recorded_by_a_clock_that_was_ahead_counts_as_now(
    api: Sandbox, settings_for: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both clocks were wrong in one sync; the next one comes soon enough to see what changed since."""
    chosen = settings_for(api)
    jobs = changing_jobs(api)
    api.skew = timedelta(days=2)
    with monkeypatch.context() as patch:
        patch.setattr(clock, "machine_time", lambda: int(api.now.timestamp() * 1e6) + 2 * DAY)
        sync(chosen)
    api.skew = timedelta(0)
    api.advance(timedelta(minutes=10))
    refund(api, jobs)
    sync(chosen)
    assert stale(chosen.path, api) == {}
    first, second = runs(chosen.path)
    assert second["started_at"] < first["started_at"]


@pytest.mark.parametrize(
    ("machine", "idle"),
    [
        # 1970: the newest jobs' time counts, so a page of them and the four that ended about then are looked at again.
        (lambda api: 100 * 1_000_000, 6),
        (lambda api: int(api.now.timestamp() * 1e6) - 20 * HOUR, 6),
        (lambda api: int(api.now.timestamp() * 1e6) + 3650 * DAY, 1),  # the API's counts
    ],
)
def test_a_wrong_clock_of_this_machine_costs_requests_and_no_job(
    api: Sandbox,
    settings_for: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    machine: Callable[[Sandbox], int],
    idle: int,
) -> None:
    monkeypatch.setattr(clock, "machine_time", lambda: machine(api))
    chosen = settings_for(api)
    jobs = changing_jobs(api)
    sync(chosen)
    api.advance(timedelta(minutes=10))
    refund(api, jobs)
    late = api.add(1, created_at=api.now - timedelta(hours=1), status="COMPLETED")[0]
    assert sync(chosen).run.jobs_new == 1, late
    assert stale(chosen.path, api) == {}
    api.add(150, status="COMPLETED")
    sync(chosen)
    assert stale(chosen.path, api) == {}
    api.advance(timedelta(hours=12))
    sync(chosen)
    api.requests.clear()
    assert sync(chosen).run.requests <= idle
    assert api.count() == len(api.requests)
    assert stale(chosen.path, api) == {}
