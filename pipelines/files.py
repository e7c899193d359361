"""Files for people: written beside the one they replace, so that nobody reads half of it, and for their owner only."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pipelines.errors import ApiframeWarehouseError

Told = TypeVar("Told")


def replace(target: Path, write: Callable[[Path], Told]) -> Told:
    """Put what `write` makes of an empty file in the place of `target`, whose folder is made where it is missing.

    Returns what `write` returns. Raises ApiframeWarehouseError where the file cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # mode 0600
        os.close(handle)
        try:
            told = write(Path(draft))
            Path(draft).replace(target)
        finally:
            Path(draft).unlink(missing_ok=True)
    except OSError as problem:
        raise ApiframeWarehouseError(f"cannot write {target}: {problem.strerror}") from None
    return told
