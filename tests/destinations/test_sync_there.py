"""The tests of what a sync promises, on every destination."""

import pytest
import test_sync

QUERYING = (test_sync,)
ABOUT_FILES = {
    "test_columns_and_types_are_those_of_the_contract",  # in DuckDB's words; others in test_copy
    "test_an_empty_account_has_every_column_too",
    "test_the_catalogue_of_models_is_stored_and_asked_for_once_a_day",
    "test_a_warehouse_belongs_to_one_base_url",
    "test_a_warehouse_under_a_symlink_or_a_partition_like_folder_works",
    "test_a_moved_warehouse_goes_on_where_it_was",
}
pytestmark = pytest.mark.destinations
globals().update(
    {
        name: thing
        for name, thing in vars(test_sync).items()
        if (name.startswith("test_") and name not in ABOUT_FILES) or name in ("api", "here")
    }
)
