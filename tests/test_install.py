"""The wheel, outside a clone: installed into an environment of its own, on a machine without make and git."""

import errno
import os
import pty
import re
import shutil
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from pipelines.sandbox import Sandbox

ROOT = Path(__file__).parent.parent
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an environment's programs: the wheel lies there, what it depends on is that of the tests."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"  # a build leaves files beside what it builds
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".venv", ".git", "data", "*cache*", ".hypothesis"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    building = ["wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run([*pip, *building], check=True)
    venv.create(folder / "env", with_pip=False)
    [wheel] = folder.glob("*.whl")
    python = folder / "env" / "bin" / "python"
    subprocess.run([*pip, "--python", str(python), "install", "--no-index", "--no-deps", str(wheel)], check=True)
    [packages] = folder.glob("env/lib/python*/site-packages")
    others = [path for path in sys.path if path.endswith("-packages")]
    (packages / "dependencies.pth").write_text("\n".join(others))
    return folder / "env" / "bin"


@pytest.fixture
def api() -> Iterator[Sandbox]:
    with Sandbox(jobs=130, days=5, now=datetime.now(UTC) - timedelta(hours=1)) as api:
        yield api


@pytest.fixture
def environment(programs: Path, api: Sandbox, home: Path) -> dict[str, str]:
    return {
        "PATH": str(programs),
        "HOME": str(home),
        "APIFRAME_API_KEY": api.api_key,
        "SOURCES__APIFRAME__BASE_URL": api.base_url,
    }


@pytest.fixture
def run(environment: dict[str, str], programs: Path, tmp_path: Path) -> Run:
    def run(*arguments: str, folder: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        """As a person does: what goes to standard error is on a terminal."""
        folder.mkdir(exist_ok=True)
        command = [programs / "apiframe-warehouse", *arguments]
        ours, terminal = pty.openpty()
        with os.fdopen(ours, "rb", buffering=0) as shown:
            done = subprocess.run(
                command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=terminal, timeout=120, check=False
            )
            os.write(terminal, b"\0")  # the end of what is there to be read
            os.close(terminal)
            told = b""
            while not told.endswith(b"\0"):
                told += shown.read(2**16)
        return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), told.decode())

    return run


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home of the user"
    folder.mkdir()
    return folder


def test_the_demo_runs_and_what_it_says_to_try_next_can_be_typed(
    run: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    shown = run("demo")
    assert shown.returncode == 0, shown.stderr
    assert (tmp_path / "data" / "demo.html").stat().st_size > 50_000
    assert "make" not in shown.stdout
    [line] = re.findall(r"^  (WAREHOUSE__PATH=.*)$", shown.stdout, re.MULTILINE)
    tried = subprocess.run(
        ["/bin/sh", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert tried.stdout.startswith("model,failure_reason,jobs"), tried.stderr


def test_a_sync_where_nothing_is_set_up_says_where_the_data_goes_once(run: Run, tmp_path: Path) -> None:
    first, second = run("sync"), run("sync")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert f"{tmp_path} holds no .dlt" in first.stderr
    assert str(tmp_path / "data" / "warehouse.duckdb") in first.stderr
    assert "no .dlt" not in second.stderr
    assert run("report").returncode == 0
    assert (tmp_path / "data" / "report.html").exists()


def test_init_writes_a_commented_configuration_and_leaves_what_is_there(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "config.toml").write_text('[reports]\ntimezone = "Europe/Berlin"\n')
    shown = run("init").stdout
    assert "there already: .dlt/config.toml" in shown
    assert "written: .dlt/example.secrets.toml" in shown
    assert "Berlin" in (tmp_path / ".dlt" / "config.toml").read_text()
    assert "secrets.toml" in (tmp_path / ".dlt" / ".gitignore").read_text()
    other = tmp_path / "other"
    assert run("init", folder=other).returncode == 0
    for written in (other / ".dlt").iterdir():
        assert written.read_text() == (ROOT / ".dlt" / written.name).read_text()
        assert stat.S_IMODE(written.stat().st_mode) == 0o600, "keys get into such files"
    assert "holds no .dlt" not in run("sync", folder=other).stderr


def test_the_home_folder_can_name_the_one_warehouse(run: Run, home: Path, tmp_path: Path) -> None:
    (home / ".dlt").mkdir()
    (home / ".dlt" / "config.toml").write_text('[warehouse]\npath = "~/jobs.duckdb"\n')
    for name in ("one", "two"):
        done = run("sync", folder=tmp_path / name)
        assert done.returncode == 0
        assert "holds no .dlt" not in done.stderr
    with duckdb.connect(home / "jobs.duckdb", read_only=True) as warehouse:
        assert warehouse.sql("select count(*) from apiframe.sync_runs").fetchall() == [(2,)]


def test_the_notebooks_come_along_and_are_served_to_this_machine_alone(
    run: Run, environment: dict[str, str], programs: Path, tmp_path: Path
) -> None:
    assert run("sync", "--quiet").returncode == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [programs / "apiframe-warehouse", "notebooks", "--port", str(port)]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as serving:
        try:
            page = answered(f"http://127.0.0.1:{port}/?file=credit_spend.py")
            with socket.socket() as elsewhere:
                refused = elsewhere.connect_ex(("127.0.0.2", port))
        finally:
            serving.terminate()
            told = serving.communicate(timeout=30)[0]
    assert "Credit spend" in page, told
    assert "served to this machine alone" in told
    assert f":{port}" in told
    assert refused == errno.ECONNREFUSED


def answered(address: str) -> str:
    """What an address answers once something listens there."""
    for _ in range(300):
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                return str(answer.read().decode())
        except urllib.error.URLError:
            time.sleep(0.1)
    return "nobody listens"
