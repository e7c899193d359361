"""Which of several groups fail more often than the others, where chance alone would not show it: pure figures.

Of thirty days without any trouble, one of which "stands out" at 95 % is what to expect. So the number of groups that
were looked at counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, lgamma

LEVEL = 0.05  # chance that a group is named although all fail at one rate
NEGLIGIBLE = 1e-17  # of a sum: what follows does not change it


def above(groups: Iterable[tuple[int, int]], level: float = LEVEL) -> list[bool]:
    """Tell of each group (failed, ended) whether it fails more often than all others together, beyond chance.

    Each is held against the rest by Fisher's exact test, one-sided (R. A. Fisher: Statistical Methods for Research
    Workers, 5th ed. 1934, 21.02), which needs no rate to be known. As many are looked at, their p values are held
    against Holm's steps (S. Holm: A simple sequentially rejective multiple test procedure, Scandinavian Journal of
    Statistics 6, 1979, 65-70). Where all fail at one rate, any group is named with a chance of at most `level`,
    however large the groups are, and however many. Those in which nothing ended are not looked at.
    """
    counts = list(groups)
    failed, ended = (sum(figures) for figures in zip(*counts, strict=True)) if counts else (0, 0)
    values = [chance(ours, of, failed, ended) if of else None for ours, of in counts]
    found = [False] * len(counts)
    steps = sorted((value, place) for place, value in enumerate(values) if value is not None)
    for step, (value, place) in enumerate(steps):
        if value * (len(steps) - step) > level:
            break
        found[place] = True
    return found


def chance(failed: int, ended: int, all_failed: int, all_ended: int) -> float:
    """Return the chance that `failed` or more of `ended` jobs are among those that failed, were they drawn at random.

    It is the upper tail of the hypergeometric distribution; 1 where they are not more than to be expected.
    """
    if failed * all_ended <= ended * all_failed:
        return 1.0
    most = min(ended, all_failed)
    term = exp(
        _log_ways(all_failed, failed) + _log_ways(all_ended - all_failed, ended - failed) - _log_ways(all_ended, ended)
    )
    total = 0.0
    for count in range(failed, most + 1):
        total += term
        if term <= total * NEGLIGIBLE:
            break
        fine = all_ended - all_failed - ended + count + 1
        term *= (all_failed - count) * (ended - count) / ((count + 1) * fine)
    return min(1.0, total)


def _log_ways(of: int, chosen: int) -> float:
    return lgamma(of + 1) - lgamma(chosen + 1) - lgamma(of - chosen + 1)
