"""Killed anywhere, the next sync ends in the same warehouse, on other destinations too."""

import pytest
import test_crashes

pytestmark = pytest.mark.destinations
api = test_crashes.api  # the account whose oldest job is open still
LOAD = "dlt.load.load:Load"
MOMENTS = {
    "extracted": {"place": "dlt.pipeline.pipeline:Pipeline.extract", "after": True},
    "normalized": {"place": "dlt.pipeline.pipeline:Pipeline.normalize", "after": True},
    "schema made": {"place": f"{LOAD}.initialize_package", "after": True},
    "first job done": {"place": f"{LOAD}.complete_jobs", "after": True},
    "merged, but not done": {"place": f"{LOAD}.complete_package"},
    "loaded": {"place": "dlt.pipeline.pipeline:Pipeline.load", "after": True},
    "before it is recorded": {"place": "pipelines.sync.conductor:_Sync._record"},
    "recorded": {"place": "pipelines.sync.conductor:_Sync._record", "after": True},
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
