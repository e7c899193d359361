"""The demo: a sandbox in the background, a first load, six hours of life, a second sync, and what it tells."""

import contextlib
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from pipelines import process, query, rendering, settings
from pipelines.report import write_report
from pipelines.sandbox import Sandbox
from pipelines.stores.duckdb import connect_readonly
from pipelines.sync import Outcome, sync

JOBS, DAYS, HOURS = 20_000, 90, 6
IN_FLIGHT = 60  # jobs that are open at the first sync
QUESTIONS = {
    "Credits by model, last 30 days": """
        select model, sum(jobs) as jobs, sum(credits) as credits
        from reports.daily_spend where day > current_date - 30
        group by model order by credits desc nulls last limit 5""",
    "Failure rate by model (finished jobs, with its 95 % interval)": """
        select model, finished, failed, round(100 * failure_rate, 1) as failed_percent,
            round(100 * failure_rate_low, 1) as low, round(100 * failure_rate_high, 1) as high
        from reports.model_reliability order by failure_rate desc limit 5""",
}


def run(progress: Callable[[], Any], show: Callable[[Outcome], None]) -> None:
    """Run the demo in `data/demo.duckdb` and `data/demo.html`, both made anew."""
    chosen = settings.load({})
    path = chosen.project / "data" / "demo.duckdb"
    _remove(path)
    now = datetime.now(UTC).replace(microsecond=0)
    with Sandbox(jobs=JOBS, days=DAYS, now=now - timedelta(hours=HOURS)) as api:
        # Whatever is configured for the real warehouse: this one is a file of its own
        chosen = settings.load(
            {},
            api_key=api.api_key,
            base_url=api.base_url,
            path=str(path),
            destination="duckdb",
            scope="user",
            timezone="UTC",
        )
        click.echo(f"A sandbox serves {JOBS:,} jobs of {DAYS} days on {api.base_url}. First load:")
        api.add(IN_FLIGHT)
        with progress() as shown:
            show(replace(sync(chosen, on_page=shown), notes=[]))  # that the sandbox is six hours behind is meant
        born = api.live_on(timedelta(hours=HOURS))
        click.echo(f"\n{HOURS} hours pass: {born:,} jobs are born, others finish, fail or are cancelled. Next sync:")
        with progress() as shown:
            show(sync(chosen, on_page=shown))
    with contextlib.closing(connect_readonly(path)) as connection:
        for title, sql in QUESTIONS.items():
            click.echo(f"\n{title}\n" + rendering.render(query.run(connection, sql), "table", 100))
        page = path.with_suffix(".html")
        write_report(connection, page, (now - timedelta(days=29)).date(), now.date(), "UTC", datetime.now(UTC))
    command = process.called()
    click.echo(
        "\nTry next:\n"
        f"  open {os.path.relpath(page)}   (the report, for the person who pays)\n"
        f"  WAREHOUSE__PATH={os.path.relpath(path)} {command} query "
        '"select model, failure_reason, jobs from failure_reasons order by jobs desc"\n'
        f"  export APIFRAME_API_KEY=afk_... && {command} sync   (your own jobs, in {settings.DEFAULT_PATH})"
    )


def _remove(path: Path) -> None:
    for file in [path, *path.parent.glob(f".load/{path.name}*")]:
        if file.is_dir():
            shutil.rmtree(file)
        else:
            file.unlink(missing_ok=True)
