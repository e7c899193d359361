"""Every test has folders, an environment and a home of its own, and a sandbox for an API."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import support

from pipelines import settings
from pipelines.apiframe import clock, reading
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.stores import connect, names


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: tests wait for disks and for processes of their own."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests that take a minute come first, whatever the order: no worker waits for them at the end."""
    items.sort(key=lambda item: not item.path.name.startswith(("test_model", "test_spark")))


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder and home; nothing of the developer's own configuration is seen."""
    home = tmp_path / "home"
    project = tmp_path / "project"
    home.mkdir()
    project.mkdir()
    for name in list(os.environ):
        if "__" in name or name.startswith(("DLT_", "APIFRAME", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(project)
    return project


@pytest.fixture(autouse=True)
def parallel(monkeypatch: pytest.MonkeyPatch) -> None:
    """History is read in slices although the sandbox answers at once."""
    monkeypatch.setattr(reading, "QUICK_ANSWER", 0.0)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's clock follows those of the sandboxes, which tests set forward."""
    started: list[Sandbox] = []
    start, real = Sandbox.start, clock.machine_time

    def noted(sandbox: Sandbox) -> Sandbox:
        started.append(sandbox)
        return start(sandbox)

    monkeypatch.setattr(Sandbox, "start", noted)
    monkeypatch.setattr(
        clock, "machine_time", lambda: max([real(), *(int(each.now.timestamp() * 1e6) for each in started)])
    )


@pytest.fixture
def api() -> Iterator[Sandbox]:
    """An account of 1,000 jobs over 30 days."""
    with Sandbox(jobs=1000, days=30) as sandbox:
        yield sandbox


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that is for `everywhere` runs on every destination, but for the `gap`s that it names."""
    if "destination" not in metafunc.fixturenames:
        return
    marked = [mark for mark in metafunc.definition.iter_markers("parametrize") if mark.args[0] == "destination"]
    everywhere = metafunc.definition.get_closest_marker("everywhere")
    there = metafunc.definition.get_closest_marker("destinations")
    if marked or not (everywhere or there):
        return
    gaps = {name for gap in metafunc.definition.iter_markers("gap") for name in gap.args}
    others = [pytest.param(name, marks=pytest.mark.destinations) for name in names() if name not in {"duckdb", *gaps}]
    metafunc.parametrize("destination", ["duckdb", *others] if everywhere else others, indirect=True)


@pytest.fixture(scope="session")
def server() -> Iterator[Any]:
    """A Postgres of our own."""
    from cluster import Server

    running = Server()
    yield running
    running.stop()
    shutil.rmtree(running.folder)


@pytest.fixture
def database(server: Any) -> Iterator[str]:
    name = server.new_database()
    yield name
    with server.session() as cursor:
        cursor.execute(f"drop database {name} with (force)")


@pytest.fixture
def destination(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The name of a destination that is empty and configured; what `support` reads, it reads from there."""
    name = str(getattr(request, "param", "duckdb"))
    if name == "postgres":
        address = request.getfixturevalue("server").address(request.getfixturevalue("database"))
        monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", address)
    elif name == "delta":
        monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(tmp_path / "lake"))
    if name != "duckdb":
        monkeypatch.setattr(support, "connect", lambda path: connect(settings.load(path=str(path), destination=name)))
    return name


@pytest.fixture
def settings_for(isolated: Path, destination: str) -> Callable[..., Settings]:
    """Settings for a sandbox: quick retries, a warehouse in the project folder."""

    def make(sandbox: Sandbox, **overrides: object) -> Settings:
        chosen = {
            "destination": destination,
            "api_key": sandbox.api_key,
            "base_url": sandbox.base_url,
            "path": str(isolated / "data" / "warehouse.duckdb"),
            "request_backoff_factor": 0.01,
            "request_timeout": 5,
            "workers": 4,
            "balance_every": "0",  # tests that move the clock on count requests; test_balances asks for it
        }
        return settings.load(**(chosen | overrides))

    return make
