"""What a sync is to do: a table of cases, without a warehouse or an API."""

from dataclasses import asdict, replace
from typing import Any

import pytest

from pipelines.errors import ConfigurationError
from pipelines.sync.plan import NO_EFFECT, WENT_ON, Facts, Plan, plan
from pipelines.sync.progress import VERSION, Progress, understood
from pipelines.tables.sync_runs import Run

URL = "https://api.test/v2"
SLICES = [{"start": None, "cursor": "c", "tail": ["a"], "last": 50, "head": []}]


def run(number: int = 1, **changed: Any) -> Run:
    started_at = 100 * number
    values = Run(started_at, started_at + 5, "first", 1, 0, 9, 9, 0, 0, started_at - 10, "user", None, URL, number)
    return values._replace(**changed)


def left(**changed: Any) -> Progress:
    """A first load that was cut short."""
    return replace(Progress("first", None, URL, 1, "u", None, 40, 90, SLICES), **changed)


def facts(**changed: Any) -> Facts:
    return replace(Facts("user", URL, "the warehouse"), **changed)


FULL = left(mode="full", number=3)
USER = {"user": run(2)}
SINCE = {"user": run(2, since=30)}
CASES: dict[str, tuple[Facts, dict[str, Any]]] = {
    "nothing is there": (facts(), {"mode": "first", "number": 1}),
    "nothing is there, and everything was asked for": (facts(full=True), {"mode": "first", "number": 1}),
    "nothing is there, and not all is wanted": (facts(since=5), {"mode": "first", "since": 5}),
    "a sync has ended": (facts(runs=USER), {"mode": "incremental", "number": 3, "known": 200, "seen_at": 200}),
    "it goes back to a day, as before": (facts(runs=SINCE), {"mode": "incremental", "since": 30}),
    "--since goes no further back": (
        facts(runs=SINCE, since=30),
        {"mode": "incremental", "since": 30, "notes": (NO_EFFECT,)},
    ),
    "--since where all is there": (facts(runs=USER, since=30), {"since": None, "notes": (NO_EFFECT,)}),
    "--since goes further back": (
        facts(runs=SINCE, since=29),
        {"mode": "first", "since": 29, "known": None, "seen_at": 200, "notes": ()},
    ),
    "everything again": (
        facts(runs=USER, full=True),
        {"mode": "full", "since": None, "number": 3, "known": None, "seen_at": None},
    ),
    "everything again, where the API lists no further than 90 s": (
        facts(runs={"user": run(2), "team": run(3, reach_seconds=90)}, full=True),
        {"mode": "full", "reach": 90_000_000, "complete_since": 200},
    ),
    "everything again, back to a day": (facts(runs=USER, full=True, since=30), {"mode": "full", "since": 30}),
    "the other scope alone": (
        facts(runs={"team": run(4)}),
        {"mode": "first", "number": 5, "known": None, "seen_at": 400, "reach": None, "complete_since": None},
    ),
    "the other scope was later": (
        facts(runs={"user": run(2), "team": run(4)}),
        {"mode": "incremental", "number": 5, "known": 200, "seen_at": 200},
    ),
    "further back, with the other scope": (
        facts(runs={"user": run(4, since=30), "team": run(2)}, since=9),
        {"mode": "first", "seen_at": 200},
    ),
    "a first load was cut short": (
        facts(progress=left()),
        {"mode": "first", "known": 40, "seen_at": 40, "progress": left(), "notes": (WENT_ON,)},
    ),
    "it was cut short with the other scope there": (
        facts(runs={"team": run(4)}, progress=left()),
        {"known": 40, "seen_at": 40, "progress": left()},
    ),
    "it was of another --since": (facts(progress=left(), since=5), {"progress": None, "known": None, "notes": ()}),
    "it has nothing left": (facts(progress=left(slices=())), {"progress": None, "notes": ()}),
    "it has kept too little": (
        facts(progress=left(slices=[{"start": None, "cursor": "c", "last": 5, "head": []}])),
        {"progress": None, "notes": ()},
    ),
    "a full sync was cut short": (
        facts(runs=USER, full=True, progress=FULL),
        {"mode": "full", "known": 40, "progress": FULL, "notes": (WENT_ON,)},
    ),
    "another sync has ended since": (
        facts(runs={"user": run(3)}, full=True, progress=FULL),
        {"mode": "full", "number": 4, "progress": None},
    ),
    "one of the other scope has ended since": (
        facts(runs={"user": run(2), "team": run(3)}, full=True, progress=FULL),
        {"mode": "full", "number": 4, "progress": None},
    ),
    "a full sync was cut short, and less is asked for": (
        facts(runs=USER, progress=FULL),
        {"mode": "incremental", "progress": None},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_sync_is_to_do(case: str) -> None:
    given, wanted = CASES[case]
    made = plan(given)
    found = {name: getattr(made, name) for name in wanted}
    if made.known and "known" in found:
        found["known"] = made.known.started_at
    assert found == wanted


@pytest.mark.parametrize(
    "given",
    [
        facts(runs={"user": run(base_url="https://other.test")}),
        facts(runs={"team": run(base_url="https://other.test")}),
        facts(left_of="https://other.test"),
        facts(left_of=understood({"version": VERSION + 1, "base_url": "https://other.test"}).base_url),
    ],
)
def test_a_warehouse_of_another_api_is_refused(given: Facts) -> None:
    with pytest.raises(ConfigurationError, match=r"the warehouse belongs to https://other\.test"):
        plan(given)


def test_progress_is_understood_as_it_was_kept() -> None:
    assert understood(asdict(left())) == left()
    of_the_version_before = {name: value for name, value in asdict(left()).items() if name != "version"}
    assert understood(of_the_version_before) == left()


@pytest.mark.parametrize("strange", [{"version": VERSION + 1}, {"more": 1}])
def test_progress_that_is_not_understood_means_starting_over_in_what_belongs_to_the_same(
    strange: dict[str, Any],
) -> None:
    found = understood(asdict(left()) | strange)
    assert (found.base_url, found.user_id, found.slices) == (URL, "u", ())
    assert plan(facts(progress=found)) == Plan("first", None, 1)
