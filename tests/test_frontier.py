"""What a sync asks for: the plan as tables of cases, then its price in requests to the jobs list."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import stale

from pipelines.apiframe.fetch import Searches
from pipelines.apiframe.frontier import Known, Step, Unsettled, floor, is_reach, list_pages, next_step, was_quiet
from pipelines.apiframe.settled import WEEK
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.sync import Outcome, sync

HOUR = 3_600_000_000
Make = Callable[..., Settings]


# The floor


@pytest.mark.parametrize(
    ("started_at", "newest", "down_to"),
    [
        (100, 100, 99),  # a job was born while the last sync began
        (100, 98, 97),  # the newest job is older than the last sync: the floor lies below it
        (100, 10, 9),  # however much older
        (100, 101, 99),  # a clock that is behind the API's
        (100, None, 99),  # no job was there
    ],
)
def test_the_floor_lies_settle_after_below_the_newest_job_and_the_start_of_the_last_sync(
    started_at: int, newest: int | None, down_to: int
) -> None:
    known = Known(started_at * HOUR, None if newest is None else newest * HOUR)
    assert floor(known, HOUR) == down_to * HOUR


@given(st.integers(0, 10**6), st.none() | st.integers(0, 10**6), st.integers(0, 10**5))
def test_the_floor_is_never_above_the_start_of_the_last_good_sync_minus_settle_after(
    started_at: int, newest: int | None, settle_after: int
) -> None:
    assert floor(Known(started_at, newest), settle_after) <= started_at - settle_after


@pytest.mark.parametrize(
    ("started_at", "newest", "quiet"),
    [
        (100, None, True),
        (100, 98, True),
        (100, 99, False),  # it may have been in the last hour
        (100, 100, False),
        (100, 101, False),
    ],
)
def test_an_account_was_quiet_when_its_newest_job_was_settled_for_long(
    started_at: int, newest: int | None, quiet: bool
) -> None:
    known = Known(started_at * HOUR, None if newest is None else newest * HOUR)
    assert was_quiet(known, HOUR) is quiet


# The next step


def old(*ranks: int, status: str | None = "PROCESSING", searchable: bool = True) -> list[Unsettled]:
    """Unsettled jobs that so many known jobs are newer than; the higher the rank, the older."""
    return [Unsettled(f"{status}-{rank}", -rank, status, rank, searchable) for rank in ranks]


@pytest.mark.parametrize(
    ("jobs", "reached", "open_jobs", "step"),
    [
        # One page brings all of them.
        (old(110, 120, 130, 190), 100, {"PROCESSING": 4}, Step("page", down_to=-190)),
        # One job far down: one search.
        (old(5000), 100, {"PROCESSING": 1}, Step("search", ids=("PROCESSING-5000",))),
        # Three far down: three searches, as the lists cost two and may not do.
        (old(5000, 9000, 12000), 100, {"PROCESSING": 3}, Step("search")),
        # Five far down: the lists.
        (old(5000, 9000, 12000, 15000, 16000), 100, {"PROCESSING": 5}, Step("lists")),
        # Many near and one far: pages for the near ones, and then a search.
        ([*old(*range(100, 290, 10)), *old(9000)], 100, {"PROCESSING": 500}, Step("page", down_to=-280)),
        # Many far down, but as many open jobs that need no look-up: the lists would be long.
        (old(*range(5000, 5900, 100)), 100, {"PROCESSING": 2000}, Step("search")),
        # Paging to all of them is cheaper than long lists and many searches.
        (old(*range(200, 2000, 20)), 100, {"PROCESSING": 2000}, Step("page", down_to=-1980)),
        # What is not open is on no list of open jobs.
        (old(5000, 6000, 7000, 8000, 9000, 9900, status="COMPLETED"), 100, {}, Step("search")),
        # The end of paging: no more pages to be had.
        (old(110, 120), None, {"PROCESSING": 900}, Step("search")),
        (old(110), None, {}, Step("search")),
        # No UUID: the API cannot search for it.
        (old(9000, searchable=False), 100, {"PROCESSING": 1}, Step("lists")),
        (old(9000, searchable=False, status="ODD"), 100, {}, Step("page", down_to=-9000)),
        ([*old(700, searchable=False, status="ODD"), *old(9000)], 100, {}, Step("page", down_to=-700)),
        # The density is that of the warehouse: a job behind few known ones is near, however old.
        (old(100), 100, {"PROCESSING": 1}, Step("search", ids=("PROCESSING-100",))),
        (old(100, 101), 100, {"PROCESSING": 2}, Step("page", down_to=-101)),
    ],
)
def test_the_next_step_is_the_cheapest(
    jobs: list[Unsettled], reached: int | None, open_jobs: dict[str, int], step: Step
) -> None:
    random.Random(len(jobs)).shuffle(jobs)
    found = next_step(jobs, reached=reached, open_jobs=open_jobs, can_list=True, can_search=True)
    assert (found.action, found.down_to) == (step.action, step.down_to)
    if step.ids:
        assert found.ids == step.ids
    elif step.action == "search":
        assert sorted(found.ids) == sorted(job.id for job in jobs if job.searchable)


@pytest.mark.parametrize(
    ("can_list", "can_search", "step"),
    [(True, True, "lists"), (True, False, "lists"), (False, True, "search"), (False, False, "page")],
)
def test_a_way_that_did_not_do_is_not_tried_again(can_list: bool, can_search: bool, step: str) -> None:
    jobs = old(*range(5000, 25_000, 2000))
    found = next_step(jobs, reached=100, open_jobs={"PROCESSING": 10}, can_list=can_list, can_search=can_search)
    assert found.action == step
    assert found.down_to == (-23_000 if step == "page" else None)


@pytest.mark.parametrize(
    ("open_jobs", "pages"),
    [
        ({}, 2),
        ({"QUEUED": 1}, 2),
        ({"QUEUED": 100, "PROCESSING": 100}, 2),
        ({"QUEUED": 101, "PROCESSING": 250}, 5),
    ],
)
def test_each_list_of_open_jobs_costs_at_least_a_page(open_jobs: dict[str, int], pages: int) -> None:
    assert list_pages(open_jobs) == pages


def test_planning_grows_with_the_number_of_open_jobs_and_not_with_its_square() -> None:
    jobs = old(*range(160_000))
    few, many = (seconds_to_plan(jobs[:size]) for size in (20_000, 160_000))
    assert many < 24 * few, "eight times as many jobs; with the square it would take 64 times as long"


def seconds_to_plan(jobs: list[Unsettled]) -> float:
    """The best of three: what else the machine does only adds to it."""
    times = []
    for _ in range(3):
        begun = time.thread_time()
        next_step(jobs, reached=0, open_jobs={"PROCESSING": len(jobs)}, can_list=True, can_search=True)
        times.append(time.thread_time() - begun)
    return min(times)


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.booleans()), min_size=1, max_size=30, unique_by=lambda job: job[0]),
    st.none() | st.integers(0, 3000),
    st.booleans(),
    st.booleans(),
)
def test_every_step_leads_on(
    ranks: Sequence[tuple[int, bool]], reached: int | None, can_list: bool, can_search: bool
) -> None:
    jobs = [job for rank, searchable in ranks for job in old(rank, searchable=searchable)]
    step = next_step(jobs, reached=reached, open_jobs={}, can_list=can_list, can_search=can_search)
    if step.action == "lists":
        assert can_list
    elif step.action == "page":
        assert step.down_to in {job.created_at for job in jobs}
        assert reached is not None or not can_search or not all(job.searchable for job in jobs)
    else:
        assert can_search or reached is None


# Looking up by id


@given(
    st.lists(st.booleans(), max_size=4),
    st.sampled_from([None, "listed", "0"]),
    st.integers(0, 12),
    st.integers(1, 4),
    st.randoms(),
)
def test_each_job_is_found_or_absent_and_one_empty_answer_makes_none_absent(
    there: list[bool], listed: str | None, lie: int, workers: int, order: random.Random
) -> None:
    ids = [str(number) for number in range(len(there))]
    searches = Searches(ids, listed)
    asked, under_way = 0, []
    while True:
        while len(under_way) < workers and (task := searches.next_task()) is not None:
            under_way.append(task)
        if not under_way:
            break
        job = (task := under_way.pop(order.randrange(len(under_way)))).filters["search"]
        exists = job == "listed" or there[int(job)]
        searches.apply(task, [(1, job)] if exists and asked != lie else [], [], None)
        asked += 1
    assert searches.honoured
    assert asked <= 2 * len(ids) + 2
    assert searches.absent == {job for job, exists in zip(ids, there, strict=True) if not exists}
    assert searches.found >= set(ids) - searches.absent


@pytest.mark.parametrize(
    ("reach", "end", "complete_until", "is_one"),
    [
        (WEEK, 5, 6, True),
        (WEEK - 1, 5, 6, False),  # too short to be one
        (WEEK, 6, 6, False),  # what is not known may lie below
        (WEEK, 5, None, False),  # nothing is known for certain
        (WEEK, None, None, True),  # an empty list is read again as a whole
        (WEEK - 1, None, 6, False),
    ],
)
def test_an_end_is_how_far_the_api_lists_where_nothing_new_can_lie_below(
    reach: int, end: int | None, complete_until: int | None, is_one: bool
) -> None:
    assert is_reach(reach, end, complete_until) is is_one


# The price on the sandbox


@pytest.fixture
def api() -> Iterator[Sandbox]:
    """6,000 jobs in a month, all of them settled: two weeks hold 2,800."""
    with Sandbox(jobs=6000, days=30) as api:
        yield quiet(api)


def quiet(api: Sandbox) -> Sandbox:
    """No job is open any more, none ended lately, and the files of all have expired, which settled jobs do unseen."""
    api.finish(job["id"] for job in api.listing("team") if job["status"] in ("QUEUED", "PROCESSING"))
    api.advance(timedelta(hours=30))
    return api


def requests(api: Sandbox, settings: Settings) -> tuple[int, Outcome]:
    """Sync; how many requests asked for the jobs list. What the warehouse holds then is right."""
    api.requests.clear()
    outcome = sync(settings)
    asked = len([request for request in api.requests if request.path == "/jobs"])
    assert asked == outcome.run.requests - api.count("/models") - api.count("/me")
    assert stale(settings.path, api) == {}
    return asked, outcome


def test_an_idle_account_costs_one_request(api: Sandbox, settings_for: Make) -> None:
    settings = settings_for(api)
    sync(settings)
    for _ in range(3):
        assert requests(api, settings)[0] == 1
        assert len(api.requests) == 1, "nor is anything else asked for"
        api.advance(timedelta(hours=7))


def test_an_idle_account_whose_last_jobs_are_fresh_costs_one_request_too(settings_for: Make) -> None:
    with Sandbox(jobs=1000, days=30) as api:
        quiet(api).add(30, status="COMPLETED")
        settings = settings_for(api)
        sync(settings)
        assert requests(api, settings)[0] == 1
        assert len(api.requests) == 1


def test_three_stuck_jobs_cost_at_most_five_requests(api: Sandbox, settings_for: Make) -> None:
    stuck = [
        api.add(1, status=status, created_at=api.now - timedelta(days=days))[0]
        for days, status in ((3, "PROCESSING"), (9, "QUEUED"), (20, "PROCESSING"))
    ]
    settings = settings_for(api)
    sync(settings)
    assert requests(api, settings)[0] <= 5
    api.put(stuck[2], progress=98)
    assert requests(api, settings)[0] <= 5
    api.add(20, status="COMPLETED")
    assert requests(api, settings)[0] <= 5
    api.finish(stuck[:2], "FAILED")
    api.finish(stuck[2:])
    asked, outcome = requests(api, settings)
    assert asked <= 5
    assert outcome.run.jobs_finished == 3
    api.advance(timedelta(hours=3))
    assert requests(api, settings)[0] <= 5, "they ended within settle_after of the sync before"
    assert requests(api, settings)[0] == 1, "they are settled"


def test_four_hundred_open_jobs_cost_at_most_12_requests_and_45_when_all_have_ended(settings_for: Make) -> None:
    with Sandbox(jobs=2000, days=14) as api:
        quiet(api)
        old = [
            api.add(1, status=("QUEUED", "PROCESSING")[i % 2], created_at=api.now - timedelta(days=14) * (i / 200))[0]
            for i in range(1, 200)
        ]
        recent = api.add(100, status="QUEUED") + api.add(101, status="PROCESSING")
        settings = settings_for(api)
        sync(settings)
        for _ in range(2):
            asked, outcome = requests(api, settings)
            assert asked <= 12
            assert outcome.run.open_jobs == 400
            api.advance(timedelta(hours=2))
        api.finish(old + recent)
        asked, outcome = requests(api, settings)
        assert asked <= 45
        assert outcome.run.jobs_finished == 400
        api.advance(timedelta(hours=2))
        assert requests(api, settings)[0] <= 45
        assert requests(api, settings)[0] == 1


def test_250_new_jobs_cost_at_most_four_requests(api: Sandbox, settings_for: Make) -> None:
    settings = settings_for(api)
    sync(settings)
    api.add(250)
    asked, outcome = requests(api, settings)
    assert asked <= 4
    assert outcome.run.jobs_new == 250


def test_a_search_that_the_api_ignores_is_not_believed(api: Sandbox, settings_for: Make) -> None:
    stuck = api.add(1, status="PROCESSING", created_at=api.now - timedelta(days=9))
    settings = settings_for(api)
    sync(settings)
    api.ignore_filters = True
    _, outcome = requests(api, settings)
    assert outcome.delisted == 0
    api.finish(stuck)
    _, outcome = requests(api, settings)
    assert (outcome.delisted, outcome.run.jobs_finished) == (0, 1)


@pytest.mark.parametrize("status", ["QUEUED", "PROCESSING"])
def test_jobs_that_move_between_the_lists_of_open_jobs_are_on_one_of_them(
    api: Sandbox, settings_for: Make, status: str
) -> None:
    stuck = [api.add(1, status="QUEUED", created_at=api.now - timedelta(days=3 + i))[0] for i in range(20)]
    settings = settings_for(api)
    sync(settings)

    def move(request: Any) -> None:
        if request.query.get("status") == status:
            for job in stuck:
                api.put(job, status="PROCESSING", progress=5)

    api.on_request = move
    asked, outcome = requests(api, settings)
    assert (outcome.delisted, outcome.run.open_jobs) == (0, 20)
    assert asked <= 5 + (20 if status == "PROCESSING" else 0)
