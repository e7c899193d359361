"""A Postgres of our own and a lake in a folder; what other tests ask of a DuckDB file is asked of these instead."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import support
from cluster import Server

from pipelines import settings
from pipelines.settings import Settings
from pipelines.warehouse import connect


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()
    shutil.rmtree(running.folder)


@pytest.fixture
def database(server: Server) -> Iterator[str]:
    name = server.new_database()
    yield name
    with server.session() as cursor:
        cursor.execute(f"drop database {name} with (force)")


@pytest.fixture(params=["postgres", "delta"])
def destination(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The name of a destination that is empty and configured."""
    if request.param == "postgres":
        address = request.getfixturevalue("server").address(request.getfixturevalue("database"))
        monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", address)
    else:
        monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(tmp_path / "lake"))
    return str(request.param)


@pytest.fixture
def settings_for(
    settings_for: Callable[..., Settings],
    destination: str,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Callable[..., Settings]:
    """Settings for a sandbox and a destination; `support` reads from there."""

    def query(path: Path, sql: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(connect(settings.load(path=str(path), destination=destination))) as connection:
            return list(connection.execute(sql).fetchall())

    monkeypatch.setattr(support, "query", query)
    for module in getattr(request.module, "QUERYING", ()):
        monkeypatch.setattr(module, "query", query)
    return lambda sandbox, **overrides: settings_for(sandbox, **{"destination": destination, **overrides})
