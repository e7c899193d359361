"""`reports.reconciliation`: given readings of the balance and jobs, then what does not add up, and perhaps why.

At the end a few random accounts; `python tests/books.py` plays hundreds, and replays a seed.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pytest
from books import KINDS, Figures, play
from reports.tables import base_tables, insert
from support import query

from pipelines import status
from pipelines.apiframe import clock
from pipelines.reports import create_views
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.sync import sync

Make = Callable[..., Settings]
START = datetime(2024, 1, 1, tzinfo=UTC)


class Books:
    """A warehouse whose hours begin with a reading; times are in hours from START."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    def readings(self, *balances: float | None, scope: str = "team", mode: str = "incremental", **cells: Any) -> None:
        """A sync every hour, and what was left then; None is a reading that failed."""
        for hour, left in enumerate(balances):
            begun, ended = (at(hour, seconds) for seconds in (1, 5))
            reading = {"read_at": at(hour), "latest_at": at(hour), "account": "t", "plan": "pro", "credits": left}
            insert(self.connection, "balances", [reading | {n: cell[hour] for n, cell in cells.items()}])
            run = {"started_at": begun, "finished_at": ended, "mode": mode, "scope": scope, "number": hour}
            insert(self.connection, "sync_runs", [run])

    def job(self, name: str, hour: float, cost: float | None, status: str = "COMPLETED", **cells: Any) -> None:
        """A job as it was read last."""
        job = {"id": name, "model": "m", "created_at": at(hour), "credit_cost": cost, "status": status}
        insert(self.connection, "jobs", [job | cells])

    def refunded(self, name: str, hour: float, cost: float, seen: float, status: str = "FAILED") -> None:
        """A job that failed, and whose cost the sync of that hour saw fall to nothing."""
        self.job(name, hour, 0, status)
        for field, before, after in (("credit_cost", f"{cost:g}", "0"), ("status", "PROCESSING", status)):
            change = {"id": name, "seen_at": at(seen, 2), "field": field, "before": before, "after": after}
            insert(self.connection, "job_changes", [change])

    def told(self, columns: str = "verdict, residual, refund_jobs") -> list[tuple[Any, ...]]:
        """What the view says, oldest pair first; numbers as floats."""
        create_views(self.connection, "UTC")
        rows = self.connection.execute(f"select {columns} from reports.reconciliation order by closed_at").fetchall()
        return [tuple(cell if isinstance(cell, str | None) else float(cell) for cell in row) for row in rows]


def at(hour: float, seconds: float = 0) -> str:
    return (START + timedelta(hours=hour, seconds=seconds)).isoformat()


@pytest.fixture
def books() -> Iterator[Books]:
    with base_tables() as connection:
        yield Books(connection)


BALANCES = ("balances", 0, None)


def test_credits_are_taken_when_a_job_is_made_and_given_back_when_its_cost_falls(books: Books) -> None:
    books.readings(100, 80, 95)
    books.job("done", 0.5, 5)
    books.refunded("failed", 0.6, 15, seen=2)
    assert books.told("verdict, residual, charged, given_back") == [
        ("balances", 0, 20, 0),
        ("balances", 0, 0, 15),
    ]


def test_a_job_that_came_and_failed_between_two_syncs_is_nothing(books: Books) -> None:
    books.readings(100, 100)
    books.job("quick", 0.5, None, "FAILED")
    assert books.told() == [BALANCES]


def test_a_refund_that_never_came_is_named_once_the_next_reading_has_confirmed_it(books: Books) -> None:
    books.refunded("a", 0.5, 15, seen=2)
    books.refunded("b", 0.5, 4, seen=2)
    books.readings(100, 81, 85)
    assert books.told() == [BALANCES, ("cannot tell", -15, None)]
    [(_, why)] = books.told("verdict, why")[1:]
    assert "the next reading tells" in why
    books.connection.execute("delete from apiframe.balances; delete from apiframe.sync_runs")
    books.readings(100, 81, 85, 85)
    assert books.told() == [BALANCES, ("refund missing", -15, "a"), BALANCES]


def test_a_refund_that_came_in_the_seconds_after_a_reading_is_no_loss(books: Books) -> None:
    books.refunded("a", 0.5, 15, seen=2)
    books.readings(100, 85, 85, 100)
    assert books.told("verdict, residual, moved") == [("balances", 0, 0), ("balances", 0, -15), ("balances", 0, 15)]


@pytest.mark.parametrize(
    ("third", "told"),
    [
        (100, [("balances", 0), ("balances", 0)]),
        (90, [("cannot tell", -33), ("cannot tell", 23)]),  # a top-up, or a part of it
        (67, [("cannot tell", -33), ("balances", 0)]),
    ],
)
def test_refunds_of_jobs_that_nobody_saw_may_come_after_a_reading_too(
    books: Books, third: float, told: list[Any]
) -> None:
    books.job("one", 0.5, 0, "FAILED")
    books.job("other", 0.5, None, "FAILED")
    books.readings(100, 67, third, third)
    assert books.told("verdict, residual")[:2] == told


def test_several_jobs_that_would_explain_a_loss_are_all_named(books: Books) -> None:
    for name in ("a", "b", "c"):
        books.refunded(name, 0.5, 15 if name != "c" else 3, seen=2)
    books.readings(100, 67, 85, 85)
    assert books.told() == [BALANCES, ("refund missing", -15, "a, b"), BALANCES]


def test_a_loss_of_all_refunds_together_is_theirs(books: Books) -> None:
    books.refunded("a", 0.5, 15, seen=2)
    books.refunded("b", 0.5, 4, seen=2)
    books.readings(100, 81, 81, 81)
    assert books.told() == [BALANCES, ("refund missing", -19, "a, b"), BALANCES]


def test_a_failed_job_whose_cost_nobody_saw_is_one_of_two_explanations(books: Books) -> None:
    books.job("price", -5, 15)
    books.job("quick", 0.5, 0, "FAILED")
    books.readings(100, 85, 85)
    assert books.told() == [("cannot tell", -15, "quick"), BALANCES]
    [(_, why), _] = books.told("verdict, why")
    assert "or more was taken" in why


@pytest.mark.parametrize("lost", [15, 0.01])
def test_a_loss_that_no_refund_explains_is_a_charge_too_many_to_the_last_digit(books: Books, lost: float) -> None:
    books.job("twice", 0.5, 15)
    books.readings(100, 85 - lost, 85 - lost)
    assert books.told() == [("charge without a job", -lost, None), BALANCES]


def test_a_failed_job_that_costs_still_is_due_but_adds_up(books: Books) -> None:
    books.job("due", 0.5, 15, "FAILED")
    books.readings(100, 85)
    assert books.told("verdict, residual, refunds_due") == [("balances", 0, 15)]


def test_what_comes_in_is_a_top_up_of_at_least_what_refunds_leave_of_it(books: Books) -> None:
    books.job("due", 0.2, 15, "FAILED")
    books.readings(100, 85, 585)
    assert books.told("verdict, residual, top_up_at_least") == [("balances", 0, 0), ("top-up", 500, 485)]


def test_what_comes_in_may_be_a_refund_that_is_not_looked_at_any_more(books: Books) -> None:
    books.job("due", 0.2, 15, "FAILED")
    books.readings(100, 85, 100)
    assert books.told() == [BALANCES, ("cannot tell", 15, None)]


def test_a_refund_that_a_full_sync_sees_late_is_found_in_the_pair_that_it_explains(books: Books) -> None:
    books.readings(100, 85, 100, 100, mode="full")
    books.job("late", 0.2, 0, "FAILED")
    change = {"id": "late", "seen_at": at(3, 2), "field": "credit_cost", "before": "15", "after": "0"}
    insert(books.connection, "job_changes", [change])
    assert books.told() == [BALANCES, BALANCES, BALANCES]


def test_a_renewal_that_takes_what_was_left_is_not_taken_for_a_loss(books: Books) -> None:
    books.job("done", 0.5, 20)
    books.readings(2010, 2000, 2000)
    assert books.told() == [("top-up", 10, None), BALANCES]
    books.job("more", 1.5, 20)
    books.connection.execute("delete from apiframe.balances; delete from apiframe.sync_runs")
    books.readings(2010, 1990, 1980, 1980, 1980)
    assert books.told()[1] == ("top-up", 10, None)
    books.connection.execute("delete from apiframe.balances; delete from apiframe.sync_runs")
    books.readings(2010, 1980, 1960, 1960)
    assert books.told()[0] == ("cannot tell", -10, None), "2,000 just before the job"


def test_another_plan_may_take_what_was_left(books: Books) -> None:
    books.job("done", 0.5, 20)
    books.readings(101, 76, 76, plan=["a", "b", "b"])
    assert books.told()[0] == ("cannot tell", -5, None)


def test_with_scope_user_colleagues_may_explain_what_does_not_add_up(books: Books) -> None:
    books.job("done", 0.5, 15)
    books.readings(100, 80, 300, 300, scope="user")
    assert books.told() == [("cannot tell", -5, None), ("cannot tell", 220, None), BALANCES]


def test_jobs_around_a_reading_count_on_the_side_on_which_both_pairs_add_up(books: Books) -> None:
    books.job("before", 1 - 1 / 3600 / 2, 5)  # made half a second before, taken after
    books.job("after", 1 + 1.5 / 3600, 7)
    books.readings(100, 100, 88)
    assert books.told() == [BALANCES, BALANCES]
    books.connection.execute("delete from apiframe.balances; delete from apiframe.sync_runs")
    books.readings(100, 88, 88)
    assert books.told("verdict, residual, moved") == [("balances", 0, -7), ("balances", 0, 7)]


def test_a_job_of_the_second_of_the_first_reading_may_have_come_after_it_and_nothing_before_tells(books: Books) -> None:
    books.job("after", 0.5 / 3600, 7)
    books.readings(100, 93, 93)
    assert books.told("verdict, residual, moved") == [("cannot tell", 0, -7), ("balances", 0, 0)]


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ({"latest_at": [at(0), at(1.5), at(2)]}, "clocks"),
        ({"account": ["t", "u", "u"]}, "accounts"),
    ],
)
def test_what_cannot_be_known_is_said(books: Books, cells: dict[str, Any], why: str) -> None:
    books.job("done", 0.5, 15)
    books.readings(100, 80, 80, **cells)
    [first, _] = books.told("verdict, why")
    assert first[0] == "cannot tell"
    assert why in first[1]


def test_a_job_without_a_cost_or_that_vanished_leaves_the_question_open(books: Books) -> None:
    books.job("nothing", 0.5, None)
    books.job("gone", 1.2, 4, delisted_at=at(2, 2))
    gone = {"id": "gone", "seen_at": at(2, 2), "field": "delisted", "before": "false", "after": "true"}
    insert(books.connection, "job_changes", [gone])
    books.readings(100, 80, 70, 70)
    first, second, _ = books.told("verdict, why, jobs_cost_unknown")
    assert first == ("cannot tell", "the cost of some jobs is unknown", 1)
    assert second[0] == "cannot tell"
    assert "no longer listed" in second[1]


def test_readings_that_failed_are_passed_over(books: Books) -> None:
    books.job("one", 0.5, 15)
    books.job("other", 1.5, 15)
    books.readings(100, None, 70)
    assert books.told("verdict, residual, charged") == [("balances", 0, 30)]


@pytest.mark.everywhere
def test_the_books_of_an_account_balance_until_a_refund_is_lost(settings_for: Make) -> None:
    with Sandbox(jobs=60, days=5) as api:
        chosen = settings_for(api, balance_every="1h", scope="team")
        [job] = api.add(1, status="PROCESSING", creditCost=12.5)
        sync(chosen)
        for step in range(5):
            api.live_on(timedelta(hours=2))
            if step == 1:
                api.refunds([job], booked=False)
                api.finish([job], "FAILED")
            if step == 3:
                api.book("top-up", 1000)
            api.advance(timedelta(minutes=5))
            sync(chosen)
    found = query(chosen.path, "select verdict, residual, refund_jobs from reports.reconciliation order by closed_at")
    assert [(verdict, float(residual), jobs) for verdict, residual, jobs in found] == [
        BALANCES,
        ("refund missing", -12.5, job),
        BALANCES,
        ("top-up", 1000, None),
        BALANCES,
    ]
    told = status.facts(chosen, clock.machine_time())["reconciliation"]
    assert (told["verdict"], told["pairs"], told["pairs_off"], float(told["residual"])) == ("balances", 5, 2, 987.5)
    assert (told["top_ups"], float(told["topped_up"])) == (1, 1000)


@pytest.mark.parametrize("kind", KINDS)
def test_no_verdict_on_a_random_account_is_wrong(kind: str) -> None:
    seed = 7000 + KINDS.index(kind)  # the script plays others
    _, pairs = play(seed, kind)
    assert pairs
    told = [str(pair) for pair in Figures().add(kind, pairs)]
    assert not told, f"python tests/books.py --only {seed} --kind {kind}"
