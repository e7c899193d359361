"""The model-based test, on every destination; `WAREHOUSE_MODEL_SECONDS` looks longer."""

import dataclasses
import os
import time
from typing import Any

import pytest
import test_model
from cluster import Server
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

import pipelines.settings

pytestmark = [pytest.mark.destinations, pytest.mark.usefixtures("settings_for")]
SECONDS = float(os.environ.get("WAREHOUSE_MODEL_SECONDS", "30"))


class OnPostgres(test_model.Account):
    server: Server

    def __init__(self) -> None:
        super().__init__()
        self.database = self.server.new_database()
        os.environ["DESTINATION__POSTGRES__CREDENTIALS"] = self.server.address(self.database)

    def chosen(self, scope: str) -> pipelines.settings.Settings:
        return dataclasses.replace(super().chosen(scope), destination="postgres")

    def teardown(self) -> None:
        super().teardown()
        with self.server.session() as cursor:
            cursor.execute(f"drop database {self.database} with (force)")


class OnDelta(test_model.Account):
    def __init__(self) -> None:
        super().__init__()  # in the folder of which a kill keeps an image
        os.environ["DESTINATION__FILESYSTEM__BUCKET_URL"] = str(self.path.parent / "lake")

    def chosen(self, scope: str) -> pipelines.settings.Settings:
        return dataclasses.replace(super().chosen(scope), destination="delta")


def test_any_history_ends_in_the_warehouse_that_the_api_serves(
    destination: str, request: pytest.FixtureRequest
) -> None:
    machine: Any = OnDelta
    if destination == "postgres":
        machine, OnPostgres.server = OnPostgres, request.getfixturevalue("server")
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=2,
                stateful_step_count=20,
                deadline=None,
                database=None,
                print_blob=True,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            ),
        )
