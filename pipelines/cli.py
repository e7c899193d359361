"""The command `apiframe-warehouse`: options, output and exit codes; what it does lies in the other modules.

dlt, duckdb, pandas and pyarrow are imported by the commands that need them, so that `--help` answers at once.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
import math
import os
import re
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from pipelines import settings, stores
from pipelines.errors import ApiframeWarehouseError, ConfigurationError, NoWarehouseError
from pipelines.wording import age, books, counted, exact, money, why_no_cost

if TYPE_CHECKING:
    from pipelines.apiframe.paging import Paging
    from pipelines.sync import Outcome

LOG_SECONDS = 10.0

_interrupted = threading.Event()


def main() -> None:
    """Run the command and exit with the code of the contract; every error is one line."""
    _open_streams()
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # ignored in the background of a shell
        signal.signal(signal.SIGINT, _interrupt)
    os.umask(0o077)  # what is written holds what a company makes and pays: for its owner only
    debug = "--debug" in sys.argv
    try:
        code = cli.main(standalone_mode=False, prog_name="apiframe-warehouse") or 0
        sys.stdout.flush()
    except ApiframeWarehouseError as problem:
        code = _fail(str(problem), problem.exit_code, debug)
    except click.exceptions.NoArgsIsHelpError as problem:  # the help is no error to be put on one line
        click.echo(problem.format_message(), err=True)
        code = 2
    except click.ClickException as problem:
        context = getattr(problem, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context else ""
        code = _fail(problem.format_message().replace("\n", " ") + hint, 2, debug)
    except (KeyboardInterrupt, click.Abort):
        code = _fail("interrupted; nothing is lost, run it again", 1, debug)
    except BrokenPipeError:  # the reader of a pipe has gone; nothing more to say, also not at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as problem:
        told = f"{type(problem).__name__}: {problem}".split("\n", 1)[0]
        code = _fail(f"unexpected: {told}; nothing is lost, --debug shows where", 1, debug)
    _exit(code)


def _exit(code: int) -> NoReturn:
    """End this process at once: Python takes a third of a second to free all that dlt and DuckDB have made."""
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(code)


def _fail(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    from pipelines.exact import printable

    click.echo(f"apiframe-warehouse: {printable(message)}", err=True)
    return code


def _open_streams() -> None:
    """Put something in the place of streams that the caller closed: the next file opened would be taken for them."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - until the end
        elif mode == "w" and stream.isatty():
            stream.reconfigure(errors="replace")  # a terminal may not have every letter; a file gets all or an error


def _interrupt(_signal: int, _frame: object) -> None:
    _interrupted.set()
    raise KeyboardInterrupt


class _Examples(click.Command):
    """A command whose help ends with examples. What begins with dashes and a blank is SQL's comment, and no option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [f" {text}" if re.match(r"--\s", text) else text for text in args])

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return the first sentence whole: it is wrapped where it is too long, and not cut."""
        return re.split(r"(?<=\.)\s", " ".join((self.help or "").split()), maxsplit=1)[0]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.splitlines():
                    formatter.write(f"  {line}\n")


def _command(name: str, *examples: str) -> Callable[[Callable[..., Any]], click.Command]:
    def decorate(function: Callable[..., Any]) -> click.Command:
        @functools.wraps(function)
        def call(*, debug: bool, **arguments: Any) -> Any:  # main() looks for it
            return function(**arguments)

        option = click.option("--debug", is_flag=True, help="Show a traceback where something fails.")
        return cli.command(name, cls=_Examples, epilog="\n".join(examples))(option(call))

    return decorate


def _versions(context: click.Context, _option: click.Parameter, asked: bool) -> None:
    if asked:
        names = ("apiframe-warehouse", "dlt", "duckdb")
        click.echo(", ".join(f"{name} {metadata.version(name)}" for name in names))
        context.exit()


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
scope_option = click.option(
    "--scope",
    type=click.Choice(["user", "team"]),
    help="Where both are held: your own jobs, or the team's.  [default: sources.apiframe.scope]",
)
label_option = click.option(
    "--label",
    "labels",
    metavar="LABEL=VALUE",
    multiple=True,
    help="Only jobs with this value of a label (customer=: with none). Of several labels all must hold, of several "
    "values of one any.",
)
quiet_option = click.option("--quiet", is_flag=True, help="Print nothing but errors.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_versions, help="Show versions.")
def cli() -> None:
    """Apiframe generation jobs in a DuckDB warehouse: what was spent, on what, and what failed.

    Settings come from .dlt/config.toml, .dlt/secrets.toml and the environment.
    """


@_command(
    "sync",
    "apiframe-warehouse sync",
    "apiframe-warehouse sync --since 2026-01-01      # a first load of this year only",
    "apiframe-warehouse sync --full                  # read everything again and say what had drifted",
)
@click.option("--full", is_flag=True, help="Read everything again, repair it, and report what had drifted.")
@click.option("--since", metavar="DATE", help="Limit a first load to jobs created since this day (UTC).")
@click.option(
    "--wait",
    metavar="SECONDS",
    type=click.FloatRange(0, 86400),
    default=60.0,
    show_default=True,
    help="How long to wait for another sync of this warehouse.",
)
@quiet_option
@json_option
def sync_command(full: bool, since: str | None, wait: float, quiet: bool, as_json: bool) -> None:
    """Bring the warehouse up to date.

    Reads new jobs and those that can still change, and publishes the result in one step: readers may keep the
    file open.
    """
    from pipelines import process, project
    from pipelines.sync import sync

    if math.isnan(wait):
        raise click.UsageError("--wait takes a number of seconds")
    if full and since is not None:
        raise click.UsageError("--full reads everything: leave out --since")
    chosen = settings.load()
    chosen.require_key()
    if sys.stderr.isatty() and not quiet and (note := project.unexpected(chosen)):  # for a person, not for a log
        click.echo(f"note: {note}", err=True)
    with _Progress(quiet=quiet) as progress, process.loading():
        outcome = sync(chosen, full=full, since=_since(since), wait=wait, on_page=progress)
    if chosen.heartbeat_url:
        from pipelines.heartbeat import beat

        outcome.notes.extend(filter(None, [beat(chosen.heartbeat_url)]))
    if as_json:
        _print_json(_outcome_facts(outcome))
    elif not quiet:
        _print_outcome(outcome)


@_command("status", "apiframe-warehouse status", "apiframe-warehouse status --json")
@scope_option
@json_option
def status_command(scope: str | None, as_json: bool) -> None:
    """Say what the warehouse holds and how fresh it is."""
    from pipelines import status

    found = status.facts(settings.load(), int(time.time() * 1e6), scope)
    if as_json:
        _print_json(found)
    else:
        click.echo("\n".join(_status_lines(found)))


@_command(
    "query",
    'apiframe-warehouse query "select model, sum(credits) from reports.jobs group by model"',
    "apiframe-warehouse query --file spend.sql --format csv > spend.csv",
    "echo 'from reports.daily_spend' | apiframe-warehouse query -",
)
@click.argument("sql", required=False)
@click.option("--file", type=click.Path(dir_okay=False, allow_dash=True), help="Read the SQL from a file (-: stdin).")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "markdown"]),
    help="Default: a table on a terminal, csv in a pipe.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--csv-safe", is_flag=True, help="As csv, an apostrophe before what a spreadsheet takes for a formula.")
@click.option("--views", is_flag=True, help="List views and tables with their columns, and what they mean.")
def query_command(
    sql: str | None, file: str | None, form: str | None, as_json: bool, csv_safe: bool, views: bool
) -> None:
    """Run SQL on the warehouse, read-only.

    SQL is the statement, or - to read it from standard input.

    A select may read files of your own (from 'budget.csv', read_parquet(...)); every other statement reads the
    warehouse alone. None writes a file, attaches a database, loads an extension, or sets more than a variable and the
    TimeZone. On Postgres it is one statement that gives rows. Names need no schema: from daily_spend.
    """
    from pipelines import query, rendering
    from pipelines.stores import connect

    if [sql is not None, file is not None, views].count(True) != 1:
        raise click.UsageError("give the SQL, --file FILE or --views")
    text = _read_text(file or "-") if file is not None or sql == "-" else sql or ""
    chosen = settings.load()
    with contextlib.closing(connect(chosen)) as connection:
        result = query.described(connection, chosen) if views else query.run(connection, text.removeprefix("\ufeff"))
    terminal = sys.stdout.isatty()
    form = "json" if as_json else "csv" if csv_safe else form or ("table" if terminal else "csv")
    width = shutil.get_terminal_size().columns if terminal else None
    if views and form == "table":
        _echo(rendering.outline(result, width or 100))
    else:
        _echo(rendering.render(result, form, width, csv_safe=csv_safe))


@_command(
    "report",
    "apiframe-warehouse report",
    "apiframe-warehouse report --days 7 --output week.html",
    "apiframe-warehouse report --from 2026-10-01 --to 2026-10-31",
    "apiframe-warehouse report --label customer=acme --label 'project=films' --output acme.html",
)
@click.option("--days", type=click.IntRange(1, 3660), help="The last so many days, today included.  [default: 30]")
@click.option("--from", "first", metavar="DATE", help="The first day.")
@click.option("--to", "last", metavar="DATE", help="The last day.  [default: today]")
@scope_option
@label_option
@click.option(
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="-: standard output.  [default: report.html beside the warehouse]",
)
@json_option
def report_command(
    days: int | None,
    first: str | None,
    last: str | None,
    scope: str | None,
    labels: tuple[str, ...],
    output: str | None,
    as_json: bool,
) -> None:
    """Write one HTML file that opens anywhere: spend, reliability, failures, turnaround, stuck jobs."""
    from pipelines.report import made, write_report
    from pipelines.reports import queries
    from pipelines.stores import connect
    from pipelines.warehouse import Warehouse
    from pipelines.zones import local

    chosen = settings.load()
    if days is not None and first is not None:
        raise click.UsageError("give --days or --from, not both")
    if output == "-" and as_json:
        raise click.UsageError("give --json or --output -, not both")
    now = datetime.now(UTC)
    begin, end = _day(first) if first else None, _day(last) if last else None
    target = Path(output) if output else chosen.path.with_name("report.html")
    with contextlib.closing(connect(chosen)) as connection:
        last_day = end or local(connection, now, chosen.timezone).date()
        first_day = begin or last_day - timedelta(days=(days or 30) - 1)
        if first_day > last_day:
            raise click.UsageError(f"the first day {first_day} is after the last day {last_day}")
        held, days_of = Warehouse.over(connection).scopes(), (first_day, last_day, chosen.timezone, now)
        shown, of = queries.scope_shown(held, scope, chosen.scope), queries.labels_asked(connection, labels)
        if output == "-":
            click.echo(made(connection, *days_of, scope=shown, labels=of, budget=chosen.budget)[0], nl=False)
            return
        headline = write_report(connection, target, *days_of, scope=shown, labels=of, budget=chosen.budget)
    if as_json:
        _print_json({"path": str(target), **headline})
    else:
        click.echo(f"{first_day} to {last_day}: {target}")


@_command(
    "export",
    "apiframe-warehouse export monthly_spend --to spend.csv",
    "apiframe-warehouse export jobs --to jobs.parquet",
    "apiframe-warehouse export apiframe.job_changes --to changes.json",
    "apiframe-warehouse export focus --to bills            # for finance: a file a month, as FOCUS wants it",
    "apiframe-warehouse export focus --to bills --from 2026-10-01 --to-day 2026-10-31 --grain day --format csv",
)
@click.argument("name")
@click.option("--to", "target", type=click.Path(path_type=Path), required=True, help="The file; of focus the folder.")
@click.option("--from", "first", metavar="DAY", help="Of focus: the month of this day is the first one.")
@click.option("--to-day", "last", metavar="DAY", help="Of focus: the month of this day is the last one.")
@click.option("--format", "form", type=click.Choice(["parquet", "csv"]), help="Of focus.  [default: parquet]")
@click.option("--version", type=click.Choice(["1.2", "1.4"]), help="Of focus: the specification's.  [default: 1.2]")
@click.option(
    "--grain",
    type=click.Choice(["job", "day"]),
    help="Of focus: a row per job, or per day and model.  [default: job]",
)
@click.option("--csv-safe", is_flag=True, help="An apostrophe before what a spreadsheet takes for a formula.")
@json_option
def export_command(name: str, target: Path, csv_safe: bool, as_json: bool, **of_focus: str | None) -> None:
    """Write a view or a table to a file that ends in .parquet, .csv or .json; every value is exact.

    NAME is a view of reports, or a table by its full name; query --views lists both.

    NAME focus writes a folder: a file per month (UTC), with a row per job that cost credits and one per pack that was
    bought, in the columns of FOCUS. A month's file is always whole, and replaces the one that is there.
    """
    from pipelines.stores import connect

    given = {option: value for option, value in of_focus.items() if value is not None}
    chosen = settings.load()
    if name == "focus":
        with contextlib.closing(connect(chosen)) as connection:
            _export_focus(connection, target, given, as_json)
        return
    from pipelines.export import export

    if given:
        raise click.UsageError("--from, --to-day, --format, --version and --grain are for export focus")
    with contextlib.closing(connect(chosen)) as connection:
        rows = export(connection, name, target, csv_safe=csv_safe)
    if as_json:
        _print_json({"path": str(target), "rows": rows})
    else:
        click.echo(f"{counted(rows, 'row')}: {target}")


def _export_focus(connection: Any, folder: Path, given: dict[str, str], as_json: bool) -> None:
    from pipelines import focus

    days: dict[str, Any] = {option: _day(given[option]) for option in ("first", "last") if option in given}
    if len(days) == 2 and days["first"] > days["last"]:
        raise click.UsageError(f"the first day {days['first']} is after the last day {days['last']}")
    wanted = focus.Wanted(folder)._replace(**{**given, **days})
    found = focus.export(connection, wanted)
    if as_json:
        _print_json(focus.facts(found, wanted))
    else:
        click.echo("\n".join(focus.told(found)))


@_command(
    "check",
    "apiframe-warehouse check || echo 'look at the lines that say breached'",
    "apiframe-warehouse check --notify --json",
)
@click.option("--notify", is_flag=True, help="Send what is new, has changed or is over, and a reminder a day.")
@click.option("--every-time", is_flag=True, help="With --notify: send all that is not in order, told before or not.")
@click.option("--quiet", is_flag=True, help="Print what is not in order and nothing else.")
@json_option
def check_command(notify: bool, every_time: bool, quiet: bool, as_json: bool) -> int:
    """Hold freshness, failures, spend, refunds, credits left and more against checks.*; exit code 5 on a breach.

    --notify sends to each of these that is set: Slack (runtime.slack_incoming_hook), a program (checks.webhook_url),
    mail (checks.mail_to).
    """
    from pipelines import alarms, checks
    from pipelines.stores import connect

    chosen = settings.load()
    if every_time and not notify:
        raise click.UsageError("--every-time goes with --notify")
    if notify:
        alarms.require_channels(chosen)
    try:
        connection = connect(chosen)
    except NoWarehouseError:
        connection = None
    now = datetime.now(UTC)
    try:
        findings = checks.run_checks(connection, chosen, now)
    finally:
        if connection is not None:
            connection.close()
    failing = [finding for finding in findings if finding.state in ("breached", "unmeasured")]
    if as_json:
        _print_json({"breached": bool(failing), "checks": [dataclasses.asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            if finding.state != "ok" or not quiet:
                click.echo(f"{finding.state:10}  {finding.check:16}  {finding.message}")
    if notify:
        alarms.tell(chosen, findings, now, folder=stores.store_for(chosen).folder, every_time=every_time)
    return 5 if failing else 0


@_command(
    "digest",
    "apiframe-warehouse digest --print                # the last 7 whole days",
    "apiframe-warehouse digest --output week.html     # for cron, once a week",
    "apiframe-warehouse digest --days 1               # once a day",
)
@click.option("--days", type=click.IntRange(1, 366), default=7, show_default=True, help="The last so many whole days.")
@scope_option
@label_option
@click.option(
    "--output", type=click.Path(dir_okay=False), help="Write the report of these days, too; mail takes it along."
)
@click.option("--print", "only_print", is_flag=True, help="Print it and send nothing.")
@json_option
def digest_command(
    days: int,
    scope: str | None,
    labels: tuple[str, ...],
    output: str | None,
    only_print: bool,
    as_json: bool,
) -> None:
    """Send the last whole days in at most 15 lines: spend, what changed, failures, refunds due, credits left.

    It goes where check --notify sends to: runtime.slack_incoming_hook, checks.webhook_url, checks.mail_to. Where none
    of these is set it is printed.
    """
    from pipelines import alarms, digest
    from pipelines.stores import connect

    chosen = settings.load()
    with contextlib.closing(connect(chosen)) as connection:
        report = Path(output).absolute() if output else None
        found = digest.gather(connection, chosen, datetime.now(UTC), days, report, scope=scope, labels=labels)
    sent = [] if only_print else alarms.send(chosen, digest.message(found))
    if as_json:
        _print_json({**digest.facts_of(found), "sent": sent})
    elif sent:
        click.echo(f"sent: {', '.join(sent)}")
    else:
        _echo("\n".join(digest.lines(found)))
        if not only_print:
            click.echo(f"note: nobody was told: set {alarms.TO_SET}", err=True)


@_command(
    "inputs",
    "apiframe-warehouse inputs",
    "apiframe-warehouse inputs --limit 5000          # the newest of those that are missing",
)
@click.option("--limit", metavar="N", type=click.IntRange(1), help="So many at most, one request each.  [default: all]")
@quiet_option
@json_option
def inputs_command(limit: int | None, quiet: bool, as_json: bool) -> None:
    """Read what jobs were asked for, where no sync has done so yet.

    Needs sources.apiframe.inputs = true. Interrupted, it keeps what it has and goes on when it is run again.
    """
    from pipelines import process
    from pipelines.inputs import backfill

    with _Progress(quiet=quiet) as progress, process.loading():
        done = backfill(settings.load(), limit=limit, on_input=progress.inputs)
    if as_json:
        _print_json(done._asdict())
    elif not quiet:
        click.echo(
            f"{counted(done.read, 'input')} read, {counted(done.without, 'job')} without · "
            f"{counted(done.requests, 'request')}, {done.seconds:.1f} s · {done.missing:,} still missing"
        )
        if not done.published:
            click.echo("note: readers see them after the next sync", err=True)


@_command(
    "copy",
    "apiframe-warehouse copy --to postgres           # then set warehouse.destination in .dlt/config.toml",
)
@click.option("--to", "target", type=click.Choice(stores.names()), required=True, help="Where to; it is empty.")
@json_option
def copy_command(target: str, as_json: bool) -> None:
    """Bring the warehouse over to another destination, so that the next sync there goes on where it was.

    What is copied is the warehouse in use, or the DuckDB file where that is set to the new destination already.
    """
    from pipelines import process
    from pipelines.copying import copy

    source = settings.load()
    if source.destination == target:
        source = settings.load(destination="duckdb")
    if source.destination == target:
        raise click.UsageError(f"the warehouse is in {target} already")
    with process.loading():
        copied = copy(stores.store_for(source), stores.store_for(settings.load(destination=target)))
    if as_json:
        _print_json(copied._asdict())
    else:
        click.echo(f"{counted(copied.jobs, 'job')} and {counted(copied.syncs, 'sync')} copied to {copied.place}")
        click.echo(f'now set warehouse.destination = "{target}" in .dlt/config.toml')


@_command(
    "maintain",
    "apiframe-warehouse maintain",
    "apiframe-warehouse maintain --keep 30d",
    "apiframe-warehouse maintain --changes-older-than 400d",
)
@click.option(
    "--keep", default="7d", show_default=True, help="Keep what versions so old need: readers may still use them."
)
@click.option(
    "--changes-older-than",
    "changes",
    metavar="AGE",
    help="Only delete changes of jobs that were seen so long ago, from apiframe.job_changes: on every destination.",
)
@json_option
def maintain_command(keep: str, changes: str | None, as_json: bool) -> None:
    """Merge the small files of Delta tables into large ones and delete those that are no longer needed.

    What was seen to be refunded is known from the changes of jobs: with these, it is forgotten.
    """
    store = stores.store_for(settings.load())
    if changes is not None:
        from pipelines.tables.job_changes import TABLE

        before = time.time() - _span("--changes-older-than", changes).total_seconds()
        deleted = store.prune(TABLE, "seen_at", int(before * 1e6))
        if as_json:
            _print_json({TABLE.name: {"rows_deleted": deleted}})
        else:
            click.echo(f"{counted(deleted, 'change')} deleted")
        return
    done = store.maintain(_span("--keep", keep))
    if as_json:
        _print_json(done)
    else:
        for table, counts in done.items():
            click.echo(
                f"{table:16}{counts['files_before']} files became {counts['files']}, {counts['deleted']} deleted"
            )


def _span(option: str, text: str) -> timedelta:
    try:
        return settings.duration(text)
    except ValueError as problem:
        raise ConfigurationError(f"{option} {text!r}: {problem}") from None


@_command("sandbox", "apiframe-warehouse sandbox --port 8080", "apiframe-warehouse sandbox --port 0 --json")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: a free one.")
@click.option(
    "--jobs",
    type=click.IntRange(0, 10_000_000),
    default=20_000,
    show_default=True,
    help="Jobs to begin with.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same jobs.")
@json_option
def sandbox_command(port: int, jobs: int, seed: int, as_json: bool) -> None:
    """Serve a local Apiframe, with jobs that live and change, until it is interrupted."""
    from pipelines.sandbox.server import serve

    try:
        serve(port, jobs, seed, as_json, sys.stdout)
    except OSError as problem:
        raise ConfigurationError(f"cannot serve on port {port}: {problem.strerror}") from None


@_command("init", "apiframe-warehouse init")
@json_option
def init_command(as_json: bool) -> None:
    """Write a commented .dlt into this folder: every setting with its default. What is there stays as it is."""
    from pipelines import project

    done = project.begin(settings.load().project)
    if as_json:
        _print_json({"written": [str(path) for path, new in done.items() if new]})
        return
    for path, new in done.items():
        click.echo(f"{'written' if new else 'there already'}: {_shown(path)}")
    click.echo(
        "now export APIFRAME_API_KEY=afk_... (or put it into .dlt/secrets.toml), and run apiframe-warehouse sync"
    )


@_command("notebooks", "apiframe-warehouse notebooks", "apiframe-warehouse notebooks --port 8081   # no browser")
@click.option("--port", type=click.IntRange(1, 65535), help="Serve there, and open no browser.  [default: a free one]")
def notebooks_command(port: int | None) -> NoReturn:
    """Open the notebooks in a browser: spend and failures with filters, served to this machine alone."""
    from pipelines import project

    project.open_notebooks(port)


@_command("demo", "apiframe-warehouse demo")
def demo_command() -> None:
    """See it work on a local sandbox, in data/demo.duckdb: no key, no network, no real warehouse touched."""
    from pipelines import demo, process

    @contextlib.contextmanager
    def progress() -> Iterator[_Progress]:
        with process.loading(), _Progress() as shown:
            yield shown

    demo.run(progress, _print_outcome)


class _Progress:
    """Shows how a reading goes on: a bar on a terminal, a line now and then elsewhere, nothing when quiet."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.bar: Any = None
        self.begun = self.logged = time.monotonic()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, reading: Paging) -> None:
        """Show how many jobs a sync has read."""
        from pipelines.exact import moment

        back_to = f"back to {moment(reading.oldest):%Y-%m-%d}" if reading.oldest is not None else ""
        self._show(reading.jobs_read, "jobs", back_to)

    def inputs(self, done: int, wanted: int) -> None:
        """Show how many inputs are read, and how long the others will take at this rate."""
        left = (time.monotonic() - self.begun) / done * (wanted - done)
        self._show(done, "inputs", f"of {wanted:,}, {age(round(left))} left", wanted)

    def _show(self, done: int, things: str, note: str, wanted: int | None = None) -> None:
        if _interrupted.is_set():  # what is raised while Python imports something can get lost
            raise KeyboardInterrupt
        if self.quiet:
            return
        if sys.stderr.isatty():
            if self.bar is None:
                from tqdm import tqdm

                self.bar = tqdm(
                    desc="reading", total=wanted, unit=f" {things}", unit_scale=True, leave=False, file=sys.stderr
                )
            if wanted is None:  # a bar that has an end tells the rest itself
                self.bar.set_postfix_str(note, refresh=False)
            self.bar.update(done - self.bar.n)
        elif time.monotonic() - self.logged > LOG_SECONDS:
            self.logged = time.monotonic()
            click.echo(f"reading: {done:,} {things} {note}", err=True)


def _print_outcome(outcome: Outcome) -> None:
    run = outcome.run
    parts = [
        f"{counted(run.jobs_read, 'job')} read: {run.jobs_new:,} new, {run.jobs_finished:,} finished, "
        f"{run.open_jobs:,} still open",
        f"{exact(outcome.credits_added, '+') if outcome.credits_added else 'no'} credits",
        f"{counted(run.requests, 'request')}, {outcome.seconds:.1f} s",
        _shown(outcome.path),
    ]
    click.echo(" · ".join(parts))
    if run.mode == "full":
        fields = ", ".join(f"{name} {count:,}" for name, count in outcome.drift.items())
        click.echo(f"{counted(outcome.drifted, 'job')} had drifted" + (f" ({fields})" if fields else ""))
    if outcome.delisted:
        kept = "is no longer listed; it is" if outcome.delisted == 1 else "are no longer listed; they are"
        click.echo(f"{counted(outcome.delisted, 'job')} {kept} kept, with delisted_at set")
    for note in outcome.notes:
        click.echo(f"note: {note}", err=True)


def _shown(path: Path | str) -> str:
    if isinstance(path, str):  # a server or a bucket
        return path
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _outcome_facts(outcome: Outcome) -> dict[str, Any]:
    from pipelines.status import run_facts

    return {
        **run_facts(outcome.run),
        "jobs": outcome.jobs,
        "credits_added": outcome.credits_added,
        "seconds": round(outcome.seconds, 3),
        "path": str(outcome.path),
        "drifted": outcome.drifted,
        "drift": outcome.drift,
        "delisted": outcome.delisted,
        "throttled": outcome.throttled,
        "notes": outcome.notes,
    }


def _status_lines(found: dict[str, Any]) -> list[str]:
    first_load = found.get("first_load")
    if first_load is not None:
        if first_load["running"]:
            return ["a first load is running; nothing is published yet"]
        reached = f", back to {first_load['back_to'][:10]}" if first_load["back_to"] else ""
        return [f"a first load was cut short at {counted(first_load['jobs'], 'job')}{reached}: sync goes on from there"]
    run, oldest = found["last_sync"], found["oldest_open_job"]
    statuses = ", ".join(f"{count:,} {status}" for status, count in found["jobs_by_status"].items())
    other = {"user": "; the team's jobs are held too: --scope team", "team": ", your own jobs among them: --scope user"}
    lines = {
        "warehouse": f"{_shown(found.get('place') or Path(found['path']))}, {found['size_bytes'] / 1e6:,.1f} MB",
        "API": run["base_url"],
        "account": _account(run, found["balance"]),
        "last sync": f"{age(found['age_seconds'])} ago ({run['mode']}, {counted(run['requests'], 'request')}), "
        f"{_time(run['finished_at'], found['timezone'])}",
        "scope": found["scope"] + (other[found["scope"]] if len(found["scopes"]) > 1 else ""),
        "jobs": f"{found['jobs']:,}" + (f": {statuses}" if statuses else ""),
        "newest job": _time(found["newest_job"], found["timezone"]),
        "open jobs": f"{found['open_jobs']:,}",
        "oldest open": f"{age(oldest['age_seconds'])} old: {oldest['id']} ({oldest['model']})" if oldest else "none",
        "high-water mark": _time(found["high_water_mark"], found["timezone"]),
        "balance": _balance(found["balance"]),
        "books": _books(found["reconciliation"]),
    }
    if spent := found["spent_this_month"]:
        cost = money(spent["cost"], spent["currency"]) if spent["cost"] is not None else why_no_cost(spent)
        lines["this month"] = f"{exact(spent['credits'])} credits spent" + (f", {cost}" if cost else "")
    if found["runway"] is not None:
        lines["runway"] = found["runway"]["sentence"]
    from pipelines.exact import printable

    return [f"{name:16}{printable(value)}" for name, value in lines.items()]


def _balance(read: dict[str, Any] | None) -> str:
    if read is None:
        return "not read yet"
    if read["credits"] is None:
        return f"could not be read {age(read['age_seconds'])} ago: {read['problem']}"
    return f"{exact(read['credits'])} credits {age(read['age_seconds'])} ago"


def _books(held: dict[str, Any] | None) -> str:
    if held is None:
        return "jobs and balance are held against each other after two readings"
    came_in = held["topped_up"]
    told = books(held["pairs"], held["pairs_off"] - held["top_ups"], held["residual"] - came_in, came_in)
    return f"{told}; the last pair, {age(held['age_seconds'])} ago: {held['verdict']}"


def _account(run: dict[str, Any], read: dict[str, Any] | None) -> str:
    told = [f"team {read['team_name']}"] if read and read["team_name"] else []
    told += [f"{kind} {run[f'{kind}_id']}" for kind in ("team", "user") if run[f"{kind}_id"]]
    return ", ".join(told) or "not known yet"


def _time(iso: str | None, timezone: str) -> str:
    from pipelines.zones import clock

    return f"{clock(datetime.fromisoformat(iso), timezone)} {timezone}" if iso else "none"


def _print_json(facts: dict[str, Any]) -> None:
    from pipelines.exact import encode

    _echo(encode(facts))


def _echo(text: str) -> None:
    """Print text that holds the API's words: exact in a pipe, without control characters on a terminal."""
    from pipelines.exact import printable

    click.echo("\n".join(map(printable, text.split("\n"))) if sys.stdout.isatty() else text)


def _read_text(file: str) -> str:
    try:
        with click.open_file(file, encoding="utf-8") as opened:
            return str(opened.read())
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigurationError(f"cannot read {'standard input' if file == '-' else file}: {problem}") from None


def _since(text: str | None) -> int | None:
    from pipelines.exact import timestamp

    if text is None:
        return None
    try:
        since = timestamp(text)
    except ValueError:
        raise ConfigurationError(f"--since {text!r}: must be a day like 2026-01-31") from None
    if since > time.time() * 1e6:
        raise ConfigurationError(f"--since {text!r}: lies in the future")
    return since


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"{text!r}: must be a day like 2026-01-31") from None
