# /// script
# [tool.marimo.display]
# theme = "system"
# locale = "en-CA"
# ///
"""Where the credits go: over time, by model, and what a result costs."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", css_file="notebook.css", app_title="Credit spend")


@app.cell
def _():
    import marimo as mo

    from pipelines import notebook

    return mo, notebook


@app.cell
def _(notebook):
    page = notebook.opened("credit_spend")
    return (page,)


@app.cell
def _(page):
    page.banner()
    return


@app.cell
def _(mo, page):
    mo.md(f"""
    # Where do the credits go?

    Last good sync: {page.synced}. Credits are counted as in the views: jobs that have
    ended cost what the API says, those of open jobs are pending, a job without a cost is counted apart.
    """)
    return


@app.cell
def _(page):
    filters = page.filters("Bars")
    filters.hstack(justify="start", wrap=True)
    return (filters,)


@app.cell
def _(filters, page):
    answers = page.answers(filters.value)
    return (answers,)


@app.cell
def _(answers, notebook):
    notebook.show(answers)
    return


@app.cell
def _(answers, mo, page):
    drill = page.drill(answers)
    mo.vstack([mo.md("## Which jobs are these?"), drill.hstack(justify="start", wrap=True)])
    return (drill,)


@app.cell
def _(answers, drill, page):
    page.jobs(answers, drill.value)
    return


if __name__ == "__main__":
    app.run()
