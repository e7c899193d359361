"""Refunds that have not come."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

Make = Callable[..., Any]


def test_a_failed_job_that_costs_credits_for_long_is_a_breach(add: Make, check: Make, synced: Make) -> None:
    synced()
    add(1, "FAILED", hours=47.9, credit_cost=5)
    add(1, "FAILED", hours=500, credit_cost=0)
    add(1, "COMPLETED", hours=500, credit_cost=5)
    finding = check("refunds_due")
    assert (finding.state, finding.measured, finding.threshold) == ("ok", 47.9 * 3600, 48 * 3600)
    assert "no failed job older than 2.0 d" in finding.message
    add(1, "FAILED", hours=72, credit_cost=Decimal("0.5"), id="old\x1b[31m")
    add(2, "FAILED", hours=48.1, credit_cost=3)
    finding = check("refunds_due")
    assert (finding.state, finding.measured) == ("breached", 72 * 3600)
    assert finding.message.startswith("3 failed jobs older than 2.0 d still cost 6.5 credits; the oldest is old [31m ")
    assert check("refunds_due", refunds_due_after="3d").state == "ok"


def test_without_any_there_is_nothing_to_measure(add: Make, check: Make, synced: Make) -> None:
    synced()
    add(1, "FAILED", hours=500)
    assert (check("refunds_due").state, check("refunds_due").measured) == ("ok", None)
