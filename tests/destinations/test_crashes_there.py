"""The tests of crashes, on every destination: killed anywhere, the next sync ends in the same warehouse."""

import contextlib
import os
from collections.abc import Callable
from typing import Any

import pytest
import support
import test_crashes

NAMES = {
    "test_a_first_load_that_was_killed_goes_on",
    "test_a_first_load_that_was_killed_twice_goes_on_and_misses_no_births",
    "test_cursors_that_are_refused_when_a_killed_load_goes_on_mean_starting_over",
    "test_a_full_sync_that_was_killed_goes_on_and_delists_what_is_gone",
    "test_of_two_syncs_at_once_one_runs_and_the_other_waits_or_is_busy",
}
pytestmark = pytest.mark.destinations
globals().update({name: thing for name, thing in vars(test_crashes).items() if name in NAMES or name == "api"})


def in_environment(environment: dict[str, str], function: Callable[..., None], *arguments: Any) -> None:
    os.environ.update(environment)
    function(*arguments)


@pytest.fixture(autouse=True)
def children_know_the_destination(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes are forked from a server that was started before this test set its environment."""

    def running(function: Callable[..., None], *arguments: Any) -> contextlib.AbstractContextManager[Any]:
        return support.running(in_environment, dict(os.environ), function, *arguments)

    monkeypatch.setattr(test_crashes, "running", running)


LOAD = "dlt.load.load:Load"
MOMENTS = {
    "extracted": {"place": "dlt.pipeline.pipeline:Pipeline.extract", "after": True},
    "normalized": {"place": "dlt.pipeline.pipeline:Pipeline.normalize", "after": True},
    "schema made": {"place": f"{LOAD}.initialize_package", "after": True},
    "first job done": {"place": f"{LOAD}.complete_jobs", "after": True},
    "merged, but not done": {"place": f"{LOAD}.complete_package"},
    "loaded": {"place": "dlt.pipeline.pipeline:Pipeline.load", "after": True},
    "before it is recorded": {"place": "pipelines.sync:_Sync._record"},
    "recorded": {"place": "pipelines.sync:_Sync._record", "after": True},
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment(api: test_crashes.Sandbox, settings_for: test_crashes.Make, moment: str) -> None:
    chosen = settings_for(api)
    for _ in range(2):  # a first load, then an incremental sync
        test_crashes.killed(chosen, **MOMENTS[moment])
        test_crashes.change(api)
        test_crashes.sync(chosen)
        assert test_crashes.stale(chosen.path, api) == {}
        test_crashes.change(api)
