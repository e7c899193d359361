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
from dataclasses import asdict
from pathlib import Path

import results
from measures import MODELS, Case, Cases, Plan, accounts, cases, mixed, part, some

HERE = Path(__file__).resolve().parent


def with_statsforecast(made: Cases, plan: Plan, python: Path) -> tuple[Case, Case]:
    """Return some of the series, as they are and with spikes of all sizes, and what statsforecast says of them too."""
    places = some(made["", 0.0].series, plan.of_statsforecast)
    chosen = part(made["", 0.0], places), mixed(made, places)
    with tempfile.TemporaryDirectory() as folder:
        running = []
        for number, case in enumerate(chosen):
            given = Path(folder) / f"{number}"
            given.write_bytes(pickle.dumps([asdict(each) for each in case.series]))
            for name in MODELS:
                target = given.with_suffix(f".{name}")
                process = subprocess.Popen([python, HERE / "rules.py", name, given, target])
                running.append((process, case, name, target))
        for process, case, name, target in running:
            if process.wait():
                raise RuntimeError(f"{name} of statsforecast failed")
            case.scores[name] = pickle.loads(target.read_bytes())
    return chosen


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
