"""Jobs that are stuck."""

from collections.abc import Callable
from typing import Any

import pytest

Make = Callable[..., Any]


@pytest.mark.parametrize(("allowed", "state"), [(0, "breached"), (1, "breached"), (2, "ok")])
def test_stuck_jobs(allowed: int, state: str, add: Make, check: Make, synced: Make) -> None:
    synced()
    add(2, "PROCESSING")
    add(3, "QUEUED", hours=14 / 60)
    finding = check("stuck_jobs", stuck_jobs=allowed)
    assert (finding.state, finding.measured) == (state, 2)
