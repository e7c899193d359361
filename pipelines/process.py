"""What the command does to the process that is its own. A program that calls `sync` is left as it was."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator

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
