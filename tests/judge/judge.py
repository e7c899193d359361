"""`make judge`: how well `reports.daily_expected` tells what is unusual, beside the simple rules, on half the accounts.

The other half is what its figures were tuned on. Every rule gets the threshold that raises one false alarm in 60
series-days on the very half it is judged on; the view's is fixed. Writes RESULTS.md beside this file.
"""

from __future__ import annotations

import argparse
import pickle
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import results
from measures import MODELS, SIZES, Case, Plan, Scores, accounts, cases, part, some
from worlds import Series

Cases = Mapping[tuple[str, float], Case]
HERE = Path(__file__).resolve().parent


def of_statsforecast(name: str, series: Sequence[Series], python: Path) -> list[Scores]:
    """Return the scores of a model of statsforecast, from the Python in which it is installed."""
    with tempfile.TemporaryDirectory() as folder:
        given, target = Path(folder) / "given", Path(folder) / "scores"
        given.write_bytes(pickle.dumps([asdict(each) for each in series]))
        subprocess.run([python, HERE / "rules.py", name, given, target], check=True)
        scores: list[Scores] = pickle.loads(target.read_bytes())
    return scores


def with_statsforecast(
    made: Mapping[tuple[str, float], Case], plan: Plan, python: Path
) -> dict[tuple[str, float], Case]:
    """Return a part of the series with the scores of statsforecast beside the others."""
    wanted = [("", 0.0), *(("spike", size) for size in SIZES)]
    places = some(made["", 0.0].series, plan.of_statsforecast)
    fewer = {key: part(made[key], places) for key in wanted}
    for case in fewer.values():
        for name in MODELS:
            case.scores[name] = of_statsforecast(name, case.series, python)
    return fewer


def main() -> None:
    """Judge, and write RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=Plan.accounts, help="accounts of each kind in each half")
    parser.add_argument("--models", type=Path, help="the Python that has statsforecast")
    given = parser.parse_args()
    begun, plan = time.monotonic(), Plan(given.accounts)
    tuned, record = (cases(accounts(half, plan)) for half in (0, 1))
    fewer = with_statsforecast(record, plan, given.models) if given.models else None
    page = results.page(tuned, record, fewer, plan, lambda: time.monotonic() - begun)
    (HERE / "RESULTS.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
