"""Reading a list in slices is complete whatever the server makes of cursors; only its price depends on it."""

import contextlib
import json
import math
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from support import microseconds, pages

from pipelines.apiframe import seeds, slices
from pipelines.apiframe.client import Client
from pipelines.apiframe.memory import Memory
from pipelines.apiframe.reading import Reading
from pipelines.apiframe.slices import ListLoopsError, Slice, Slices, Task, restore
from pipelines.sandbox import Sandbox
from pipelines.sandbox.protocol import Cursor, Filter, Refused

NOW = datetime(2026, 11, 20, tzinfo=UTC)  # the same jobs whenever the tests run
CURSORS = ("position", "offset", "bound", "keeps_filter", "restart", "second")
FOREIGN = ("bound", "keeps_filter", "restart", "offset")  # cursors of another list are no positions in this one
MIXES = ("usual", "equal", "one60", "changed")


@pytest.fixture
def dense(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeds so close to each other that a list of 40 pages has several."""
    monkeypatch.setattr(seeds, "LEAST_DISTANCE", 4)


def top(floor: int | None = None) -> list[Slice]:
    return [Slice(None, None, floor)]


class Played:
    """A reading of the sandbox's list, one answer at a time, as if the answers came in an order drawn at random."""

    def __init__(self, api: Sandbox, parts: list[Slice] | None = None, workers: int = 4, seed: int = 0) -> None:
        self.api = api
        self.plan = Slices(top() if parts is None else parts, workers=workers, chain_pages=5)
        self.workers = workers
        self.jobs: dict[str, dict[str, Any]] = {}
        self.requests = self.filtered = 0
        self._under_way: list[Task] = []
        self._random = random.Random(seed)

    def step(self) -> bool:
        """One answer; False where nothing is left to be asked."""
        while len(self._under_way) < self.workers and (task := self.plan.next_task()) is not None:
            self._under_way.append(task)
        if not self._under_way:
            assert self.plan.done
            return False
        task = self._under_way.pop(self._random.randrange(len(self._under_way)))
        query = {"limit": str(task.limit), **task.filters} | ({"cursor": task.cursor} if task.cursor else {})
        self.requests += 1
        self.filtered += bool(task.filters)
        try:
            answer = self.api.answer("/jobs", list(query.items()), self.api.api_key, None)
        except Refused:
            self.plan.refused(task)
            return True
        page = orjson.loads(orjson.dumps(answer))
        self.jobs |= {job["id"]: job for job in page["jobs"]}
        self.plan.apply(
            task,
            [(microseconds(job["createdAt"]), job["id"]) for job in page["jobs"]],
            [(job["model"], job["status"]) for job in page["jobs"]],
            page["nextCursor"],
        )
        return True

    def to_end(self, before_each: Callable[[int], object] = lambda _: None) -> "Played":
        for number in range(1000):
            before_each(number)
            if not self.step():
                return self
        raise AssertionError("the reading does not end")

    def missing(self) -> set[str]:
        return {job["id"] for job in self.api.listing()} - self.jobs.keys()


def shuffled(ids: Collection[str]) -> list[str]:
    return random.Random(0).sample(sorted(ids), len(ids))


def by_id(api: Sandbox) -> dict[str, dict[str, Any]]:
    return {job["id"]: job for job in api.listing()}


# Lists that stand still


@pytest.mark.parametrize("jobs", [0, 1, 99, 100, 101, 4999, 5000])
def test_a_list_of_at_most_50_pages_is_one_chain(jobs: int) -> None:
    """And one request, after 15 pages, to see whether it is longer."""
    played = Played(Sandbox(now=NOW, jobs=jobs, days=30), workers=8)
    played.plan = Slices(top(), workers=8)
    most = 0

    def look(_: int) -> None:
        nonlocal most
        most = max(most, len(played.plan.slices))

    assert played.to_end(look).jobs == by_id(played.api)
    assert most == 1
    assert (played.requests, played.filtered) == (pages(jobs) + 1 + played.filtered, int(jobs > 1500))


@pytest.mark.usefixtures("dense")
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("cursors", CURSORS)
def test_complete_and_bounded_whatever_the_server_makes_of_cursors(cursors: str, mix: str, seed: int) -> None:
    api = Sandbox(now=NOW, jobs=4000, days=30, mix=mix, seed=seed)
    api.cursors = cursors
    played = Played(api, seed=seed).to_end()
    assert played.jobs == by_id(api)
    # What lies behind a seam that does not hold is read again: "second" has one at times.
    assert played.requests <= (40 + 10 if cursors in FOREIGN else 2 * 40 if cursors == "second" else 1.3 * 40 + 8)
    assert not played.plan.disordered


@pytest.mark.usefixtures("dense")
@pytest.mark.parametrize("workers", [2, 3, 8, 16])
def test_slices_are_read_at_the_same_time(workers: int) -> None:
    played = Played(Sandbox(now=NOW, jobs=8000, days=30), workers=workers)
    most = 0

    def look(_: int) -> None:
        nonlocal most
        most = max(most, len(played.plan.slices))

    played.to_end(look)
    assert not played.missing()
    assert most >= min(workers, 3), "several slices are open at once"
    assert played.requests <= 1.4 * 80 + 2 * workers, "dense seeds overlap more"


def test_one_worker_reads_one_page_after_the_other() -> None:
    played = Played(Sandbox(now=NOW, jobs=4000, days=30), workers=1).to_end()
    assert played.jobs == by_id(played.api)
    assert (played.requests, played.filtered) == (40 + 1, 0), "the end is asked for twice"


@pytest.mark.usefixtures("dense")
@pytest.mark.parametrize("order", ["oldest", "shuffled"])
@pytest.mark.parametrize("cursors", CURSORS)
def test_complete_and_said_where_jobs_do_not_come_newest_first(order: str, cursors: str) -> None:
    api = Sandbox(now=NOW, jobs=3000, days=30)
    api.order, api.cursors = order, cursors
    played = Played(api).to_end()
    assert played.plan.disordered
    assert played.jobs == by_id(api)
    assert played.requests <= 30 + 4


@pytest.mark.usefixtures("dense")
@pytest.mark.parametrize("place", [50, 100, 950, 1500, 2950])
def test_one_job_out_of_order_is_seen_and_everything_is_read(place: int) -> None:
    api = Sandbox(now=NOW, jobs=3000, days=30)
    listed = api.listing()
    api.put(listed[place]["id"], createdAt=listed[0]["createdAt"])
    played = Played(api).to_end()
    assert played.plan.disordered
    assert not played.missing()
    assert played.requests <= 1.3 * 30 + 10


@pytest.mark.usefixtures("dense")
def test_below_the_floor_a_list_without_order_is_read_too() -> None:
    api = Sandbox(now=NOW, jobs=3000, days=30)
    api.order = "shuffled"
    played = Played(api, top(floor=microseconds(api.listing()[150]["createdAt"]))).to_end()
    assert not played.missing()


@pytest.mark.parametrize("place", [50, 99])
def test_one_job_misdated_below_the_floor_does_not_end_the_reading(place: int) -> None:
    api = Sandbox(now=NOW, jobs=3000, days=30)
    listed = api.listing()
    floor = microseconds(listed[550]["createdAt"])
    api.put(listed[place]["id"], createdAt="1999-12-31T00:00:00.000Z")
    played = Played(api, top(floor=floor)).to_end()
    assert played.plan.disordered
    assert not played.missing()


def test_a_page_wholly_below_the_floor_does_not_end_the_reading_alone() -> None:
    listed = Sandbox(now=NOW, jobs=400, days=30).listing()
    stands = [(microseconds(job["createdAt"]), job["id"]) for job in listed]
    plan = Slices(top(floor=stands[50][0]), workers=1)
    for start, following in ((100, "a"), (0, "b")):  # the second page comes first
        task = plan.next_task()
        assert task is not None
        plan.apply(task, stands[start : start + 100], [(None, None)] * 100, following)
    assert plan.disordered
    assert not plan.done


@pytest.mark.usefixtures("dense")
def test_filters_that_are_ignored_cost_a_request() -> None:
    api = Sandbox(now=NOW, jobs=3000, days=30)
    api.ignore_filters = True
    played = Played(api).to_end()
    assert played.jobs == by_id(api)
    assert played.requests <= 30 + 1 + 1


def test_jobs_that_are_all_of_one_kind_are_read_one_page_after_the_other() -> None:
    api = Sandbox(now=NOW, jobs=0)
    api.add(2000, model="midjourney", status="COMPLETED")
    played = Played(api).to_end()
    assert played.jobs == by_id(api)
    assert (played.requests, played.filtered) == (20 + 1, 0)


@pytest.mark.usefixtures("dense")
@pytest.mark.parametrize("seed", range(3))
def test_a_server_that_skips_jobs_behind_a_foreign_cursor_is_found_out_at_the_seam(seed: int) -> None:
    api = Sandbox(now=NOW, jobs=0)
    api.add(3000, status="COMPLETED")  # hundreds in a second, and cursors are cut to the second
    api.cursors = "second"
    played = Played(api, seed=seed).to_end()
    assert played.jobs == by_id(api)
    assert played.filtered
    assert played.requests <= 2 * 30 + 4


@pytest.mark.usefixtures("dense")
def test_jobs_of_one_moment_are_read() -> None:
    api = Sandbox(now=NOW, jobs=0)
    for model in ("midjourney", "kling-2.6", "suno-v5", "midjourney", "midjourney", "midjourney"):
        api.add(400, model=model, status="COMPLETED", created_at=api.now - timedelta(days=1))
    played = Played(api).to_end()
    assert played.jobs == by_id(api)
    assert played.requests <= 1.3 * 24 + 8


@pytest.mark.usefixtures("dense")
@pytest.mark.parametrize("depth", [0, 99, 100, 101, 555, 1234, 2999])
def test_a_floor_ends_the_reading(depth: int) -> None:
    api = Sandbox(now=NOW, jobs=3000, days=30)
    listed = api.listing()
    played = Played(api, top(floor=microseconds(listed[depth]["createdAt"]))).to_end()
    assert {job["id"] for job in listed[: depth + 1]} <= played.jobs.keys()
    assert played.requests <= 1.3 * (depth + 2) / 100 + 6


@pytest.mark.usefixtures("dense")
def test_a_look_ahead_that_went_far_below_the_floor_does_not_make_it_one_chain() -> None:
    """A tenth of the newest jobs failed, hardly any before: the first page of failed ones reaches far too deep."""
    api = Sandbox(now=NOW, jobs=0)
    for minute in range(120, 0, -1):
        failed = 5 if minute <= 4 else 1
        for count, status in ((failed, "FAILED"), (50 - failed, "COMPLETED")):
            api.add(count, model="suno-v5", status=status, created_at=api.now - timedelta(minutes=minute))
    played = Played(api, top(floor=microseconds(api.listing()[2999]["createdAt"])))
    most = 0

    def look(_: int) -> None:
        nonlocal most
        most = max(most, len(played.plan.slices))

    played.to_end(look)
    assert {job["id"] for job in api.listing()[:3000]} <= played.jobs.keys()
    assert most > 1
    assert played.requests <= 1.3 * 30 + 8


# Lists that change meanwhile


def born(api: Sandbox, number: int, ids: list[str]) -> None:
    api.add(7)


def changed(api: Sandbox, number: int, ids: list[str]) -> None:
    api.advance(timedelta(minutes=7))
    newest = orjson.loads(orjson.dumps(api.answer("/jobs", [("limit", "50")], api.api_key, None)))
    api.finish([job["id"] for job in newest["jobs"]], "FAILED")


def deleted(api: Sandbox, number: int, ids: list[str]) -> None:
    api.delete(ids[20 * number : 20 * (number + 1)])


def everything(api: Sandbox, number: int, ids: list[str]) -> None:
    (born, changed, deleted)[number % 3](api, number, ids)


EVENTS = (born, changed, deleted, everything)


@pytest.mark.usefixtures("dense")
@pytest.mark.parametrize(
    ("cursors", "happens"),
    # Offsets lose jobs to every reader where some are deleted: what follows a deleted job moves up.
    [
        (cursors, happens)
        for cursors in CURSORS
        for happens in EVENTS
        if cursors != "offset" or happens in (born, changed)
    ],
)
def test_what_was_there_all_the_time_is_read_while_jobs_are_born_change_and_are_deleted(
    cursors: str, happens: Callable[[Sandbox, int, list[str]], None]
) -> None:
    api = Sandbox(now=NOW, jobs=3000, days=30, mix="equal")
    before = by_id(api).keys()
    ids = shuffled(before)
    api.cursors = cursors
    played = Played(api)
    played.to_end(lambda number: happens(api, number, ids))
    assert not before & by_id(api).keys() - played.jobs.keys()
    assert played.requests <= (1.6 * 30 + 8 if happens in (deleted, everything) else 1.3 * 30 + 8)


@pytest.mark.usefixtures("dense")
def test_where_the_job_at_a_seam_is_deleted_the_earlier_slice_reads_on() -> None:
    api = Sandbox(now=NOW, jobs=3000, days=30, mix="equal")
    played = Played(api)
    before = by_id(api).keys()

    def cut(_: int) -> None:
        gone = {part.start[1] for part in played.plan.slices if part.start} & by_id(api).keys()
        api.delete(gone)

    played.to_end(cut)
    assert not before & by_id(api).keys() - played.jobs.keys()
    assert played.requests <= 2.5 * 30


# Cursors that are forgotten


@pytest.mark.usefixtures("dense")
@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("cursors", ["position", "bound"])
def test_forgotten_cursors_mean_starting_over(cursors: str, times: int) -> None:
    api = Sandbox(now=NOW, jobs=3000, days=30, mix="equal")
    api.cursors = cursors
    played = Played(api)
    played.to_end(lambda number: api.forget_cursors() if number % 12 == 11 and number // 12 < times else None)
    assert played.jobs == by_id(api)
    assert played.requests <= 30 + times * (12 + 4) + 8


def test_cursors_that_are_always_refused_are_an_error() -> None:
    api = Sandbox(now=NOW, jobs=3000, days=30)
    with pytest.raises(ListLoopsError, match="refuses its own page cursors again and again"):
        Played(api).to_end(lambda _: api.forget_cursors())


# Progress


@pytest.mark.usefixtures("dense")
@pytest.mark.parametrize("cursors", CURSORS)
def test_a_reading_goes_on_from_its_progress_at_any_point(cursors: str) -> None:
    api = Sandbox(now=NOW, jobs=2000, days=30, mix="equal")
    api.cursors = cursors
    listed = by_id(api)
    whole = Played(api).to_end().requests
    for steps in range(1, whole, 2):
        first = Played(api, seed=steps)
        for _ in range(steps):
            first.step()
        kept = json.loads(json.dumps(first.plan.progress(None)))
        second = Played(api, restore(kept, None), seed=steps).to_end()
        assert first.jobs | second.jobs == listed, f"after {steps} answers"
        assert first.requests + second.requests <= 1.5 * whole + 8


@pytest.mark.usefixtures("dense")
def test_a_reading_that_is_cut_short_again_and_again_ends() -> None:
    api = Sandbox(now=NOW, jobs=2000, days=30, mix="equal")
    jobs: dict[str, dict[str, Any]] = {}
    parts, answers = top(), 0
    for seed in range(60):
        played = Played(api, parts, seed=seed)
        going = all(played.step() for _ in range(5))
        jobs |= played.jobs
        answers += played.requests
        if not going:
            break
        parts = restore(json.loads(json.dumps(played.plan.progress(None))), None)
    assert jobs == by_id(api)
    assert answers <= 4 * 20


@pytest.mark.usefixtures("dense")
def test_progress_with_cursors_that_were_forgotten_means_starting_over() -> None:
    api = Sandbox(now=NOW, jobs=2000, days=30, mix="equal")
    first = Played(api)
    for _ in range(12):
        first.step()
    api.forget_cursors()
    second = Played(api, restore(first.plan.progress(None), None)).to_end()
    assert second.jobs == by_id(api)


def test_progress_is_of_the_stretch_that_is_asked_for() -> None:
    plan = Slices([Slice(None, "recent", 7, 9), Slice((5, "a"), "old", None, 4), Slice((3, "b"), None)], workers=1)
    assert [part["cursor"] for part in plan.progress(None)] == ["old", None]
    assert [part["cursor"] for part in plan.progress(7)] == ["recent"]


def resumed() -> tuple[Slices, Task]:
    """A reading of two pages, gone on with: the second was read with cursor "a"."""
    first = Slices(top(), workers=1)
    for ids, following in ((range(99, 89, -1), "a"), (range(89, 79, -1), "b")):
        task = first.next_task()
        assert task
        first.apply(task, *page(*ids), following)
    plan = Slices(restore(json.loads(json.dumps(first.progress(None))), None), workers=1)
    task = plan.next_task()
    assert task
    return plan, task


def test_a_reading_goes_on_with_the_page_that_it_read_last_and_the_cursor_that_this_gives_now() -> None:
    plan, task = resumed()
    assert task.cursor == "a"
    plan.apply(task, *page(*range(91, 81, -1)), "c")  # two jobs were born meanwhile, and cursors are offsets
    following = plan.next_task()
    assert following
    assert following.cursor == "c"
    plan.apply(following, *page(80), None)
    assert not plan.disordered


@pytest.mark.parametrize(("ids", "following"), [(range(50, 40, -1), "c"), ([], None), ([], "c")])
def test_a_cursor_that_leads_elsewhere_than_it_did_is_not_gone_on_with(
    ids: Sequence[int], following: str | None
) -> None:
    plan, task = resumed()
    plan.apply(task, *page(*ids), following)
    again = plan.next_task()
    assert again
    assert again.cursor is None, "from the top"


def test_a_cursor_that_led_to_no_job_is_not_gone_on_with() -> None:
    plan = Slices(top(), workers=1)
    plan.apply(Task(plan.slices[0], None), [], [], "a")
    assert not slices.can_restore(plan.progress(None))


def test_a_lower_slice_whose_cursor_leads_elsewhere_is_read_by_the_one_above_it() -> None:
    plan, first, second = two_slices([79, 78, 77])
    plan.apply(Task(first, None), *page(99, 98), "a1")
    plan.apply(Task(first, "a1"), *page(97, 96), "a2")
    plan = Slices(restore(plan.progress(None), None), workers=2)
    first, second = plan.slices
    plan.apply(Task(second, "s0"), *page(50, 49), "s1")
    assert plan.slices == [first]


def test_the_progress_of_an_earlier_version_is_not_gone_on_with() -> None:
    assert not slices.can_restore([{"start": None, "cursor": "a", "last": 80, "head": []}])
    assert not slices.can_restore([])
    assert not slices.can_restore(None)
    assert slices.can_restore(resumed()[0].progress(None))


def test_where_a_cursor_comes_round_again_that_slice_is_read_again_from_its_start() -> None:
    plan, first, second = two_slices([79, 78, 77])
    plan.apply(Task(first, None), *page(99, 98), "a1")
    plan.apply(Task(second, "s1"), *page(76, 75), "s2")
    with pytest.raises(ListLoopsError):
        plan.apply(Task(second, "s2"), *page(74, 73), "s1")
    assert plan.slices == [first]
    plan.apply(Task(first, "a1"), *page(97, 96), "a2")
    with pytest.raises(ListLoopsError):
        plan.apply(Task(first, "a2"), *page(95, 94), "a1")
    assert not slices.can_restore(plan.progress(None))


# Seams, page by page


def page(*ids: int) -> tuple[list[tuple[int, str]], list[tuple[str | None, str | None]]]:
    """Jobs whose createdAt is their id."""
    return [(number, str(number)) for number in ids], [("m", "COMPLETED")] * len(ids)


def two_slices(behind: Sequence[int], start: int = 80) -> tuple[Slices, Slice, Slice]:
    """A slice at the top, and one that begins behind a job and has read the jobs `behind` it."""
    first, second = Slice(None, None), Slice((start, str(start)), "s0")
    plan = Slices([first, second], workers=2, chain_pages=1000)
    tasks = [plan.next_task(), plan.next_task()]
    assert [task.slice for task in tasks if task] == [first, second]
    if behind:
        plan.apply(Task(second, "s0"), *page(*behind), "s1")
    return plan, first, second


def test_a_seam_that_shows_the_same_jobs_on_both_sides_joins_the_slices() -> None:
    plan, first, second = two_slices([79, 78, 77, 76])
    plan.apply(Task(first, None), *page(82, 81, 80, 79, 78, 77), "a1")
    assert plan.slices == [second]
    assert second.start is None
    for _ in range(2):  # an end is asked for twice
        plan.apply(Task(second, "s1"), *page(75), None)
    assert plan.done


@pytest.mark.parametrize("behind", [[78, 77, 76], [79, 77, 76], [79, 78, 76], [70, 60, 50]])
def test_a_seam_that_shows_other_jobs_is_read_through(behind: list[int]) -> None:
    plan, first, _ = two_slices(behind)
    plan.apply(Task(first, None), *page(82, 81, 80, 79, 78, 77), "a1")
    assert plan.slices == [first]
    assert first.cursor == "a1"


def test_a_seam_at_the_edge_of_a_page_is_decided_by_the_next_page() -> None:
    plan, first, second = two_slices([79, 78, 77])
    plan.apply(Task(first, None), *page(82, 81, 80), "a1")
    assert plan.slices == [first, second]
    plan.apply(Task(first, "a1"), *page(79, 78, 77, 76), "a2")
    assert plan.slices == [second]
    plan, first, second = two_slices([78, 77, 76])
    plan.apply(Task(first, None), *page(82, 81, 80), "a1")
    plan.apply(Task(first, "a1"), *page(79, 78, 77, 76), "a2")
    assert plan.slices == [first]


@pytest.mark.parametrize("shown", [1, 2])
def test_a_seam_that_shows_few_jobs_behind_it_is_decided_by_the_next_page(shown: int) -> None:
    # One job alone may stand behind the seam on both sides by chance, as on a server that keeps to the filter.
    plan, first, _ = two_slices([*[79, 78][:shown], 60, 50, 40])
    plan.apply(Task(first, None), *page(*[82, 81, 80, 79, 78][: 3 + shown]), "a1")
    plan.apply(Task(first, "a1"), *page(*range(79 - shown, 70, -1)), "a2")
    assert plan.slices == [first]


@pytest.mark.parametrize(("behind", "next_cursor"), [([79, 78, 77], "a1"), ([79], None)])
def test_a_slice_that_came_to_the_end_of_the_list_first_is_joined_and_not_read_again(
    behind: list[int], next_cursor: str | None
) -> None:
    plan, first, second = two_slices([])
    for _ in range(2):
        plan.apply(Task(second, "s0"), *page(*behind), None)
    assert not plan.done
    plan.apply(Task(first, None), *page(82, 81, 80, *behind), next_cursor)
    assert plan.done


def test_a_slice_that_came_to_the_end_first_but_shows_other_jobs_is_read_through() -> None:
    plan, first, second = two_slices([])
    for _ in range(2):
        plan.apply(Task(second, "s0"), *page(78, 77, 76), None)
    plan.apply(Task(first, None), *page(82, 81, 80, 79, 78, 77), "a1")
    assert plan.slices == [first]
    assert plan.next_task() == Task(first, "a1")


def test_a_seam_that_is_passed_without_being_met_is_read_through() -> None:
    plan, first, _ = two_slices([79, 78, 77])
    plan.apply(Task(first, None), *page(82, 81, 79, 78), "a1")
    assert plan.slices == [first]


def test_a_slice_that_has_not_begun_is_read_by_the_one_before_it() -> None:
    plan, first, second = two_slices([])
    plan.apply(Task(first, None), *page(82, 81, 80, 79), "a1")
    assert plan.slices == [first]
    plan.apply(Task(second, "s0"), *page(79, 78, 77), "s1")  # under way when it was dropped
    assert plan.slices == [first]


@pytest.mark.parametrize(
    ("read", "why"),
    [
        ([90, 89, 88], "newer than where it begins: the server starts at the top"),
        ([80, 79, 78], "where it begins is shown again"),
    ],
)
def test_a_first_page_that_cannot_follow_there_is_dropped(read: list[int], why: str) -> None:
    plan, first, second = two_slices([])
    plan.apply(Task(second, "s0"), *page(*read), "s1")
    assert plan.slices == [first], why


def test_a_first_page_that_is_filtered_still_is_dropped() -> None:
    first, second = Slice(None, None), Slice((800, "800"), "s0", via={"model": "m"})
    plan = Slices([first, second], workers=2, chain_pages=1000)
    plan.apply(Task(second, "s0"), *page(*range(799, 699, -1)), "s1")
    assert plan.slices == [first]


def test_an_end_of_the_list_above_a_slice_is_asked_for_again() -> None:
    plan, first, second = two_slices([79, 78, 77])
    plan.apply(Task(first, None), *page(99, 98), None)
    assert plan.slices == [first, second]
    assert plan.next_task() == Task(first, None)
    assert plan.next_task() == Task(second, "s1")
    plan.apply(Task(first, None), *page(99, 98), "a1")  # it was none
    assert plan.slices == [first, second]
    assert (plan.end, plan.beyond) == (None, [])


def test_an_end_above_a_slice_that_stays_names_the_jobs_that_lie_beyond_it() -> None:
    plan, first, _ = two_slices([79, 78, 77])
    for _ in range(2):
        plan.apply(Task(first, None), *page(99, 98), None)
    assert plan.done
    assert plan.end == (98,)
    assert plan.beyond == ["80", "79", "78", "77"]


def test_an_end_counts_when_two_answers_in_a_row_agree() -> None:
    plan = Slices(top(), workers=1)
    for ends in ([], [9, 8, 7], [9, 8], [9, 8]):
        task = plan.next_task()
        assert task == Task(plan.slices[0], None)
        plan.apply(task, *page(*ends), None)
    assert plan.done
    assert plan.end == (8,)


def test_an_end_that_is_now_here_now_there_is_an_error() -> None:
    plan = Slices(top(), workers=1)
    for ends in ([9, 8], [9], [9, 8]):
        plan.apply(Task(plan.slices[0], None), *page(*ends), None)
    with pytest.raises(ListLoopsError, match="now here, now there"):
        plan.apply(Task(plan.slices[0], None), *page(9), None)


def test_an_end_that_is_not_doubted_is_believed_at_once() -> None:
    asked: list[slices.End] = []
    plan = Slices(top(), workers=1, doubts=lambda end: bool(asked.append(end)))
    plan.apply(Task(plan.slices[0], None), *page(9, 8), None)
    assert plan.done
    assert asked == [(8,)]


def test_a_cursor_that_comes_round_again_is_an_error() -> None:
    plan = Slices(top(), workers=1)
    for number, cursor in enumerate(("a", "b")):
        task = plan.next_task()
        assert task is not None
        plan.apply(task, *page(99 - number), cursor)
    task = plan.next_task()
    assert task is not None
    with pytest.raises(ListLoopsError, match="the same page cursor twice"):
        plan.apply(task, *page(90), "a")


# The whole reading


@contextlib.contextmanager
def reading(api: Sandbox, workers: int = 4) -> Iterator[Reading]:
    client = Client(api.base_url, api.api_key, backoff_factor=0.01, timeout=5)
    with contextlib.closing(client):
        yield Reading(client, Memory(), settle_after=3_600_000_000, workers=workers)


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch, dense: None) -> None:
    """Slices from the fifth page on."""
    defaults: Mapping[str, Any] = Slices.__init__.__kwdefaults__
    monkeypatch.setattr(Slices.__init__, "__kwdefaults__", {**defaults, "chain_pages": 5})


def read(api: Sandbox, workers: int = 4) -> dict[str, Any]:
    with reading(api, workers) as whole:
        rows = [row for batch in whole.batches() for row in batch.rows]
    return {row.id: row for row in rows}


@pytest.mark.usefixtures("early")
@pytest.mark.parametrize("cursors", CURSORS)
def test_threads_read_everything_whatever_the_server_makes_of_cursors(cursors: str) -> None:
    with Sandbox(now=NOW, jobs=3000, days=30) as api:
        api.cursors = cursors
        api.add(1)
        rows = read(api)
        assert {row.id: row.status for row in rows.values()} == {job["id"]: job["status"] for job in api.listing()}
        assert api.count() <= (31 + 10 if cursors in FOREIGN else 1.3 * 31 + 8)
        assert any("status" in each.query or "model" in each.query for each in api.requests), "it was tried"


@pytest.mark.usefixtures("early")
@pytest.mark.parametrize("status", [500, 403])
def test_threads_read_everything_where_the_server_fails_at_cursors_of_other_lists(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox(now=NOW, jobs=3000, days=30) as api:
        behind = api._behind

        def fail(narrowed: Filter, asked: Cursor | None) -> Any:
            if asked is not None and asked.filter != narrowed:
                raise Refused(status, "no such list")
            return behind(narrowed, asked)

        monkeypatch.setattr(api, "_behind", fail)
        assert read(api).keys() == {job["id"] for job in api.listing()}
        assert any("status" in each.query or "model" in each.query for each in api.requests), "it was tried"


@pytest.mark.usefixtures("early")
@pytest.mark.parametrize("cursors", ["position", "bound"])
def test_threads_read_everything_while_jobs_are_born_change_and_are_deleted(cursors: str) -> None:
    with Sandbox(now=NOW, jobs=3000, days=30, mix="equal") as api:
        before = by_id(api).keys()
        api.cursors = cursors
        ids = shuffled(before)
        api.on_request = lambda request: everything(api, len(api.requests), ids)
        rows = read(api)
        assert not before & by_id(api).keys() - rows.keys()


def test_fifty_pages_are_read_by_fifty_requests_and_one_that_looks_further() -> None:
    with Sandbox(now=NOW, jobs=5000, days=30) as api:
        assert read(api, workers=8).keys() == by_id(api).keys()
        assert api.count() == 50 + 1 + 1


@pytest.mark.usefixtures("early")
def test_a_rate_limit_slows_the_reading_down_and_loses_nothing() -> None:
    with Sandbox(now=NOW, jobs=3000, days=30) as api:
        api.rate_limit = 25
        assert read(api, workers=8).keys() == by_id(api).keys()
        refused = sum(request.status == 429 for request in api.requests)
        assert 0 < refused <= 2 * 8
        assert math.ceil(api.count() - refused) <= 1.3 * 30 + 8


@pytest.mark.parametrize("fault", ["empty_page", "repeated_cursor"])
def test_a_list_that_does_not_go_on_is_an_error(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.apiframe.paging.EMPTY_PAGES", 10)
    with Sandbox(now=NOW, jobs=1000, days=30) as api:
        api.fault(fault, times=None, after=3)
        with pytest.raises(Exception, match=r"nothing new for 10 pages|is the cursor of this very page"):
            read(api)
        assert api.count() <= 3 + 10 + 4
