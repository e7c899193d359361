"""Which colour is whose: one a model, the same in every chart, period and filter.

Any two, GREY among them, differ by a CIEDE2000 of 11 or more, also as deuteranopes, protanopes and tritanopes see them,
and each has a contrast of 3:1 or more on the white and the dark page of report and notebooks: tests/test_palette.py.
They were found by simulated annealing over sRGB under these conditions. Change one, and its neighbours have to move.
"""

from collections.abc import Iterable, Mapping
from typing import Any

COLOURS = (
    "#9219f7",
    "#c9860b",
    "#0f8255",
    "#e42150",
    "#9c89c1",
    "#537100",
    "#c10099",
    "#2fa67e",
    "#8b586f",
    "#af64ff",
)
GREY = "#818993"  # all others
BLUE, RED = "#3b7dbf", "#cf4d52"  # of charts that tell no models apart


def colours(models: Iterable[Any]) -> Mapping[Any, str]:
    """Give each model its colour, in the order in which they first had a job.

    A model that comes is the last one and takes the next colour, so no other changes. The eleventh has that of the
    first: the one that has been there longest, and is likeliest out of use.
    """
    return {model: COLOURS[place % len(COLOURS)] for place, model in enumerate(models)}
