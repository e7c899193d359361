"""The folder that holds `.dlt`: how it begins, and where what comes with this package lies."""

from __future__ import annotations

import os
import shutil
import sys
from functools import partial
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pipelines import files
from pipelines.errors import ConfigurationError
from pipelines.settings import DEFAULT_PATH

if TYPE_CHECKING:
    from pipelines.settings import Settings

PACKAGE = Path(__file__).parent
#: What `.dlt` begins with; .gitignore keeps the key out of a repository of the user's.
BEGINNING = ("config.toml", "example.secrets.toml", ".gitignore")


def shipped(name: str) -> Path:
    """Return where a folder lies that a clone has on top, and the wheel beside the modules (pyproject.toml)."""
    installed = PACKAGE / "shipped" / name
    return installed if installed.exists() else PACKAGE.parent / name


def begin(folder: Path) -> dict[Path, bool]:
    """Write a commented `.dlt` into `folder`; a file that is there stays as it is. Returns whether each one is new.

    All are for their owner only: keys get into such files. Raises ConfigurationError where `.dlt` is no folder, and
    ApiframeWarehouseError where a file cannot be written.
    """
    place = folder / ".dlt"
    if os.path.lexists(place) and not place.is_dir():
        raise ConfigurationError(f"{place} is no folder: settings go into a folder of this name, so move it away first")
    new: dict[Path, bool] = {}
    for name in BEGINNING:
        path = place / name
        new[path] = not os.path.lexists(path)
        if new[path]:
            files.replace(path, partial(shutil.copyfile, shipped(".dlt") / name))
    return new


def unexpected(settings: Settings) -> str | None:
    """Say which settings hold and where the data goes, where a first load begins and nobody has chosen either.

    Whoever runs the command in another folder than usual would get a second warehouse without a word.
    """
    chosen = settings.path != settings.project / DEFAULT_PATH or settings.destination != "duckdb"
    if chosen or settings.path.exists() or (settings.project / ".dlt").exists():
        return None
    return (
        f"{settings.project} holds no .dlt: with the default settings this makes a new warehouse, {settings.path} "
        "(apiframe-warehouse init writes a .dlt to change that)"
    )


def open_notebooks(port: int | None) -> NoReturn:
    """Become the program that serves the notebooks, to this machine alone; without a `port` it opens a browser.

    Says where. Raises ConfigurationError where marimo is not installed.
    """
    if util.find_spec("marimo") is None:
        raise ConfigurationError("the notebooks need marimo: install apiframe-warehouse[notebooks]")
    chosen = [] if port is None else ["--port", str(port), "--headless"]
    print("The notebooks are served to this machine alone, at the address below. Ctrl-C ends it.", flush=True)  # noqa: T201
    command = [sys.executable, "-m", "marimo", "run", "--host", "127.0.0.1", *chosen, str(shipped("notebooks"))]
    os.execve(sys.executable, command, os.environ | {"MARIMO_SKIP_UPDATE_CHECK": "1"})  # noqa: S606
