"""Stores: found by their names in the folder."""

from pathlib import Path

import pytest

from pipelines import settings, stores
from pipelines.errors import ConfigurationError


def test_a_destination_that_is_not_there_names_those_that_are_and_what_serves_any_other(isolated: Path) -> None:
    assert set(stores.names()) >= {"delta", "duckdb", "postgres"}
    chosen = settings.load(path=str(isolated / "x.duckdb"), destination="bigquery")
    with pytest.raises(ConfigurationError) as problem:
        stores.store_for(chosen)
    told = str(problem.value)
    assert told.startswith(f"warehouse.destination = 'bigquery': there are {', '.join(stores.names())}.")
    assert "from pipelines.apiframe import apiframe_source" in told
    assert 'destination="bigquery"' in told
    assert "\n" not in told
