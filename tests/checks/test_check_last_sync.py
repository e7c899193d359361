"""The age of the last good sync."""

from collections.abc import Callable
from typing import Any

import pytest

Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("age", "state"), [(25.9, "ok"), (26, "ok"), (26.1, "breached"), (-1, "ok"), (-27, "breached")]
)
def test_age_of_the_last_good_sync(age: float, state: str, check: Make, synced: Make) -> None:
    synced(age)
    synced(100)
    finding = check("last_sync")
    assert (finding.state, finding.threshold) == (state, 26 * 3600)
    assert finding.measured == pytest.approx(age * 3600)
    assert ("ahead of this clock" in finding.message) == (age < 0)
