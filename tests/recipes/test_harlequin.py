"""Harlequin, a client for the terminal, with the line that README shows."""

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator

import pytest
from beside import QUESTIONS, Account, program
from readme import lines

pytestmark = pytest.mark.recipes

RUN, QUIT = b"\n", b"\x11"  # Ctrl-J and Ctrl-Q
ESCAPES = re.compile(r"\x1b(\[[0-9;?<>=]*[a-zA-Z]|\][^\x07]*\x07)")


class Terminal:
    """A program in a terminal of 160 columns and 50 lines."""

    def __init__(self, process: "subprocess.Popen[bytes]", ours: int) -> None:
        self.process, self.ours, self.shown = process, ours, b""

    def look(self, seconds: float) -> str:
        """What was written to the terminal since `forget`, without its colours; waits for more of it."""
        if select.select([self.ours], [], [], seconds)[0]:
            with contextlib.suppress(OSError):  # it has been closed
                self.shown += os.read(self.ours, 2**16)
        return ESCAPES.sub(" ", self.shown.decode(errors="replace"))

    def wait_for(self, text: str) -> str:
        until = time.monotonic() + 60
        while text not in (seen := self.look(0.2)):
            assert time.monotonic() < until, seen[-3000:]
        return seen

    def type(self, keys: bytes) -> None:
        self.shown = b""
        os.write(self.ours, keys)


@pytest.fixture
def terminal(account: Account) -> Iterator[Terminal]:
    [line] = [line for line in lines("**Harlequin**") if line.startswith("harlequin ")]
    command = line.replace("harlequin", program("harlequin", "harlequin"), 1)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
    with subprocess.Popen(
        ["/bin/sh", "-c", f"exec {command}"],
        cwd=account.folder, env=account.environment | {"TERM": "xterm-256color"},
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            yield Terminal(process, ours)
        finally:
            process.kill()
            os.close(ours)
            os.close(theirs)


def test_it_shows_what_it_opened_while_syncs_go_on_and_quits(account: Account, terminal: Terminal) -> None:
    terminal.wait_for("warehouse")  # the catalogue: it is connected
    with account.syncing() as questions:
        for _ in questions:
            time.sleep(0.1)
    question = QUESTIONS["spend by model"]
    terminal.type(question.encode())
    terminal.wait_for("model")
    terminal.type(RUN)
    seen = terminal.wait_for("1 query executed successfully").replace(",", "")
    for model, spent in account.answers[question][0]:
        assert f"{model} " in seen
        assert f" {str(spent).split('.')[0]}" in seen
    terminal.type(QUIT)
    until = time.monotonic() + 30
    while terminal.process.poll() is None:
        assert time.monotonic() < until, terminal.look(0.2)[-2000:]
        terminal.look(0.2)
    assert terminal.process.returncode == 0
