"""What is left of the credits."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

Make = Callable[..., Any]


def test_without_a_threshold_what_is_left_is_said(check: Make, left: Make, synced: Make) -> None:
    synced()
    finding = check("credits_left")
    assert (finding.state, finding.measured, finding.threshold) == ("ok", None, None)
    left(1, "-2.5")
    finding = check("credits_left")
    assert (finding.state, finding.measured, finding.threshold) == ("ok", Decimal("-2.5"), None)
    assert finding.message == "-2.5 credits are left (no threshold set)"


@pytest.mark.parametrize(("amount", "state"), [("110", "ok"), ("109.9999", "breached"), ("-5", "breached")])
def test_less_than_the_threshold_is_a_breach_with_what_was_spent_since_the_reading(
    amount: str, state: str, add: Make, check: Make, left: Make, synced: Make
) -> None:
    synced()
    left(9, "1000")
    left(2, amount)
    left(1, None, "the API answered 500")
    add(1, "COMPLETED", hours=3, credit_cost=500)
    add(1, "PROCESSING", hours=1, credit_cost=4)
    add(2, "COMPLETED", hours=1, credit_cost=3)
    add(1, "FAILED", hours=1)
    finding = check("credits_left", min_credits=100)
    assert (finding.state, finding.measured, finding.threshold) == (state, Decimal(amount) - 10, 100)
    assert finding.message.endswith("(at least 100)")


@pytest.mark.parametrize(
    ("readings", "settings", "said"),
    [
        ([], {}, "no balance was read yet"),
        ([(1, None, "the key belongs to no team")], {}, "could not be read: the key belongs to no team"),
        ([(27, "500", None)], {}, "the balance was last read 27.0 h ago"),
        ([(1, "500", None)], {"balance_every": "0"}, "balance_every is 0"),
    ],
    ids=["not asked", "never read", "old", "switched off"],
)
@pytest.mark.parametrize("name", ["credits_left", "runway"])
def test_a_threshold_on_what_is_not_known_is_unmeasured(
    name: str, readings: Any, settings: Any, said: str, check: Make, left: Make, synced: Make
) -> None:
    synced()
    for reading in readings:
        left(*reading)
    finding = check(name, min_credits=100, min_days=10, **settings)
    assert (finding.state, finding.measured) == ("unmeasured", None)
    assert finding.message.startswith("not measured: ")
    assert said in finding.message
    assert check(name, **settings).state == "ok"
