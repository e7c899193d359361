"""A Postgres cluster of our own."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2

NOBODY = 65534


class Server:
    """A Postgres cluster in a temporary folder, on a free port of 127.0.0.1, never as root."""

    def __init__(self) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin")) or [Path(shutil.which("initdb") or "").parent]
        self.programs = found[-1]
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))
        (self.folder / "password").write_text("opensesame")
        self.user = {"user": NOBODY, "group": NOBODY, "extra_groups": ()} if os.getuid() == 0 else {}
        if self.user:
            for place in (self.folder, self.folder / "password"):
                os.chown(place, NOBODY, NOBODY)
        self._run(
            "initdb", "--pgdata=data", "--username=owner", "--auth=scram-sha-256", "--pwfile=password",
            "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync",
        )  # fmt: skip
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self.programs / program, *arguments], cwd=self.folder, check=True, capture_output=True, **self.user
        )

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", "data", "-p", str(self.port), "-k", str(self.folder),
                 "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "full_page_writes=off"],
                cwd=self.folder, stdout=log, stderr=log, **self.user,
            )  # fmt: skip
        while True:
            with contextlib.suppress(psycopg2.OperationalError), self.session():
                return
            assert self.process.poll() is None, (self.folder / "log").read_text()

    def stop(self) -> None:
        """Cut every session at once, as a crash does."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()
            self.process = None

    def address(self, database: str, user: str = "owner", password: str = "opensesame") -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    @contextlib.contextmanager
    def session(self, database: str = "postgres") -> Iterator[Any]:
        """A cursor of the owner; every statement stands alone."""
        with contextlib.closing(psycopg2.connect(self.address(database))) as connection:
            connection.autocommit = True
            yield connection.cursor()

    def new_database(self) -> str:
        name = f"w{uuid.uuid4().hex}"
        with self.session() as cursor:
            cursor.execute(f"create database {name}")
        return name
