"""Over each label the parts are the whole, in a few random worlds; `python tests/label_worlds.py` plays hundreds."""

import random

import pytest
from label_worlds import World, play


@pytest.mark.parametrize("number", range(20))
def test_what_is_labelled_and_what_is_not_add_up_to_the_whole(number: int) -> None:
    world = World.drawn(random.SystemRandom().randrange(10**6))  # others at each run
    assert play(world) == [], f"python tests/label_worlds.py --only {world.seed}"
