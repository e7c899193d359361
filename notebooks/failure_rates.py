# /// script
# [tool.marimo.display]
# theme = "system"
# locale = "en-CA"
# ///
"""What fails: how often, since when, why, and how long the rest takes."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", css_file="notebook.css", app_title="Failure rates")


@app.cell
def _():
    import marimo as mo

    from pipelines import notebook

    return mo, notebook


@app.cell
def _(notebook):
    page = notebook.opened("failure_rates")
    return (page,)


@app.cell
def _(page):
    page.banner()
    return


@app.cell
def _(mo, page):
    mo.md(f"""
    # What fails, and why?

    Last good sync: {page.synced}. A rate is failed / (finished + failed); open and
    cancelled jobs are counted apart. The intervals (Wilson, 95 %) are what chance leaves open.
    """)
    return


@app.cell
def _(page):
    filters = page.filters("Points")
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
