"""What was judged as a page of Markdown: targets first, met or missed, then what they are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np
from measures import (
    DAYS,
    DIPS,
    FAILURES,
    LEAKS,
    MODELS,
    OURS,
    PLANTED_BY,
    SEEDS,
    SIZES,
    STEPS,
    Case,
    Cases,
    Plan,
    above,
    by_accounts,
    caught,
    caught_credits,
    coverage,
    failing,
    false_alarms,
    lag,
    recalls,
    spikes,
    threshold,
)
from rules import SIMPLE
from worlds import STEP_DAYS

Told = Mapping[str, tuple[float, list[float]]]  # false alarms, and recall by size, of each rule
ENOUGH = 0.1  # of what the best simple rule misses at x1.5, ours has to catch


def page(tuned: Cases, record: Cases, fewer: tuple[Case, Case] | None, plan: Plan, seconds: Callable[[], float]) -> str:
    """Return the whole of RESULTS.md."""
    series = record["", 0.0].series
    days = sum(int(each.judged.sum()) for each in series)
    told = recalls(record["", 0.0], spikes(record), SIMPLE)
    of_tuned = recalls(tuned["", 0.0], spikes(tuned), [])[OURS]
    beside = _beside(fewer) if fewer else {}
    parts = [
        "# Results of `make judge`",
        f"{datetime.now(UTC):%Y-%m-%d}, duckdb {version('duckdb')}, numpy {version('numpy')}. Written by "
        "`tests/judge/judge.py`. Half of the accounts were tuned on: even seeds, and every other real series. "
        f"What follows is of the other half, odd seeds from {SEEDS[1]} to {SEEDS[1] + 2 * plan.accounts - 2} (what is "
        f"planted: seed {PLANTED_BY}): {len(series)} series, {days:,} judged days. Each simple rule has the threshold "
        f"that raises one false alarm in {DAYS} series-days on this very half; the view's range is fixed.",
        "## Targets",
        _targets(record, told, beside),
        "## Reading",
        _reading(record),
        f"## Recall of spikes, and false alarms in {DAYS} series-days",
        _recalls(told | {f"{OURS}, where it was tuned": of_tuned}),
    ]
    if fewer:
        count = sum(map(len, fewer[1].found))
        parts += [
            f"## On {len(fewer[0].series)} of the series, with statsforecast",
            f"{count} spikes of all sizes in turn. AutoETS and MSTL are fitted to each series every 28 days and go on "
            "day by day between; a day's score is how far it lies above the forecast of the day before, by their own "
            "interval, and their threshold is found as that of the others.",
            _recalls(beside),
        ]
    parts += [
        "## By kind",
        "A simple rule is shown with a threshold of its own for each kind, one false alarm in 60 series-days there: "
        "nobody can have that, since nobody knows the kind of an account. The view has its one range for all.",
        _kinds(record),
        "## What goes on: steps of 14 days, and leaks without end",
        _lasting(record),
        "## Below",
        _below(record),
        "## Failures",
        _failures(record),
        "## As the product says it: worth saying, and both sides",
        by_account(record),
        f"Judged in {seconds() / 60:.0f} minutes.",
    ]
    return "\n\n".join(parts) + "\n"


def _beside(fewer: tuple[Case, Case]) -> Told:
    usual, case = fewer
    return recalls(usual, dict.fromkeys(SIZES, case), [*SIMPLE, *MODELS])


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def share(value: float) -> str:
    """Write a share with two digits."""
    return "-" if np.isnan(value) else f"{value:.2f}"


def _times(sizes: Iterable[float]) -> list[str]:
    return [f"x{size:g}" for size in sizes]


def _recalls(told: Told) -> str:
    rows = [[name, share(false), *map(share, found)] for name, (false, found) in told.items()]
    return table(["rule", "false", *_times(SIZES)], rows)


def _targets(record: Cases, told: Told, beside: Told) -> str:
    rows = []
    for where, found in {"": told, ", statsforecast beside it": beside}.items():
        if not found:
            continue
        ours = found[OURS][1]
        others = [max(rule[1][place] for name, rule in found.items() if name != OURS) for place in range(len(SIZES))]
        for size, least, got in zip(SIZES, others, ours, strict=True):
            wanted = least + ENOUGH * (1 - least) if size == 1.5 else least
            rows.append([f"recall of x{size:g}{where}", share(got), f"at least {share(wanted)}", got >= wanted])
    false = told[OURS][0]
    rows.append([f"false alarms above, in {DAYS} series-days", share(false), "at most 1", false <= 1])
    inside = coverage(record["", 0.0])
    rows.append(["days inside the 80 % range", share(inside), "0.75 to 0.85", 0.75 <= inside <= 0.85])
    return table(
        ["on the half that was not tuned on", "measured", "wanted", ""],
        [[*row[:3], "met" if row[3] else "**missed**"] for row in rows],
    )


def _reading(record: Cases) -> str:
    kinds = dict.fromkeys(each.kind for each in record["", 0.0].series)
    as_good = {}
    for kind in kinds:
        ours = caught(record["spike", 1.5].flags(), record["spike", 1.5], kind)
        best = {name: _of_its_own(record, name, kind, 1.5) for name in SIMPLE}
        name = max(best, key=lambda each: best[each])
        if best[name] >= ours:
            as_good[kind] = f"{kind} ({name}: {share(best[name])} to {share(ours)})"
    told = (
        f"At x1.5 a simple rule is as good on accounts of these kinds: {', '.join(as_good.values())}. "
        if as_good
        else ""
    )
    return (
        f"{told}That is with a threshold for that kind alone: over all accounts each of them is worse, since one "
        "threshold cannot fit them all, and nobody sets one for each model. Few jobs, or bursts of them, hide a day "
        "that is half as much again from every rule. A leak of a tenth is no spike: none of them tells it for sure; "
        "the forecast of the month is what sees it."
    )


def _kinds(record: Cases) -> str:
    usual = record["", 0.0]
    rows = []
    for kind in dict.fromkeys(each.kind for each in usual.series):
        ours = [caught(record["spike", size].flags(), record["spike", size], kind) for size in SIZES]
        best = [max(_of_its_own(record, name, kind, size) for name in SIMPLE) for size in SIZES]
        false = false_alarms(usual.flags(), usual.series, kind)
        rows.append([kind, share(coverage(usual, kind)), share(false), *map(share, ours), *map(share, best)])
    columns = ["kind", "inside 80 %", "false", *_times(SIZES), *(f"best simple, {each}" for each in _times(SIZES))]
    return table(columns, rows)


def _of_its_own(record: Cases, name: str, kind: str, size: float) -> float:
    usual, case = record["", 0.0], record["spike", size]
    of_kind = [place for place, each in enumerate(usual.series) if each.kind == kind]
    least = threshold([usual.scores[name][place] for place in of_kind], [usual.series[place] for place in of_kind])
    return caught(above(case.scores[name], least), case, kind)


def _lasting(record: Cases) -> str:
    usual, rows = record["", 0.0], []
    least = {name: threshold(usual.scores[name], usual.series) for name in SIMPLE}
    for kind, sizes in (("step", STEPS), ("leak", LEAKS)):
        for size in sizes:
            case = record[kind, size]
            for name in (OURS, *SIMPLE):
                flags = case.flags() if name == OURS else above(case.scores[name], least[name])
                told, days = lag(flags, case, STEP_DAYS)
                credits_told = caught_credits(flags, case, usual)
                rows.append([f"{kind} x{size:g}", name, share(told), f"{days:.1f}", share(credits_told)])
    for size in SIZES:
        case = record["spike", size]
        rows.append([f"spike x{size:g}", OURS, "", "", share(caught_credits(case.flags(), case, usual))])
    return table(["what", "rule", "told within 14 days", "mean days until then", "its credits on days told"], rows)


def _below(record: Cases) -> str:
    usual = record["", 0.0]
    rows = [["false alarms below", share(false_alarms(usual.flags(-1), usual.series))]]
    rows += [
        [f"recall of x{size:g}", share(caught(record["dip", size].flags(-1), record["dip", size]))] for size in DIPS
    ]
    return table(["daily_expected", ""], rows)


def _failures(record: Cases) -> str:
    usual = record["", 0.0]
    real = false_alarms(failing(usual), usual.series, "flights")
    drawn = [each.kind not in ("flights", "orders") for each in usual.series]
    places = [place for place, is_drawn in enumerate(drawn) if is_drawn]
    flags = failing(usual)
    rows = [
        [
            "false alarms, drawn accounts",
            share(false_alarms([flags[place] for place in places], [usual.series[place] for place in places])),
        ],
        ["alarms on flights, where many are of bad weather", share(real)],
    ]
    for size in FAILURES:
        case = record["failures", size]
        rows.append([f"recall of x{size}", share(caught(failing(case), case))])
    return table(["daily_expected, is_failing", ""], rows)


def by_account(record: Cases) -> str:
    """Return what an account's owner is told, with `checks.min_impact` as it is unless it is set."""
    rows = [[name, *map(share, figures)] for name, figures in by_accounts(record).items()]
    columns = ["accounts", "alarms in 60 series-days", "days with one in 60 account-days", "x2 told", "named first"]
    return table(columns, rows)
