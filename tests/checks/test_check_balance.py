"""Whether the balance is still read."""

from collections.abc import Callable
from typing import Any

import pytest

Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("readings", "state", "said"),
    [
        ([(25, "0.1", None)], "ok", "0.1 credits were left 25.0 h ago"),
        ([(25, "7", None), (1, None, "the API answered 500")], "ok", "7 credits were left 25.0 h ago"),
        ([(27, "7", None)], "unmeasured", "the balance was last read 27.0 h ago"),
        ([(27, "7", None), (1, None, "answered 500")], "unmeasured", "last read 27.0 h ago: answered 500"),
        ([(1, None, "the key belongs to no team")], "ok", "could not be read: the key belongs to no team"),
        ([(27, None, "answered 500")], "unmeasured", "could not be read: answered 500"),
        ([], "ok", "no balance was read yet"),
    ],
    ids=["fresh", "a failure since", "old", "old, and failing since", "never", "never for long", "not asked"],
)
def test_a_balance_that_is_not_read_does_not_pass_for_one(
    readings: Any, state: str, said: str, check: Make, left: Make, synced: Make
) -> None:
    synced()
    for reading in readings:
        left(*reading)
    finding = check("balance")
    assert finding.state == state
    assert said in finding.message
    assert check("balance", balance_every="0").state == "ok"
