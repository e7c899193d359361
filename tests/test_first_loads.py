"""Promises 1 to 4 for a few random first loads; `python tests/first_loads.py` plays hundreds, and replays a seed."""

import random

import pytest
from first_loads import Load, play


@pytest.mark.parametrize("number", range(3))
def test_a_first_load_of_an_account_that_is_never_at_rest_ends_equal(number: int) -> None:
    draws = random.SystemRandom()  # others at each run
    load = next(load for load in iter(lambda: Load.drawn(draws.randrange(10**6)), None) if load.jobs < 7_000)
    wrong, facts = play(load)
    assert not wrong, f"python tests/first_loads.py --only {load.seed}: {facts}"
