"""Models that fail too often."""

from collections.abc import Callable
from typing import Any

import pytest

Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("failed", "finished", "state"),
    [(10, 9, "ok"), (8, 12, "breached"), (7, 13, "ok"), (0, 20, "ok"), (20, 0, "breached"), (230, 770, "breached")],
    ids=["too few jobs", "surely above", "perhaps chance", "none", "all", "many jobs tell small excesses"],
)
def test_failure_rate_is_breached_only_beyond_chance(
    failed: int, finished: int, state: str, add: Make, check: Make, synced: Make
) -> None:
    synced()
    add(failed, "FAILED")
    add(finished, "COMPLETED")
    add(30, "CANCELLED")
    add(50, "FAILED", hours=25)
    assert check("failure_rate").state == state


def test_every_model_that_fails_too_often_is_named(add: Make, findings: Make, synced: Make) -> None:
    synced()
    for model in ("bad", None, "worse\x1b[31m"):
        add(30, "FAILED", model=model)
    add(30, "COMPLETED", model="good")
    found = findings("failure_rate")
    assert [finding.state for finding in found] == ["breached"] * 3
    assert sorted(finding.message.split(" failed")[0] for finding in found) == ["(none)", "bad", "worse [31m"]
