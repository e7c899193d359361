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

    A link stays, and leads to the new file; what is no file, as a device or a pipe, is written into. Whoever could read
    the file that was there can read the new one. Returns what `write` returns. Raises ApiframeWarehouseError where the
    file cannot be written.
    """
    try:
        target = target.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file():
            return write(target)
        handle, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # mode 0600
        os.close(handle)
        try:
            told = write(Path(draft))
            if target.exists():
                Path(draft).chmod(target.stat().st_mode & 0o777)
            Path(draft).replace(target)
        finally:
            Path(draft).unlink(missing_ok=True)
    except OSError as problem:
        raise ApiframeWarehouseError(f"cannot write {target}: {problem.strerror}") from None
    return told
