# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""Where the credits go: over time, by model, and what a result costs."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Credit spend")


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
    # Where do the credits go?

    Last good sync: {known.synced or "never"} UTC. Credits are counted as in the views: failed jobs cost
    nothing, those of open jobs are pending, a job without a cost is counted apart.
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
    unit = mo.ui.dropdown(["automatic", *queries.UNITS], value="automatic", label="Bars per")
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
def _(charts, mo, queries, total):
    mo.hstack(
        [
            mo.stat(queries.exact(total["credits"]), label="Credits spent", bordered=True),
            mo.stat(queries.exact(total["credits_pending"]), label="Credits pending", bordered=True),
            mo.stat(charts.number(total["jobs"]), label="Jobs created", bordered=True),
            mo.stat(
                charts.number(total["credits_per_finished_job"], 2),
                label="Credits per finished job",
                bordered=True,
            ),
            mo.stat(charts.number(total["credits_per_asset"], 2), label="Credits per file", bordered=True),
            mo.stat(charts.number(total["jobs_cost_unknown"]), label="Jobs of unknown cost", bordered=True),
        ],
        justify="start",
        wrap=True,
    )
    return


@app.cell
def _(ask, charts, escape, grain, mo, period, queries):
    spend = ask(queries.summary, period, grain, "model")
    mo.vstack(
        [
            mo.md(f"## Credits per {grain} and model"),
            charts.spend_over_time(spend, grain, "container"),
            mo.Html(f"<p>{escape(charts.read_spend(spend, grain))}</p>"),
        ]
    )
    return (spend,)


@app.cell
def _(ask, charts, mo, period, queries):
    by_model = ask(queries.summary, period, "model")
    mo.vstack(
        [
            mo.md("## What a result costs, in credits"),
            mo.ui.table(
                charts.spend_table(by_model),
                selection=None,
                show_column_summaries=False,
                show_data_types=False,
                page_size=15,
            ),
            mo.md(
                "Credits per job and per file are means over finished jobs whose cost is known; pending ones "
                "are those of open jobs; cost unknown counts jobs."
            ),
        ]
    )
    return (by_model,)


if __name__ == "__main__":
    app.run()
