"""The process that runs the command: what it does to itself, and how it is called. Who calls `sync` is left alone."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

NAME = "apiframe-warehouse"
GC_THRESHOLD = 1_000_000


class _NoPandas:
    """Keeps pyarrow from importing pandas for the first array that it makes: half a second and 30 MB for nothing."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> None:
        """Refuse pandas, leave everything else to the other finders."""
        if name == "pandas":
            raise ModuleNotFoundError("a sync does without pandas", name=name)


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Keep a load from importing pandas, and Python from looking often for cyclic garbage.

    Rows are none, and going through them takes a tenth of a sync.
    """
    before = gc.get_threshold()
    sys.meta_path.insert(0, _NoPandas)
    gc.set_threshold(GC_THRESHOLD)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        sys.meta_path.remove(_NoPandas)


def called() -> str:
    """Return what to type here to run the command again: its name where the shell finds it, else where it lies."""
    if shutil.which(NAME):
        return NAME
    beside = Path(sys.executable).with_name(NAME)
    return os.path.relpath(beside) if beside.exists() else f"{sys.executable} -m pipelines"
