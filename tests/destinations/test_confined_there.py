"""dlt's own settings change nothing on the other destinations either, nor short names where the data goes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import support
import test_confined

from pipelines import settings
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.stores import store_for
from pipelines.sync import sync

pytestmark = pytest.mark.destinations


def test_no_setting_of_dlt_changes_what_a_sync_leaves(
    settings_for: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox(jobs=150, days=3) as api:
        chosen = settings_for(api)
        sync(chosen)
        for turn in range(2):
            api.add(20)
            variables: dict[str, Any] = test_confined.as_variables(test_confined.hostile(turn))
            with monkeypatch.context() as patch:
                for name, value in variables.items():
                    if not name.endswith("_SECRETS"):  # whether credentials lie in a vault is the user's word
                        patch.setenv(name, value)
                sync(chosen)
        assert support.stale(chosen.path, api) == {}
        assert [run["jobs_new"] for run in support.runs(chosen.path)] == [150, 20, 20]


def test_short_names_do_not_say_where_postgres_is(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"HOST": "127.0.0.1", "USERNAME": "u", "PASSWORD": "p", "DATABASE": "db"}.items():
        monkeypatch.setenv(f"DESTINATION__POSTGRES__CREDENTIALS__{name}", value)
    monkeypatch.setenv("CREDENTIALS__PORT", "8080")
    chosen = settings.load(path=str(isolated / "x.duckdb"), destination="postgres")
    assert store_for(chosen).place == "postgres 127.0.0.1:5432/db"
