"""The tests of faults of the API, on every destination: what failed goes on, and nothing is lost."""

import pytest
import test_faults

ABOUT_FILES = {
    "test_a_full_sync_that_failed_goes_on_and_delists_only_what_is_gone",  # compares bytes; test_full_there has its own
    "test_a_disk_that_is_full_while_loading_leaves_the_warehouse_as_it_was",
    "test_a_disk_that_is_full_during_a_first_load_publishes_nothing",
    "test_a_disk_that_is_full_while_publishing_leaves_no_half_copy",
    "test_a_lasting_fault_ends_a_sync_and_a_passing_one_is_ridden_out_at_every_stage",  # of the client alone, and long
    "test_the_error_says_what_the_api_did",
}
pytestmark = pytest.mark.destinations
globals().update(
    {
        name: thing
        for name, thing in vars(test_faults).items()
        if (name.startswith("test_") and name not in ABOUT_FILES) or name in ("api", "small_batches")
    }
)
