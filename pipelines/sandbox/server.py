"""The sandbox as tests, demo and benchmark hold it: its clock and its jobs.

What is known about jobs lies in `lives`, `lists` and `world`, credits in `ledger`, what is answered in `answers`, HTTP
in `wire`, and what only tests ask for in `moods` and `faults`.
"""

import itertools
import signal
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self, TextIO

import orjson

from pipelines.sandbox.answers import Answers
from pipelines.sandbox.lives import FOREVER, MINE, OTHERS, Job, milliseconds
from pipelines.sandbox.protocol import Request
from pipelines.sandbox.wire import Server
from pipelines.sandbox.world import World


class Sandbox(Answers):
    """A local Apiframe. The same arguments, `now` included, give the same jobs byte for byte.

    Its clock stands still unless it is moved (`advance`, `live_on`) or told to follow real time (`live`).
    Use it as a context manager, or call `start` and `close`. Everything may be called while it serves, from
    any thread.
    """

    def __init__(
        self,
        jobs: int = 1000,
        days: int = 90,
        seed: int = 1,
        now: datetime | None = None,
        port: int = 0,
        latency: float = 0.0,
        live: bool = False,
        mix: str = "usual",
    ) -> None:
        super().__init__(seed)
        start = (now or datetime.now(UTC)).replace(microsecond=0) if now is None else now
        self._world = World(jobs, days, seed, milliseconds(start), mix)
        self._lock = threading.RLock()
        self._port = port
        self._live_since = (time.monotonic(), self._world.now) if live else None
        self._server: Server | None = None
        self._numbers = itertools.count(1)
        self.closing = threading.Event()
        self.latency = latency
        self.requests: list[Request] = []

    def start(self) -> Self:
        """Bind and serve from a daemon thread; OSError where the port is taken."""
        self.closing.clear()
        self._server = Server(self, self._port)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def close(self) -> None:
        """Stop serving and cut every connection; the jobs stay readable."""
        if self._server is not None:
            self.closing.set()
            self._server.stop()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def base_url(self) -> str:
        """What a client is configured with: http://127.0.0.1:PORT/v2."""
        if self._server is None:
            raise RuntimeError("the sandbox is not serving: call start(), or use it in a with statement")
        return f"http://127.0.0.1:{self._server.server_port}/v2"

    # The clock

    @property
    def now(self) -> datetime:
        """The sandbox's clock."""
        with self._lock:
            self._tick()
            return datetime.fromtimestamp(self._world.now / 1000, UTC)

    def advance(self, span: timedelta) -> None:
        """Move the clock on: jobs progress and end, webhooks are delivered, assets expire; none is born."""
        with self._lock:
            self._tick()
            self._world.move_to(self._world.now + _ms(span))
            self._shift(span)

    def live_on(self, span: timedelta) -> int:
        """Move the clock on and let jobs be born at the usual rhythm; how many are listed with scope=user."""
        with self._lock:
            self._tick()
            born = self._world.live_to(self._world.now + _ms(span))
            self._shift(span)
            return born

    def _shift(self, span: timedelta) -> None:
        if self._live_since is not None:
            self._live_since = (self._live_since[0], self._live_since[1] + _ms(span))

    def _tick(self) -> None:
        if self._live_since is not None:
            since, then = self._live_since
            self._world.live_to(max(self._world.now, then + int((time.monotonic() - since) * 1000)))

    # The jobs

    def add(
        self, count: int = 1, *, created_at: datetime | str | None = None, colleague: bool = False, **fields: Any
    ) -> list[str]:
        """New jobs, born now or at `created_at` (also createdAt), served with these fields; ids, newest last.

        A known status is lived, not only shown: open ones stay open until `finish`, final ones end at once
        with all that belongs to it. So is the cost of one that is open: taken now, given back if it fails.
        Any other field is served as given. Those of a colleague are listed with scope=team alone.
        """
        created_at = fields.pop("createdAt", created_at)
        with self._lock:
            self._tick()
            created = None if created_at is None else milliseconds(created_at)
            return self._world.add(count, created, OTHERS if colleague else MINE, fields)

    def put(self, job_id: str, /, **fields: Any) -> None:
        """Serve these fields of one job from now on; REMOVED as a value drops the field. Its place stays.

        The list alone says so: nothing is charged or given back for it.
        """
        with self._lock:
            self._world.put(job_id, fields)

    def finish(self, ids: Iterable[str], status: str = "COMPLETED") -> None:
        """End open jobs now, with all that belongs to it; jobs in a final status stay as they are."""
        with self._lock:
            self._tick()
            self._world.finish(ids, status)

    def delete(self, ids: Iterable[str]) -> None:
        """These jobs are neither listed nor found any more."""
        with self._lock:
            self._world.delete(ids)

    def listing(self, scope: str = "user") -> list[Job]:
        """Every job as it is served right now, newest first: the truth."""
        with self._lock:
            self._tick()
            owner = None if scope == "team" else MINE
            rows = self._world.page(owner, None, None, None, FOREVER)
            return [self._world.render(row) for row in rows]

    # What clients did

    def count(self, path: str = "/jobs") -> int:
        """How many requests asked for a path since `requests` was last cleared, rejected ones included."""
        return sum(request.path == path for request in list(self.requests))


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


def serve(port: int, jobs: int, seed: int, as_json: bool, out: TextIO) -> None:
    """Serve in real time, with births, until SIGINT or SIGTERM; OSError where the port is taken.

    Says where, and with which key, as soon as it is ready: one JSON object on one line, or two lines to read.
    """
    # Both set by hand: a shell starts background jobs with SIGINT ignored.
    stops = (signal.SIGINT, signal.SIGTERM)
    before = {stop: signal.signal(stop, signal.default_int_handler) for stop in stops}
    try:
        with Sandbox(jobs, seed=seed, port=port, live=True) as api:
            if as_json:
                out.write(orjson.dumps({"base_url": api.base_url, "api_key": api.api_key}).decode() + "\n")
            else:
                out.write(f"Sandbox at {api.base_url} with {jobs:,} jobs; stop it with Ctrl-C.\n")
                out.write(f"SOURCES__APIFRAME__BASE_URL={api.base_url} APIFRAME_API_KEY={api.api_key}\n")
            out.flush()
            threading.Event().wait()
    except KeyboardInterrupt:
        pass
    finally:
        for stop, handler in before.items():
            signal.signal(stop, handler)
