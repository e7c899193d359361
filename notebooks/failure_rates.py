# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""What fails: how often, since when, why, and how long the rest takes."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Failure rates")


@app.cell
def _():
    from datetime import timedelta
    from html import escape

    import marimo as mo

    from pipelines import charts, settings, stores
    from pipelines.errors import ApiframeWarehouseError
    from pipelines.reports import queries

    return ApiframeWarehouseError, charts, escape, mo, queries, settings, stores, timedelta


@app.cell
def _(ApiframeWarehouseError, mo, queries, settings, stores):
    def ask(question, *details):
        """Open, ask, close: a sync replaces the file, and an open connection would keep the old one."""
        with stores.connect(configured) as connection:
            return question(connection, *details)

    configured = settings.load()
    try:
        known = ask(queries.extent)
    except ApiframeWarehouseError as problem:
        known, reason = None, str(problem)
    else:
        reason = "The warehouse holds no jobs yet."
    mo.stop(
        known is None,
        mo.vstack(
            [
                mo.md("# Nothing to show yet"),
                mo.plain_text(reason),
                mo.md(
                    "Run one of these in the project's folder, then reload this page:\n\n"
                    "* `make demo` for made-up jobs: no key, no network\n"
                    "* `make sync` for your own: needs `APIFRAME_API_KEY`"
                ),
            ]
        ),
    )
    return ask, configured, known


@app.cell
def _(known, mo):
    mo.md(f"""
    # What fails, and why?

    Last good sync: {known.synced or "never"} UTC. A rate is failed / (finished + failed); open and
    cancelled jobs are counted apart. The intervals (Wilson, 95 %) are what chance leaves open.
    """)
    return


@app.cell
def _(known, mo, timedelta):
    days = mo.ui.date_range(
        start=known.oldest - timedelta(days=1),  # in another time zone jobs may lie a day before or after
        stop=known.newest + timedelta(days=1),
        value=(max(known.oldest, known.newest - timedelta(days=29)), known.newest),
        label="Days",
    )
    return (days,)


@app.cell
def _(configured, known, mo):
    zone = mo.ui.dropdown(known.zones, value=configured.timezone, label="Time zone", searchable=True)
    return (zone,)


@app.cell
def _(charts, known, mo):
    models = mo.ui.multiselect(
        dict(zip(charts.labels(known.models), known.models.fillna(""), strict=True)),
        label="Models (none chosen: all)",
    )
    return (models,)


@app.cell
def _(mo, queries):
    unit = mo.ui.dropdown(["automatic", *queries.UNITS], value="automatic", label="Points per")
    return (unit,)


@app.cell
def _(days, mo, models, unit, zone):
    mo.hstack([days, zone, models, unit], justify="start", wrap=True)
    return


@app.cell
def _(ask, days, mo, models, queries, unit, zone):
    period = queries.Period(*days.value, zone.value, tuple(models.value) or None)
    grain = period.unit() if unit.value == "automatic" else unit.value
    total = ask(queries.summary, period).iloc[0]
    mo.stop(not total["jobs"], mo.md("**No job was created in this period.** Choose other days or models."))
    return grain, period, total


@app.cell
def _(charts, mo, total):
    mo.hstack(
        [
            mo.stat(charts.percent(total["failure_rate"]), label="Failed, of ended jobs", bordered=True),
            mo.stat(charts.number(total["failed"]), label="Failed jobs", bordered=True),
            mo.stat(charts.number(total["finished"]), label="Finished jobs", bordered=True),
            mo.stat(charts.number(total["cancelled"]), label="Cancelled jobs", bordered=True),
            mo.stat(charts.number(total["open"]), label="Open jobs", bordered=True),
            mo.stat(charts.number(total["unknown"]), label="Outcome unknown", bordered=True),
        ],
        justify="start",
        wrap=True,
    )
    return


@app.cell
def _(ask, charts, escape, mo, period, queries):
    by_model = ask(queries.summary, period, "model")
    mo.vstack(
        [
            mo.md("## Which model fails too often?"),
            charts.failure_rates(by_model, "container"),
            mo.Html(f"<p>{escape(charts.read_failure_rates(by_model))}</p>"),
            mo.ui.table(
                charts.reliability_table(by_model),
                selection=None,
                show_column_summaries=False,
                show_data_types=False,
                page_size=15,
            ),
        ]
    )
    return (by_model,)


@app.cell
def _(ask, charts, escape, grain, mo, period, queries):
    over_time = ask(queries.summary, period, grain)
    mo.vstack(
        [
            mo.md(f"## Failure rate per {grain}"),
            charts.failure_rate_over_time(over_time, grain, "container"),
            mo.Html(f"<p>{escape(charts.read_failure_rate_over_time(over_time, grain))}</p>"),
        ]
    )
    return (over_time,)


@app.cell
def _(ask, charts, escape, mo, period, queries):
    reasons = ask(queries.failure_reasons, period)
    mo.vstack(
        [
            mo.md("## Why do jobs fail?"),
            *(
                [
                    charts.failure_reasons(reasons, "container"),
                    mo.ui.table(
                        charts.reasons_table(reasons),
                        selection=None,
                        show_column_summaries=False,
                        show_data_types=False,
                        wrapped_columns=["newest message"],
                    ),
                ]
                if len(reasons)
                else []
            ),
            mo.Html(f"<p>{escape(charts.read_failure_reasons(reasons))}</p>"),
        ]
    )
    return (reasons,)


@app.cell
def _(ask, charts, escape, mo, period, queries):
    waits = ask(queries.turnaround, period)
    mo.vstack(
        [
            mo.md("## How long does one wait for a result?"),
            *([charts.turnaround(waits, "container")] if len(waits) else []),
            mo.Html(f"<p>{escape(charts.read_turnaround(waits))}</p>"),
        ]
    )
    return (waits,)


if __name__ == "__main__":
    app.run()
