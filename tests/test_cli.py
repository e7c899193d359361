"""The command as people and programs meet it: exit codes, one line for an error, nothing hostile on a terminal."""

import json
import os
import pty
import re
import select
import signal
import stat
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from support import stale

from pipelines import demo
from pipelines.cli import _Progress
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.sync import sync

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "pipelines"]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def api() -> Iterator[Sandbox]:
    # It ends at the real time: the command runs in a process of its own, with this machine's clock.
    with Sandbox(jobs=130, days=5, now=datetime.now(UTC) - timedelta(hours=30)) as api:
        api.advance(timedelta(hours=30))
        yield api


@pytest.fixture
def environment(api: Sandbox, isolated: Path) -> dict[str, str]:
    """What a user sets, and nothing of the developer's."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    return kept | {
        "PYTHONPATH": str(ROOT),
        "APIFRAME_API_KEY": api.api_key,
        "SOURCES__APIFRAME__BASE_URL": api.base_url,
        "RUNTIME__REQUEST_BACKOFF_FACTOR": "0.01",
        "RUNTIME__REQUEST_TIMEOUT": "5",
    }


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    """Run the command on pipes; a variable given as None is not set."""

    def run(*arguments: str, stdin: str = "", **variables: str | None) -> subprocess.CompletedProcess[str]:
        chosen = {name: value for name, value in (environment | variables).items() if value is not None}
        return subprocess.run(
            [*COMMAND, *arguments], env=chosen, input=stdin, capture_output=True, text=True, timeout=90, check=False
        )

    return run


@pytest.fixture
def synced(api: Sandbox, settings_for: Callable[..., Settings]) -> Settings:
    """The default warehouse, after a first load."""
    chosen = settings_for(api)
    sync(chosen)
    return chosen


def on_a_terminal(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    """Run the command in a pseudo-terminal; its exit code and everything it wrote."""
    main, child = pty.openpty()
    termios.tcsetwinsize(child, (24, 100))
    process = subprocess.Popen(
        [*COMMAND, *arguments], env=environment | {"TERM": "xterm"}, stdin=child, stdout=child, stderr=child
    )
    os.close(child)
    written = b""
    try:
        while select.select([main], [], [], 90)[0]:
            chunk = os.read(main, 65536)
            if not chunk:
                break
            written += chunk
    except OSError:  # how Linux says that the other end has gone
        pass
    finally:
        os.close(main)
    return process.wait(90), written.decode()


def one_line(answer: subprocess.CompletedProcess[str], code: int) -> str:
    """The error, which is one line on stderr and nothing on stdout."""
    assert (answer.returncode, answer.stdout) == (code, ""), answer.stderr
    assert answer.stderr.startswith("apiframe-warehouse: ")
    assert answer.stderr.count("\n") == 1
    return answer.stderr


# What is imported


def imported(run: Run, environment: dict[str, str], *arguments: str) -> set[str]:
    code = (
        "import atexit, sys; sys.argv[1:] = %r\nfrom pipelines.cli import main\n"
        "atexit.register(lambda: print(*sorted(sys.modules), file=sys.stderr)); main()"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code % (list(arguments),)], env=environment, capture_output=True, text=True, check=True
    )
    found = {name.partition(".")[0] for name in answer.stderr.split()}
    assert "pipelines" in found, "nothing was imported: nobody looked"
    return found


@pytest.mark.parametrize(
    "command", [[], ["sync"], ["status"], ["query"], ["report"], ["export"], ["check"], ["demo"], ["sandbox"]]
)
def test_help_imports_nothing_heavy_and_has_examples(run: Run, environment: dict[str, str], command: list[str]) -> None:
    heavy = {"dlt", "duckdb", "pandas", "pyarrow", "altair", "requests"}
    assert imported(run, environment, *command, "--help") & heavy == set()
    if command:
        assert f"apiframe-warehouse {command[0]}" in run(*command, "--help").stdout.partition("Examples")[2]


@pytest.mark.usefixtures("synced")
def test_a_sync_without_changes_imports_no_dlt(run: Run, environment: dict[str, str]) -> None:
    assert imported(run, environment, "sync") & {"dlt", "pandas", "pyarrow"} == set()
    assert "dlt" not in imported(run, environment, "status")


# sync


def test_a_first_sync_on_a_pipe_prints_one_line(api: Sandbox, run: Run, isolated: Path) -> None:
    answer = run("sync")
    assert (answer.returncode, answer.stderr) == (0, "")
    line = answer.stdout
    assert line.count("\n") == 1
    assert line.startswith("130 jobs read: 130 new, ")
    for part in ("still open", "credits", "requests", " s", "data/warehouse.duckdb"):
        assert part in line
    assert stale(isolated / "data" / "warehouse.duckdb", api) == {}


def test_files_are_for_their_owner_only(run: Run, isolated: Path) -> None:
    run("sync")
    data = isolated / "data"
    modes = {path.relative_to(data): stat.S_IMODE(path.stat().st_mode) for path in (data, *data.rglob("*"))}
    assert {mode for path, mode in modes.items() if (data / path).is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if (data / path).is_file()} == {0o600}


def test_a_published_file_keeps_the_mode_it_was_given(api: Sandbox, synced: Settings, run: Run) -> None:
    synced.path.chmod(0o640)
    api.add(1)
    run("sync")
    assert stat.S_IMODE(synced.path.stat().st_mode) == 0o640


def test_sync_json_is_one_object_with_the_names_of_sync_runs(api: Sandbox, run: Run) -> None:
    answer = run("sync", "--json")
    facts = json.loads(answer.stdout)
    expected = "started_at finished_at mode requests retries jobs_read jobs_new jobs_finished open_jobs high_water_mark"
    assert set(expected.split()) <= facts.keys()
    assert (facts["mode"], facts["jobs_new"], facts["requests"]) == ("first", 130, len(api.requests))
    assert answer.stderr == ""


def test_quiet_prints_nothing(run: Run) -> None:
    answer = run("sync", "--quiet")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_are_no_obstacle(
    api: Sandbox, environment: dict[str, str], isolated: Path, closed: str
) -> None:
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh"]
    ended = subprocess.run([*shell, *COMMAND, "sync"], env=environment, capture_output=True, timeout=90, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert stale(isolated / "data" / "warehouse.duckdb", api) == {}


def test_a_terminal_shows_progress_and_the_same_line(environment: dict[str, str], isolated: Path) -> None:
    code, written = on_a_terminal(environment, "sync")
    assert code == 0
    assert "reading" in written
    assert "130 jobs read: 130 new" in written
    code, written = on_a_terminal(environment, "sync", "--quiet")
    assert (code, written) == (0, "")


def test_the_list_of_commands_is_not_cut(run: Run) -> None:
    commands = " ".join(run("--help").stdout.partition("Commands:")[2].split())
    assert "..." not in commands
    assert "turnaround, stuck jobs." in commands


def test_full_says_what_had_drifted(api: Sandbox, synced: Settings, run: Run) -> None:
    jobs = api.listing()
    api.put(jobs[-1]["id"], creditCost=4321)
    api.delete([jobs[-2]["id"]])
    lines = run("sync", "--full").stdout.splitlines()
    assert lines[1:] == [
        "1 job had drifted (credit_cost 1)",
        "1 job is no longer listed; it is kept, with delisted_at set",
    ]


# Errors


@pytest.mark.parametrize(
    ("variables", "code", "words"),
    [
        ({"APIFRAME_API_KEY": "afk_wrong"}, 3, "refused the key: Invalid API key; check APIFRAME_API_KEY"),
        ({"APIFRAME_API_KEY": None}, 2, "no API key: set APIFRAME_API_KEY"),
        ({"APIFRAME_API_KEY": "key with\nlines"}, 2, "api_key"),
        ({"SOURCES__APIFRAME__SCOPE": "galaxy"}, 2, "sources.apiframe.scope = 'galaxy': must be one of user, team"),
        ({"SOURCES__APIFRAME__SETTLE_AFTER": "soon"}, 2, "settle_after = 'soon': must be a duration like 30m"),
        ({"SOURCES__APIFRAME__WORKERS": "0"}, 2, "workers = '0': must be a whole number from 1 to 64"),
        ({"REPORTS__TIMEZONE": "Mars/Olympus"}, 2, "reports.timezone = 'Mars/Olympus'"),
        ({"SOURCES__APIFRAME__BASE_URL": "ftp://x"}, 2, "sources.apiframe.base_url = 'ftp://x': must be an address"),
        ({"SOURCES__APIFRAME__BASE_URL": "http://127.0.0.1:9/v2"}, 1, "connection refused (5 attempts)"),
        ({"SOURCES__APIFRAME__BASE_URL": "http://nowhere.invalid/v2"}, 1, "unknown host"),
        ({"WAREHOUSE__PATH": "data/apiframe.duckdb"}, 2, "choose another name"),
        ({"WAREHOUSE__PATH": "/proc/none/w.duckdb"}, 2, "cannot write in /proc/none"),
        ({"WAREHOUSE__PATH": "a-file/w.duckdb"}, 2, "cannot write in"),
        ({"WAREHOUSE__PATH": "."}, 2, "is no file"),
        ({"WAREHOUSE__PATH": "a-file"}, 2, "is not a DuckDB database: set warehouse.path to another file"),
    ],
)
def test_an_error_is_one_line_with_its_exit_code(
    run: Run, isolated: Path, api: Sandbox, variables: dict[str, str | None], code: int, words: str
) -> None:
    (isolated / "a-file").write_text("precious " * 2000)
    error = one_line(run("sync", **variables), code)
    assert words in error
    assert api.api_key not in error
    assert (isolated / "a-file").read_text() == "precious " * 2000


def test_an_inactive_key_and_a_member_who_asks_for_the_team(api: Sandbox, synced: Settings, run: Run) -> None:
    before = synced.path.read_bytes()
    assert "API key is inactive" in one_line(run("sync", APIFRAME_API_KEY=api.inactive_key), 3)
    refused = one_line(run("sync", APIFRAME_API_KEY=api.member_key, SOURCES__APIFRAME__SCOPE="team"), 2)
    assert "set sources.apiframe.scope to user" in refused
    assert synced.path.read_bytes() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["sync", "--since", "yesterday"],
        ["sync", "--since", "2999-01-01"],
        ["sync", "--wait", "-1"],
        ["sync", "--wait", "nan"],
        ["sync", "extra"],
        ["query"],
        ["query", "select 1", "--format", "xml"],
        ["nonsense"],
        ["status", "--nonsense"],
    ],
)
def test_wrong_usage_is_one_line(run: Run, arguments: list[str]) -> None:
    one_line(run(*arguments), 2)


@pytest.mark.parametrize("command", [["status"], ["query", "select 1"]])
def test_there_is_no_warehouse_yet(run: Run, command: list[str]) -> None:
    assert "run apiframe-warehouse sync" in one_line(run(*command), 2)


def test_check_without_a_warehouse_is_a_finding_wherever_it_would_lie(run: Run, tmp_path: Path, isolated: Path) -> None:
    lake = {"DESTINATION__FILESYSTEM__BUCKET_URL": str(tmp_path / "lake"), "WAREHOUSE__DESTINATION": "delta"}
    (isolated / "data").mkdir()
    (isolated / "data" / "empty.duckdb").touch()
    for variables in ({}, {"WAREHOUSE__PATH": "data/empty.duckdb"}, lake):
        answer = run("check", "--json", **variables)
        found = json.loads(answer.stdout)
        assert (answer.returncode, {check["state"] for check in found["checks"]}) == (5, {"unmeasured"}), variables
        assert answer.stderr == ""


def test_the_words_of_the_api_cannot_drive_a_terminal(api: Sandbox, environment: dict[str, str]) -> None:
    job = api.add(1, model="\x1b]0;owned\x07\x1b[2J", status="PROCESSING")[0]
    assert on_a_terminal(environment, "sync", "--quiet") == (0, "")
    for command in (["status"], ["query", "select model, error from apiframe.jobs where status = 'PROCESSING'"]):
        code, written = on_a_terminal(environment, *command)
        assert code == 0
        assert "\x1b" not in written
        assert "\x07" not in written
        assert "owned" in written
    api.put(job, createdAt="\x1b[31mnever\r\nsecond line")
    code, written = on_a_terminal(environment, "sync", "--quiet")
    assert code == 1
    assert "\x1b" not in written
    assert written.count("\n") == 1


def test_debug_shows_where_but_not_the_key(api: Sandbox, run: Run) -> None:
    api.fault("500", None)
    answer = run("sync", "--debug")
    assert answer.returncode == 1
    assert "Traceback" in answer.stderr
    assert api.api_key not in answer.stderr


def test_another_sync_that_holds_the_warehouse_is_exit_4(
    api: Sandbox, run: Run, settings_for: Callable[..., Settings]
) -> None:
    held, go_on = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        held.set()
        go_on.wait(60)

    api.on_request = hold
    thread = threading.Thread(target=sync, args=(settings_for(api),))
    thread.start()
    try:
        assert held.wait(60)
        assert "another sync holds" in one_line(run("sync", "--wait", "0"), 4)
        assert "a first load is running" in run("status").stdout
    finally:
        go_on.set()
        thread.join(60)


@pytest.mark.parametrize("kilobytes", [48, 100])
def test_a_full_disk_is_one_line_that_says_so(
    api: Sandbox, environment: dict[str, str], isolated: Path, kilobytes: int
) -> None:
    limited = ["sh", "-c", f'ulimit -f {2 * kilobytes} && exec "$@"', "sh"]  # files can grow so far and no further
    ended = subprocess.run(
        [*limited, *COMMAND, "sync"],
        env=environment | {"PYTHONDONTWRITEBYTECODE": "1"},  # which would be cut off, and stay so
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert "File too large" in one_line(ended, 1)
    assert not (isolated / "data" / "warehouse.duckdb").exists()


@pytest.mark.parametrize("variable", ["DEV_MODE", "PIPELINES__DEV_MODE"])
def test_dlts_mode_for_development_is_off(api: Sandbox, run: Run, isolated: Path, variable: str) -> None:
    assert run("sync", **{variable: "true"}).returncode == 0
    assert stale(isolated / "data" / "warehouse.duckdb", api) == {}


@pytest.mark.parametrize("folder", ["it's", "100%s", "year=2026", "a b[1]", "é日"])
def test_the_warehouse_may_lie_anywhere(api: Sandbox, run: Run, isolated: Path, tmp_path: Path, folder: str) -> None:
    path, temporary = isolated / folder / f"{folder}.duckdb", tmp_path / "temporary"
    temporary.mkdir()
    assert run("sync", WAREHOUSE__PATH=str(path), TMPDIR=str(temporary)).returncode == 0
    assert stale(path, api) == {}
    assert list(temporary.iterdir()) == [], "nothing stays behind"


# Interrupts


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("while_it", ["waits for an answer", "waits to try again", "reads a page"])
def test_an_interrupt_ends_a_sync_at_once(
    api: Sandbox, environment: dict[str, str], isolated: Path, how: signal.Signals, while_it: str
) -> None:
    asked = threading.Event()
    if while_it == "waits for an answer":
        api.fault("timeout", None, after=1)
    elif while_it == "waits to try again":
        api.fault("429", None, after=1, retry_after=200)
    else:
        api.latency = 0.05
    api.on_request = lambda _: asked.set() if api.count() >= 2 else None
    process = subprocess.Popen(
        [*COMMAND, "sync"],
        env=environment | {"RUNTIME__REQUEST_TIMEOUT": "300"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert asked.wait(60)
        process.send_signal(how)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out) == (1, "")
    # The line of a terminal's ^C is ended first.
    assert err == "\napiframe-warehouse: interrupted; nothing is lost, run it again\n"
    assert not (isolated / "data" / "warehouse.duckdb").exists()


def test_an_interrupt_while_something_is_imported_is_exit_1_too(run: Run, isolated: Path) -> None:
    (isolated / "duckdb.py").write_text("exec('import os, signal; os.kill(os.getpid(), signal.SIGINT)')")
    ended = run("sync", PYTHONPATH=f"{isolated}{os.pathsep}{ROOT}")
    assert (ended.returncode, "interrupted" in ended.stderr) == (1, True)


def test_an_interrupt_that_python_lost_ends_the_reading_at_the_next_page(
    api: Sandbox, settings_for: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that comes while a lock of an import is released is printed and forgotten."""
    asked = threading.Event()
    monkeypatch.setattr("pipelines.cli._interrupted", asked)
    api.on_request = lambda _: asked.set()
    with pytest.raises(KeyboardInterrupt):
        sync(settings_for(api), on_page=_Progress(quiet=True))


@pytest.mark.usefixtures("synced")
def test_an_interrupt_ends_a_long_query(environment: dict[str, str]) -> None:
    endless = "select count(*) from range(1000000000) a, range(1000) b where a.range + b.range = 5"
    os.mkfifo("begun.csv")
    sql = f"select * from read_csv('begun.csv', header = true, columns = {{'a': 'int'}}); {endless}"
    process = subprocess.Popen([*COMMAND, "query", sql], env=environment, stderr=subprocess.PIPE, text=True)
    try:
        Path("begun.csv").write_text("a\n1\n")  # waits until it is being read
        time.sleep(0.5)  # nothing tells from outside that the second statement is at work
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, err.strip()) == (1, "apiframe-warehouse: interrupted; nothing is lost, run it again")


# demo


def test_the_demo_leaves_the_configured_warehouse_alone(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "JOBS", 300)
    (isolated / ".dlt").mkdir(exist_ok=True)
    (isolated / ".dlt" / "config.toml").write_text(
        '[warehouse]\ndestination = "delta"\n[destination.filesystem]\nbucket_url = "lake"\n'
    )
    shown: list[object] = []
    demo.run(partial(_Progress, quiet=True), shown.append)
    assert len(shown) == 2
    assert {path.name for path in isolated.iterdir()} == {".dlt", "data"}
    assert {path.name for path in (isolated / "data").iterdir()} == {".load", "demo.duckdb", "demo.html"}


def test_no_command_shows_the_help(run: Run) -> None:
    answer = run()
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr == run("--help").stdout


# status, query


def test_status_says_what_the_warehouse_holds(api: Sandbox, run: Run) -> None:
    api.add(2, status="PROCESSING")
    run("sync")
    facts = json.loads(run("status", "--json").stdout)
    assert (facts["jobs"], facts["open_jobs"], facts["last_sync"]["mode"]) == (132, 2, "first")
    assert sum(facts["jobs_by_status"].values()) == 132
    assert facts["oldest_open_job"]["status"] == "PROCESSING"
    text = run("status").stdout
    for name in ("warehouse", "last sync", "jobs", "newest job", "open jobs", "oldest open", "high-water mark"):
        assert f"\n{name}" in f"\n{text}"


def test_status_says_whose_warehouse_it_is_and_names_the_zone_of_its_times(
    api: Sandbox, environment: dict[str, str], run: Run
) -> None:
    environment["REPORTS__TIMEZONE"] = "Asia/Tokyo"
    run("sync")
    facts = json.loads(run("status", "--json").stdout)
    lines = {line[:16].strip(): line[16:] for line in run("status").stdout.splitlines()}
    assert lines["API"] == api.base_url == facts["last_sync"]["base_url"]
    assert facts["last_sync"]["user_id"] in lines["account"]
    there = datetime.fromisoformat(facts["newest_job"]).astimezone(ZoneInfo("Asia/Tokyo"))
    assert lines["newest job"] == f"{there:%Y-%m-%d %H:%M} Asia/Tokyo"
    assert lines["last sync"].endswith(" Asia/Tokyo")


def test_status_tells_of_a_first_load_that_was_cut_short(
    api: Sandbox, run: Run, settings_for: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.apiframe.reading.BATCH_ROWS", 100)
    api.fault("500", None, after=1)
    with pytest.raises(Exception, match="500"):
        sync(settings_for(api))
    assert "a first load was cut short at 100 jobs, back to 20" in run("status").stdout
    assert json.loads(run("status", "--json").stdout)["first_load"]["jobs"] == 100
    api.clear_faults()
    assert run("sync").returncode == 0  # from the top: nothing but its page was stored
    assert json.loads(run("status", "--json").stdout)["jobs"] == 130


@pytest.mark.usefixtures("synced")
def test_query_has_a_table_for_people_and_formats_for_programs(run: Run, environment: dict[str, str]) -> None:
    sql = "select 1.50::decimal(9,2) as amount, 'a,\"b|' as text, null as nothing"
    assert run("query", sql).stdout == 'amount,text,nothing\n1.50,"a,""b|",\n'
    assert run("query", sql, "--format", "json").stdout == '[{"amount":1.50,"text":"a,\\"b|","nothing":null}]\n'
    assert run("query", sql, "--json").stdout == run("query", sql, "--format", "json").stdout
    assert run("query", sql, "--format", "markdown").stdout.splitlines()[2] == '| 1.50 | a,"b\\| |  |'
    assert run("query", "-", stdin="select 42 as x").stdout == "x\n42\n"
    assert run("query", f"select {'7' * 38}::decimal(38, 0) as x").stdout == f"x\n{'7' * 38}\n"
    Path("q.sql").write_text("select count(*) as n from apiframe.jobs")
    assert run("query", "--file", "q.sql").stdout == "n\n130\n"
    assert run("query", "-- what is it?\nselect 42 as x").stdout == "x\n42\n"
    assert run("query", "-", stdin="\ufeffselect 42 as x").stdout == "x\n42\n"
    assert run("query", "--csv-safe", "select '=x' as x").stdout == "x\n'=x\n"
    described = run("query", "--views").stdout.splitlines()
    assert described[0] == "name,column,meaning"
    assert {line.split(",")[0] for line in described} > {"reports.jobs", "apiframe.jobs", "reports.daily_spend"}
    code, written = on_a_terminal(environment, "query", "select 7 as x")
    assert (code, written.split()) == (0, ["x", "-", "7"])


def test_finance_gets_a_folder_of_bills(run: Run) -> None:
    Path(".dlt").mkdir()
    assert run("sync", "--quiet").returncode == 0
    told = one_line(run("export", "focus", "--to", "bills"), 2)
    assert re.search(r"\d+ jobs from \d{4}-\d\d-\d\d on have no price: add a line to \.dlt/prices\.csv", told)
    Path(".dlt/prices.csv").write_text("valid_from,price_per_credit,currency\n2020-01-01,0.01,USD\n")
    assert run("sync", "--quiet").returncode == 0
    found = json.loads(run("export", "focus", "--to", "bills", "--json").stdout, parse_float=Decimal)
    cost = run("query", "select sum(cost) as cost from reports.jobs").stdout.splitlines()[1]
    assert found["effective_cost"] == {"USD": Decimal(cost)}
    assert (found["version"], found["grain"]) == ("1.2", "job")
    assert all(Path(each["path"]).is_file() for each in found["files"])
    assert run("export", "focus", "--to", "bills").stdout.splitlines()[-1].startswith(f"in all: {found['rows']} rows, ")
    narrowed = run("export", "focus", "--to", "b", "--to-day", "2020-01-01", "--grain", "day", "--format", "csv")
    assert narrowed.stdout == "no charges: nothing to write\n"
    one_line(run("export", "focus", "--to", "b", "--from", "2020-02-01", "--to-day", "2020-01-01"), 2)
    one_line(run("export", "focus", "--to", "b", "--from", "yesterday"), 2)


@pytest.mark.usefixtures("synced")
def test_what_report_and_notebooks_show_can_be_taken_along(run: Run) -> None:
    assert run("export", "daily_spend", "--to", "spend.csv").stdout.endswith("rows: spend.csv\n")
    assert json.loads(run("export", "jobs", "--to", "jobs.parquet", "--json").stdout) == {
        "path": "jobs.parquet",
        "rows": 130,
    }
    one_line(run("export", "daily_spnd", "--to", "spend.csv"), 2)
    one_line(run("export", "jobs", "--to", "jobs.csv", "--grain", "day"), 2)
    page = run("report", "--output", "-").stdout
    assert page.startswith("<!doctype html>")
    assert not Path("-").exists()
    one_line(run("report", "--output", "-", "--json"), 2)
    assert "no job has a label" in one_line(run("report", "--label", "customer=acme"), 2)
    for command in ("report", "status"):
        assert "those of scope user alone" in one_line(run(command, "--scope", "team"), 2)


@pytest.mark.usefixtures("synced")
def test_query_loses_nothing_of_a_value(run: Run) -> None:
    sql = (
        "select 170141183460469231731687303715884105727 as whole, timestamp '2026-01-31 10:00:00.123456' as fine, "
        "interval '90 seconds' as took, 1 as \"a|b\", 2 as id, 3 as id"
    )
    assert run("query", sql).stdout.splitlines()[1] == (
        "170141183460469231731687303715884105727,2026-01-31 10:00:00.123456,0:01:30,1,2,3"
    )
    answer = json.loads(run("query", sql, "--json").stdout)[0]
    assert (answer["took"], answer["id"], answer["id_1"]) == (90, 2, 3)
    assert run("query", sql, "--format", "markdown").stdout.startswith("| whole | fine | took | a\\|b | id | id |\n")


@pytest.mark.usefixtures("synced")
@pytest.mark.parametrize(
    "sql", ["delete from apiframe.jobs", "select nonsense", "this is no sql", "create table x (i int)"]
)
def test_query_is_read_only_and_words_errors_in_one_line(run: Run, sql: str) -> None:
    one_line(run("query", sql), 2)
    assert run("query", "select count(*) from apiframe.jobs").stdout.endswith("\n130\n")


@pytest.mark.parametrize("leads_nowhere", [False, True])
def test_init_says_what_stands_in_the_place_of_its_folder(run: Run, isolated: Path, leads_nowhere: bool) -> None:
    place = isolated / ".dlt"
    if leads_nowhere:
        place.symlink_to(isolated / "gone")
    else:
        place.write_text("a file")
    done = run("init")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f"{place} is no folder" in done.stderr
    assert list(isolated.iterdir()) == [place]
