"""Webhooks that failed."""

from collections.abc import Callable
from typing import Any

import pytest

Make = Callable[..., Any]


@pytest.mark.parametrize(("failed", "state"), [(5, "ok"), (6, "breached")])
def test_webhooks(failed: int, state: str, add: Make, check: Make, synced: Make) -> None:
    synced()
    add(failed, "COMPLETED", webhook_status="failed")
    add(100 - failed, "COMPLETED", webhook_status="delivered")
    add(50, "COMPLETED", webhook_status="pending")
    add(50, "COMPLETED")
    finding = check("webhook_failures")
    assert (finding.state, finding.measured) == (state, failed / 100)
