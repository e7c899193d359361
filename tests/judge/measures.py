"""What is planted in accounts, what is said of it, and how that is measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from rules import SIMPLE
from warehouse import as_array, as_flags, day_of, episodes, expected
from worlds import KINDS, Planted, Series, drawn, planted

from pipelines.settings import WORTH_SAYING

DAYS = 60  # series-days with one false alarm
SIZES = (1.3, 1.5, 2.0, 3.0)
DIPS = (0.5, 0.25)
STEPS = (1.3, 1.5, 2.0)
LEAKS = (1.1, 1.2, 1.3)
FAILURES = (3, 5, 10)
SEEDS = (0, 11)  # the first of the drawn accounts to tune on, and of those for the record; every other one follows
PLANTED_BY = 7  # seed of what is planted, beside the names of the series
OURS = "daily_expected"
MODELS = ("MSTL", "AutoETS")

Flags = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Plan:
    """How much is judged: accounts of each kind in each half, and series of an account for statsforecast."""

    accounts: int = 4
    of_statsforecast: int = 2


@dataclass
class Case:
    """Series, what is planted in them, and what is said of each of their days."""

    series: list[Series]
    found: list[list[Planted]]
    answers: list[pd.DataFrame] = field(default_factory=list)
    scores: dict[str, list[Scores]] = field(default_factory=dict)

    def flags(self, side: int = 1) -> list[Flags]:
        """Return the days of which the view says that more was spent than expected, or less with side -1."""
        impacts = as_array(self.answers, "impact")
        return [
            each & (side * impact > 0)
            for each, impact in zip(as_flags(self.answers, "is_unusual"), impacts, strict=True)
        ]


Cases = Mapping[tuple[str, float], Case]


def accounts(half: int, plan: Plan) -> list[Series]:
    """Return the series of a half: drawn accounts of even seeds to tune on or of odd ones, and every other real one."""
    import real

    seeds = range(SEEDS[half], SEEDS[half] + 2 * plan.accounts, 2)
    return [each for kind in KINDS for seed in seeds for each in drawn(kind, seed)] + list(real.halves()[half])


def cases(series: list[Series]) -> dict[tuple[str, float], Case]:
    """Return the series as they are, and with each size of each trouble planted in them."""
    wanted = {"spike": SIZES, "dip": DIPS, "step": STEPS, "leak": LEAKS, "failures": FAILURES}
    made = {("", 0.0): Case(series, [[] for _ in series])}
    for kind, sizes in wanted.items():
        for size in sizes:
            changed = [planted(each, kind, size, PLANTED_BY) for each in series]
            made[kind, size] = Case([each for each, _ in changed], [found for _, found in changed])
    answers = iter(expected([each for case in made.values() for each in case.series]))
    for case in made.values():
        case.answers = [next(answers) for _ in case.series]
        case.scores = {name: [rule(each) for each in case.series] for name, rule in SIMPLE.items()}
    return made


def threshold(scores: Iterable[Scores], series: Iterable[Series]) -> float:
    """Return the score that is reached on one judged day of sixty; where many days share it, on fewer."""
    usual = np.concatenate([score[each.judged] for score, each in zip(scores, series, strict=True)])
    return float(np.quantile(np.nan_to_num(usual, nan=-np.inf, posinf=np.finfo(float).max), 1 - 1 / DAYS))


def false_alarms(flags: Sequence[Flags], series: Sequence[Series], kind: str = "") -> float:
    """Return the alarms in 60 judged days of series in which nothing is planted (of a kind)."""
    usual = [flag[each.judged] for flag, each in zip(flags, series, strict=True) if kind in ("", each.kind)]
    return DAYS * float(np.concatenate(usual).mean()) if usual else np.nan


def caught(flags: Sequence[Flags], case: Case, kind: str = "", size: float | None = None) -> float:
    """Return which share of what was planted (of a size, in series of a kind) raised an alarm on its first day."""
    hits = [
        bool(flag[each.place])
        for flag, series, found in zip(flags, case.series, case.found, strict=True)
        if kind in ("", series.kind)
        for each in found
        if size in (None, each.size)
    ]
    return float(np.mean(hits)) if hits else np.nan


def above(scores: Iterable[Scores], least: float) -> list[Flags]:
    """Return the days whose score is above a threshold."""
    return [score > least for score in scores]


def failing(case: Case) -> list[Flags]:
    """Return the days of which the view says that more jobs failed than chance explains."""
    return as_flags(case.answers, "is_failing")


def lag(flags: Sequence[Flags], case: Case, within: int) -> tuple[float, float]:
    """Return which share of what begins was told within so many days, and the mean days that took."""
    days = [
        int(np.argmax(told)) if (told := flag[each.place : each.place + within]).any() else within
        for flag, found in zip(flags, case.found, strict=True)
        for each in found
    ]
    told = [each for each in days if each < within]
    return len(told) / len(days), float(np.mean(told)) if told else np.nan


def caught_credits(flags: Sequence[Flags], case: Case, usual: Case) -> float:
    """Return which share of the credits that were planted lies on days with an alarm."""
    more = [changed.credits - each.credits for changed, each in zip(case.series, usual.series, strict=True)]
    return float(sum(each[flag].sum() for each, flag in zip(more, flags, strict=True)) / sum(map(np.sum, more)))


def coverage(case: Case, kind: str = "") -> float:
    """Return the share of judged days that lie in the 80 % range."""
    low, high = (as_array(case.answers, name) for name in ("low", "high"))
    inside = [
        ((each.credits >= down) & (each.credits <= up))[each.judged]
        for each, down, up in zip(case.series, low, high, strict=True)
        if kind in ("", each.kind)
    ]
    return float(np.concatenate(inside).mean())


def some(series: Sequence[Series], each: int) -> list[int]:
    """Return the places of the first series of the first account of each kind: statsforecast is slow."""
    chosen: dict[str, list[int]] = {}
    for place, one in enumerate(series):
        chosen.setdefault(one.kind, []).append(place)
    return [place for places in chosen.values() for place in places[: max(each, len(places) // 20)]]


def part(case: Case, places: Sequence[int]) -> Case:
    """Return some of the series of a case."""
    return Case(
        [case.series[place] for place in places],
        [case.found[place] for place in places],
        [case.answers[place] for place in places],
        {name: [scores[place] for place in places] for name, scores in case.scores.items()},
    )


def recalls(usual: Case, of_size: Mapping[float, Case], names: Iterable[str]) -> dict[str, tuple[float, list[float]]]:
    """Return false alarms in 60 series-days, and recall at each size of spike, of each rule and of ours."""
    found = {}
    for name in names:
        least = threshold(usual.scores[name], usual.series)
        told = [caught(above(case.scores[name], least), case, size=size) for size, case in of_size.items()]
        found[name] = (false_alarms(above(usual.scores[name], least), usual.series), told)
    told = [caught(case.flags(), case, size=size) for size, case in of_size.items()]
    found[OURS] = (false_alarms(usual.flags(), usual.series), told)
    return found


def spikes(made: Cases) -> dict[float, Case]:
    """Return the cases in which spikes are planted, by their size."""
    return {size: made["spike", size] for size in SIZES}


def mixed(made: Cases, places: Sequence[int]) -> Case:
    """Return some of the series with spikes of all sizes in turn: statsforecast is too slow to have each of its own."""
    series, found = [], []
    for place in places:
        usual = made["", 0.0].series[place]
        jobs, costs, chosen = usual.jobs.copy(), usual.credits.copy(), []
        for number, each in enumerate(made["spike", SIZES[0]].found[place]):
            size = SIZES[number % len(SIZES)]
            changed = made["spike", size].series[place]
            jobs[each.place], costs[each.place] = changed.jobs[each.place], changed.credits[each.place]
            chosen.append(each._replace(size=size))
        series.append(replace(usual, jobs=jobs, credits=costs))
        found.append(chosen)
    scores = {name: [rule(each) for each in series] for name, rule in SIMPLE.items()}
    return Case(series, found, expected(series), scores)


def by_accounts(made: Cases) -> dict[str, list[float]]:
    """Return of each kind of account what is worth saying to its owner.

    Alarms in 60 series-days and days with any in 60 days, where nothing is planted; which share of doubled days is
    told, and of these where the model is the one that the day's episode names.
    """
    usual, case = made["", 0.0], made["spike", 2.0]
    figures: dict[str, list[list[float]]] = {}
    for account in dict.fromkeys(each.account for each in usual.series):
        places = [place for place, each in enumerate(usual.series) if each.account == account]
        series = [usual.series[place] for place in places]
        judged = [each.judged for each in series]
        alarms = as_flags(expected(series, WORTH_SAYING), "is_unusual")
        told = [flag[each] for flag, each in zip(alarms, judged, strict=True)]
        any_told = np.any([flag & each for flag, each in zip(alarms, judged, strict=True)], axis=0)
        days = np.any(judged, axis=0).sum()
        hits = _doubled(usual, case, places)
        row = [DAYS * np.concatenate(told).mean(), DAYS * any_told.sum() / days, *hits]
        figures.setdefault(series[0].kind, []).append(row)
    return {kind: [float(np.nanmean(column)) for column in zip(*rows, strict=True)] for kind, rows in figures.items()}


def _doubled(usual: Case, case: Case, places: Sequence[int]) -> tuple[float, float]:
    """Double days of an account's largest model alone: the share that is told, and of these the share that names it."""
    largest = max(places, key=lambda place: usual.series[place].credits.sum())
    found = episodes([(case if place == largest else usual).series[place] for place in places])
    above = found[found["kind"] == "above"]
    named = []
    for each in case.found[largest]:
        day = day_of(case.series[largest], each.place)
        of_day = above[(above["first_day"] <= day) & (above["last_day"] >= day)]
        named += [model == str(places.index(largest)) for model in of_day["model"]]  # one at most
    return len(named) / max(len(case.found[largest]), 1), float(np.mean(named)) if named else np.nan
