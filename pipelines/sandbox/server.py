"""The sandbox as tests, demo and benchmark hold it: its clock, its jobs, and its answers.

What is known about jobs lies in `world`, HTTP in `wire`, what only tests ask of it in `moods` and `faults`.
"""

import hashlib
import itertools
import re
import signal
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self, TextIO
from urllib.parse import unquote

import orjson

from pipelines.sandbox.catalogue import MODELS
from pipelines.sandbox.faults import Fault
from pipelines.sandbox.moods import Moods
from pipelines.sandbox.protocol import UUID, Cursor, Filter, Refused, Request, invalid, one_of, parameters
from pipelines.sandbox.wire import Server
from pipelines.sandbox.world import (
    FOREVER,
    MINE,
    OTHERS,
    STATUSES,
    Job,
    World,
    milliseconds,
    uuid_text,
)

_PARAMETERS: Final = ("status", "model", "limit", "cursor", "scope", "search", "include_models")


class Sandbox(Moods):
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
        super().__init__()
        start = (now or datetime.now(UTC)).replace(microsecond=0) if now is None else now
        self._world = World(jobs, days, seed, milliseconds(start), mix)
        self._lock = threading.RLock()
        self._port = port
        self._live_since = (time.monotonic(), self._world.now) if live else None
        self._server: Server | None = None
        self._numbers = itertools.count(1)
        self.closing = threading.Event()
        self.api_key, self.member_key, self.inactive_key, self.second_key = (
            _key(f"{who} {seed}") for who in ("admin", "member", "former", "second")
        )
        self._guests: dict[str, Sandbox] = {}
        self._ids = {name: _uuid(f"{name} {seed}") for name in ("team", *self._keys)}
        self.latency = latency
        self.requests: list[Request] = []

    @property
    def _keys(self) -> tuple[str, ...]:
        return self.api_key, self.second_key, self.member_key

    def host(self, other: "Sandbox") -> None:
        """Answer the keys of another account too, from its own jobs, as one API does. It need not be started."""
        self._guests |= dict.fromkeys(other._keys, other)

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

    # Answers; the handler calls these

    def clock_and_number(self) -> tuple[float, int]:
        """For the headers: seconds since the epoch, and the number of this answer."""
        with self._lock:
            return self._world.now / 1000 + self.skew.total_seconds(), next(self._numbers)

    def answer(self, path: str, query: list[tuple[str, str]], key: str | None, fault: Fault | None) -> Job:
        """The body of a 200, or Refused. `fault` is one that changes a page, None for a true one."""
        if key in self._guests:
            return self._guests[key].answer(path, query, key, fault)
        with self._lock:
            self._tick()
            if path == "/models":
                return self._models(parameters(query, ("modality",)))
            if path not in ("/jobs", "/me") and not re.fullmatch(r"/jobs/[^/]+", path):
                raise Refused(404, "Not found")
            caller = self._caller(key)
            if path == "/me":
                return self._me(caller, str(key), fault)
            if path == "/jobs":
                return self._page(parameters(query, _PARAMETERS), caller, fault)
            return self._job(unquote(path.removeprefix("/jobs/")), caller)

    def _caller(self, key: str | None) -> int:
        if not key:
            raise Refused(401, "API key is required")
        if key == self.inactive_key:
            raise Refused(403, "API key is inactive")
        if key not in self._keys:
            raise Refused(401, "Invalid API key")
        return OTHERS if key == self.member_key else MINE

    def _models(self, query: dict[str, str]) -> Job:
        modality = query.get("modality")
        one_of(query, "modality", ("image", "video", "music"))
        return {
            "models": [
                {
                    "id": model.id,
                    "label": model.label,
                    "modality": model.modality,
                    "pricingMode": model.pricing,
                    "costMin": min(model.costs),
                    "costMax": max(model.costs),
                }
                for model in MODELS
                if modality in (None, model.modality)
            ]
        }

    def _me(self, caller: int, key: str, fault: Fault | None) -> Job:
        name, role, first = (
            ("owner", "ADMIN", self.api_key) if caller == MINE else ("member", "MEMBER", self.member_key)
        )
        return {
            "user": {"id": _uuid(f"user {first}"), "email": f"{name}@example.com", "role": role},
            "team": {
                "id": self._ids["team"],
                "name": "Sandbox",
                "credits": orjson.Fragment(self._world.ledger.number()),
                "plan": self._world.ledger.plan,
                "customerId": None,
            }
            if fault is None or fault.kind != "no_team"
            else None,
            "apiKey": {"id": self._ids[key], "name": f"{name}'s key", "prefix": key[:8]},
        }

    def _job(self, job_id: str, caller: int) -> Job:
        if not UUID.fullmatch(job_id):
            raise Refused(400, "Invalid job id: must be a UUID")
        try:
            row = self._world.row(job_id)
        except KeyError:
            row = None
        if row is None or self._world.owner[row] != caller:
            raise Refused(404, "Job not found")
        return {"input": self._world.input(row)} | self._world.render(row)

    def _page(self, query: dict[str, str], caller: int, fault: Fault | None) -> Job:
        one_of(query, "status", STATUSES)
        one_of(query, "scope", ("user", "team"))
        one_of(query, "include_models", ("true", "false"))
        limit = query.get("limit", "20")
        if not re.fullmatch(r"[0-9]{1,9}", limit, re.ASCII) or not 1 <= int(limit) <= 100:
            raise invalid("limit", "Must be an integer from 1 to 100")
        if "search" in query and not UUID.fullmatch(query["search"]):
            raise invalid("search", "Invalid uuid")
        asked = self._cursor(query["cursor"]) if "cursor" in query else None
        if query.get("scope") == "team" and caller != MINE:
            raise Refused(403, "Only team admins can list the team's jobs")
        owner = None if query.get("scope") == "team" else caller
        narrowed = Filter(owner, None, None, None)
        if not self.ignore_filters:
            narrowed = Filter(owner, query.get("status"), query.get("model"), query.get("search"))
        narrowed, after, offset = self._behind(narrowed, asked)
        size = int(limit)
        rows = self._slice(narrowed, after, offset, size + 1)
        more, rows = len(rows) > size, rows[:size]
        last = self._world.position(rows[-1]) if rows else after
        cursor = Cursor(self._epoch, last, offset + len(rows), narrowed, 0).text() if more else None
        page: Job = {"jobs": [self._world.encoded(row) for row in rows], "nextCursor": cursor, "hasMore": more}
        if query.get("include_models") == "true":
            page["models"] = self._world.models(owner)
        if fault is not None:
            here = asked or Cursor(self._epoch, None, 0, narrowed, 0)
            self._spoil(page, fault, rows, size, here)
        return page

    def _cursor(self, text: str) -> Cursor:
        cursor = Cursor.read(text)
        if cursor is None or cursor.epoch != self._epoch:
            raise invalid("cursor", "Invalid cursor")
        return cursor


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


def _uuid(name: str) -> str:
    return uuid_text(int.from_bytes(hashlib.sha256(name.encode()).digest()[:15], "big"))


def _key(name: str) -> str:
    return f"afk_{hashlib.sha256(name.encode()).hexdigest()[:40]}"


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
