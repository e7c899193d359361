"""Since when one waits longer."""

from collections.abc import Callable
from typing import Any

import duckdb

from pipelines import charts
from pipelines.pages.turnaround_over_time import LEAST, TurnaroundOverTime

Make = Callable[..., Any]


def test_both_percentiles_of_the_models_of_most_jobs(
    add: Make, answer: Make, warehouse: duckdb.DuckDBPyConnection
) -> None:
    for seconds in (0, 100, 200):
        add(2, "COMPLETED", model="often", seconds=seconds)
    for model in ("constructor", "b", "c", "d", None):
        add(1, "COMPLETED", model=model, seconds=9, hours=30)
    section = answer(TurnaroundOverTime)
    in_view = warehouse.execute("select day, model, jobs, p50_s, p95_s from reports.daily_turnaround").fetchall()
    shown = section.data.astype(object).where(section.data.notna(), None)
    assert {tuple(row) for row in shown.itertuples(index=False)} == set(in_view)
    drawn = section.chart(900)
    lines = drawn.data
    assert lines["model"].nunique() == charts.MOST_LINES
    assert lines.loc[lines["model"] == "often", "figure"].tolist() == [100, 200]
    assert charts.picture(drawn, "x")


def test_a_model_that_slows_down_is_named(add: Make, answer: Make) -> None:
    for day in range(20):
        add(LEAST // 5, "COMPLETED", model="slower", hours=24 * day, seconds=600 if day < 8 else 60)
        add(LEAST // 5, "COMPLETED", model="same", hours=24 * day, seconds=600)
    section = answer(TurnaroundOverTime, days=20)
    assert section.sentence().startswith(
        "slower has slowed down most: 95 % within 10.0 min in the second half of the period, 60.0 s in the first."
    )
    assert "slowed" not in answer(TurnaroundOverTime, days=5).sentence()


def test_where_nothing_has_finished_there_is_no_section(add: Make, answer: Make) -> None:
    add(1, "FAILED", seconds=1)
    assert answer(TurnaroundOverTime).data is None
