"""How the load file comes to readers: whole, in one step, and no oftener than that is worth.

A file system that can share blocks copies a file of any size at once. Elsewhere a large one is not copied for the sake
of a row in `sync_runs`: readers see that up to an hour later, and a small file beside it tells of the syncs since.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.tables.sync_runs import Run

LARGE_BYTES = 256 * 1024**2  # what is smaller is copied in a second or so
LARGE_SECONDS = 3600
FICLONE = 0x40049409  # of linux/fs.h; `fcntl` knows it from Python 3.12 on


class Published:
    """The file for readers at `path`, a copy of the load file; what is known of it is kept beside that."""

    def __init__(self, path: Path, load_file: Path) -> None:
        self.path = path
        self._load_file = load_file
        self._log = path.with_name(f"{path.name}.wal")
        self._later = path.with_name(f"{path.name}.last_sync")
        self._kept = load_file.with_name(f"{path.name}.published")
        self._copy = load_file.with_name(f"{path.name}.publishing")

    def is_ours(self) -> bool:
        """Tell whether it is the one that the last sync published."""
        return bool(self._facts().get("published", "") == _signature(self.path))

    def holds_all(self) -> bool:
        """Tell whether it holds all that the load file, which is closed, does: but for rows of `sync_runs`."""
        return self.is_ours() and bool(self._facts().get("loaded") == _signature(self._load_file))

    def renew(self, runs: Sequence[Run], *, differs: bool) -> None:
        """Put a copy of the load file, which is closed, in its place. `runs` are the last sync of each scope.

        Where nothing `differs` but what `holds_all` leaves out, they may be told beside it instead. Raises OSError; the
        next sync does it then.
        """
        try:
            if not differs and self._can_wait() and not clone(self._load_file, self._copy):
                self._tell(runs)
                return
            copy(self._load_file, self._copy)
            if self.path.exists():
                _same_access(self.path, self._copy)
            # A reader that may write leaves a log; beside the new file it would keep every reader out.
            self._log.unlink(missing_ok=True)
            self._copy.replace(self.path)
            _fsync_folder(self.path.parent)
            self._later.unlink(missing_ok=True)
            last = max(runs, key=lambda run: run.number, default=None)
            self._keep({"published": _signature(self.path), "last": last})
        except OSError:
            self._copy.unlink(missing_ok=True)
            raise

    def later(self, last: Run | None) -> list[Run]:
        """Return the last sync of each scope where there were any since the one that it holds as its `last`."""
        try:
            told = json.loads(self._later.read_text())
            return [Run(*run) for run in told["runs"]] if told["follows"] == (last and list(last)) else []
        except (OSError, ValueError, TypeError, KeyError):
            return []

    def _can_wait(self) -> bool:
        facts = self.path.stat()
        is_young = 0 <= time.time() - facts.st_mtime < LARGE_SECONDS
        return facts.st_size > LARGE_BYTES and is_young and not self._log.exists()

    def _tell(self, runs: Sequence[Run]) -> None:
        facts = self._facts()
        self._copy.write_text(json.dumps({"follows": facts["last"], "runs": runs}))
        _same_access(self.path, self._copy)
        self._copy.replace(self._later)
        self._keep(facts)

    def _keep(self, facts: dict[str, Any]) -> None:
        self._kept.write_text(json.dumps(facts | {"loaded": _signature(self._load_file)}))

    def _facts(self) -> dict[str, Any]:
        try:
            found = json.loads(self._kept.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def copy(source: Path, target: Path) -> None:
    """Make `target`, for its owner only, a copy of a file, and see to it that it is on the disk."""
    if not clone(source, target):
        shutil.copyfile(source, target)
    with target.open("rb+") as file:
        os.fsync(file.fileno())


def clone(source: Path, target: Path) -> bool:
    """Let `target`, for its owner only, share the blocks of `source`; False where the file system cannot.

    Btrfs, XFS, bcachefs and ZFS can, and APFS. Where they cannot, `target` is empty.
    """
    target.unlink(missing_ok=True)
    if sys.platform == "darwin":
        import ctypes

        if ctypes.CDLL(None).clonefile(os.fsencode(source), os.fsencode(target), 0) == 0:
            return True
    target.touch(mode=0o600)
    if sys.platform == "linux":
        import fcntl

        with source.open("rb") as given, target.open("rb+") as taken, contextlib.suppress(OSError):
            fcntl.ioctl(taken, FICLONE, given.fileno())
            return True
    return False


def _same_access(published: Path, other: Path) -> None:
    """Let those who may read the published file read the other: its mode, and owner and group as far as is allowed."""
    facts = published.stat()
    for owner in (facts.st_uid, -1):  # only root can give a file away; a group of one's own can be set
        with contextlib.suppress(PermissionError):
            os.chown(other, owner, facts.st_gid)
            break
    other.chmod(facts.st_mode & 0o777)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _signature(path: Path) -> str | None:
    """Return what changes with a file; None where there is none."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return f"{facts.st_ino} {facts.st_size} {facts.st_mtime_ns}"
