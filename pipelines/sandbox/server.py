"""The sandbox's HTTP side: the published protocol on 127.0.0.1, its cursors, its faults.

Everything that is known about jobs lies in `world`; which request meets a fault is decided in `faults`.
"""

import base64
import binascii
import contextlib
import hashlib
import itertools
import re
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TextIO
from urllib.parse import parse_qsl, unquote

import orjson

from pipelines.sandbox.catalogue import MODELS
from pipelines.sandbox.faults import Fault, Faults
from pipelines.sandbox.world import (
    FOREVER,
    MINE,
    OTHERS,
    STATUSES,
    Job,
    Position,
    World,
    milliseconds,
    uuid_text,
)

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_STARTING_CREDITS: Final = 250_000
_CURSORS: Final = ("position", "offset", "bound", "keeps_filter", "restart", "second")
_ORDERS: Final = ("newest", "oldest", "shuffled")
_PARAMETERS: Final = ("status", "model", "limit", "cursor", "scope", "search", "include_models")


@dataclass
class Request:
    """One request: its path below /v2, its query, the answer's status (0: none), whether it had a key."""

    path: str
    query: dict[str, str]
    status: int
    has_key: bool


class Refused(Exception):  # noqa: N818 - an answer, not a defect
    """An answer other than 200."""

    def __init__(
        self,
        status: int,
        error: str,
        details: dict[str, list[str]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(error)
        self.status, self.headers = status, headers or {}
        self.body: Job = {"error": error} if details is None else {"error": error, "details": details}


class Filter(NamedTuple):
    """What a list is narrowed to."""

    owner: int | None
    status: str | None
    model: str | None
    search: str | None


class Cursor(NamedTuple):
    """What a page cursor holds; clients see it as opaque text."""

    epoch: int
    position: Position | None  # the last job shown; None: the top
    offset: int
    filter: Filter
    nonce: int  # tells apart cursors to one position

    def text(self) -> str:
        """The cursor as clients see it."""
        return base64.urlsafe_b64encode(self._signed()).decode().rstrip("=")

    def _signed(self) -> bytes:
        created, number = self.position or (None, 0)
        plain = orjson.dumps([self.epoch, created, f"{number:x}", self.offset, [*self.filter], self.nonce])
        return hashlib.blake2b(plain, digest_size=6).digest() + plain

    @classmethod
    def read(cls, text: str) -> "Cursor | None":
        """The cursor of a text; None where no such cursor was ever issued."""
        try:
            data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            epoch, created, number, offset, narrowed, nonce = orjson.loads(data[6:])
            position = None if created is None else (int(created), int(number, 16))
            cursor = cls(epoch, position, offset, Filter(*narrowed), nonce)
        except (ValueError, TypeError, binascii.Error):
            return None
        return cursor if cursor.text() == text else None


class Sandbox:
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
        start = (now or datetime.now(UTC)).replace(microsecond=0) if now is None else now
        self._world = World(jobs, days, seed, milliseconds(start), mix)
        self._lock = threading.RLock()
        self._port = port
        self._live_since = (time.monotonic(), self._world.now) if live else None
        self._server: _Server | None = None
        self._epoch = 0
        self._numbers = itertools.count(1)
        self._accepted: deque[float] = deque()
        self.faults = Faults()
        self.closing = threading.Event()
        self.api_key, self.member_key, self.inactive_key = (
            _key(f"{who} {seed}") for who in ("admin", "member", "former")
        )
        self._ids = {name: _uuid(f"{name} {seed}") for name in ("team", self.api_key, self.member_key)}
        self.latency = latency
        self.rate_limit: float | None = None
        self._order = "newest"
        self._cursors = "position"
        self.ignore_filters = False
        self.on_request: Callable[[Request], object] | None = None
        self.requests: list[Request] = []

    def start(self) -> Self:
        """Bind and serve from a daemon thread; OSError where the port is taken."""
        self.closing.clear()
        self._server = _Server(self, self._port)
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

    def add(self, count: int = 1, *, created_at: datetime | str | None = None, **fields: Any) -> list[str]:
        """New jobs, born now or at `created_at` (also createdAt), served with these fields; ids, newest last.

        A known status is lived, not only shown: open ones stay open until `finish`, final ones end at once
        with all that belongs to it. Any other field is served as given.
        """
        created_at = fields.pop("createdAt", created_at)
        with self._lock:
            self._tick()
            return self._world.add(count, None if created_at is None else milliseconds(created_at), fields)

    def put(self, job_id: str, /, **fields: Any) -> None:
        """Serve these fields of one job from now on; REMOVED as a value drops the field. Its place stays."""
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

    # What clients did, and what is done to them

    def count(self, path: str = "/jobs") -> int:
        """How many requests asked for a path since `requests` was last cleared, rejected ones included."""
        return sum(request.path == path for request in list(self.requests))

    def fault(self, kind: str, times: int | None = 1, after: int = 0, path: str = "/jobs", **options: Any) -> None:
        """The next `times` (None: all) requests to `path` (* is any) after `after` unharmed ones meet it."""
        self.faults.order(kind, times, after, path, options)

    def clear_faults(self) -> None:
        """No more faults."""
        self.faults.clear()

    def forget_cursors(self) -> None:
        """From now on every cursor issued so far is refused."""
        with self._lock:
            self._epoch += 1

    @property
    def order(self) -> str:
        """The order of the list: newest, oldest or shuffled."""
        return self._order

    @order.setter
    def order(self, order: str) -> None:
        self._order = _known(order, _ORDERS)

    @property
    def cursors(self) -> str:
        """What is made of a cursor that comes from a list filtered otherwise.

        position: a place in any list; offset: a number of jobs to skip (its own lists too); bound: refused;
        keeps_filter: the cursor's filter wins; restart: the top; second: a place cut to the whole second.
        """
        return self._cursors

    @cursors.setter
    def cursors(self, cursors: str) -> None:
        self._cursors = _known(cursors, _CURSORS)

    # Answers; the handler calls these

    def limited(self) -> bool:
        """Whether one more request now is above the rate limit."""
        if self.rate_limit is None:
            return False
        with self._lock:
            now = time.monotonic()
            while self._accepted and self._accepted[0] <= now - 1:
                self._accepted.popleft()
            if len(self._accepted) >= self.rate_limit:
                return True
            self._accepted.append(now)
            return False

    def clock_and_number(self) -> tuple[float, int]:
        """For the headers: seconds since the epoch, and the number of this answer."""
        with self._lock:
            return self._world.now / 1000, next(self._numbers)

    def answer(self, path: str, query: list[tuple[str, str]], key: str | None, fault: str | None) -> Job:
        """The body of a 200, or Refused. `fault` is a kind that changes a page, None for a true one."""
        with self._lock:
            self._tick()
            if path == "/models":
                return self._models(_parameters(query, ("modality",)))
            if path not in ("/jobs", "/me") and not re.fullmatch(r"/jobs/[^/]+", path):
                raise Refused(404, "Not found")
            caller = self._caller(key)
            if path == "/me":
                return self._me(caller)
            if path == "/jobs":
                return self._page(_parameters(query, _PARAMETERS), caller, fault)
            return self._job(unquote(path.removeprefix("/jobs/")), caller)

    def _caller(self, key: str | None) -> int:
        if not key:
            raise Refused(401, "API key is required")
        if key == self.inactive_key:
            raise Refused(403, "API key is inactive")
        if key not in (self.api_key, self.member_key):
            raise Refused(401, "Invalid API key")
        return MINE if key == self.api_key else OTHERS

    def _models(self, query: dict[str, str]) -> Job:
        modality = query.get("modality")
        _one_of(query, "modality", ("image", "video", "music"))
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

    def _me(self, caller: int) -> Job:
        name, role, key = ("owner", "ADMIN", self.api_key) if caller == MINE else ("member", "MEMBER", self.member_key)
        return {
            "user": {"id": _uuid(f"user {key}"), "email": f"{name}@example.com", "role": role},
            "team": {
                "id": self._ids["team"],
                "name": "Sandbox",
                "credits": max(0, _STARTING_CREDITS - self._world.credits_used),
                "plan": "pro",
                "customerId": None,
            },
            "apiKey": {"id": self._ids[key], "name": f"{name}'s key", "prefix": key[:8]},
        }

    def _job(self, job_id: str, caller: int) -> Job:
        if not _UUID.fullmatch(job_id):
            raise Refused(400, "Invalid job id: must be a UUID")
        try:
            row = self._world.row(job_id)
        except KeyError:
            row = None
        if row is None or self._world.owner[row] != caller:
            raise Refused(404, "Job not found")
        return {"input": self._world.input(row)} | self._world.render(row)

    def _page(self, query: dict[str, str], caller: int, fault: str | None) -> Job:
        _one_of(query, "status", STATUSES)
        _one_of(query, "scope", ("user", "team"))
        _one_of(query, "include_models", ("true", "false"))
        limit = query.get("limit", "20")
        if not re.fullmatch(r"[0-9]{1,9}", limit, re.ASCII) or not 1 <= int(limit) <= 100:
            raise _invalid("limit", "Must be an integer from 1 to 100")
        if "search" in query and not _UUID.fullmatch(query["search"]):
            raise _invalid("search", "Invalid uuid")
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
        if fault == "empty_page":
            again = Cursor(self._epoch, after, offset, narrowed, next(self._numbers))
            return {"jobs": [], "nextCursor": again.text(), "hasMore": True}
        last = self._world.position(rows[-1]) if rows else after
        cursor = Cursor(self._epoch, last, offset + len(rows), narrowed, 0).text() if more else None
        jobs = [self._world.encoded(row) for row in rows]
        if fault == "unordered":
            jobs.reverse()
        page: Job = {"jobs": jobs, "nextCursor": cursor, "hasMore": more}
        if query.get("include_models") == "true":
            page["models"] = self._world.models(owner)
        if fault == "missing_cursor":
            page |= {"nextCursor": None, "hasMore": True}
        elif fault == "repeated_cursor":
            top = Cursor(self._epoch, None, 0, narrowed, 0).text()
            page |= {"nextCursor": query.get("cursor", top), "hasMore": True}
        elif fault == "no_jobs":
            del page["jobs"]
        return page

    def _cursor(self, text: str) -> Cursor:
        cursor = Cursor.read(text)
        if cursor is None or cursor.epoch != self._epoch:
            raise _invalid("cursor", "Invalid cursor")
        return cursor

    def _behind(self, narrowed: Filter, asked: Cursor | None) -> tuple[Filter, Position | None, int]:
        """Which list to show from where, by what is made of cursors that come from another filter."""
        if asked is None:
            return narrowed, None, 0
        foreign = asked.filter != narrowed
        if foreign and self.cursors == "bound":
            raise _invalid("cursor", "Cursor belongs to another filter")
        if foreign and self.cursors == "restart":
            return narrowed, None, 0
        if foreign and self.cursors == "second" and asked.position is not None:
            return narrowed, (asked.position[0] // 1000 * 1000, asked.position[1]), asked.offset
        if self.cursors == "keeps_filter":
            return asked.filter, asked.position, asked.offset
        return narrowed, asked.position, asked.offset

    def _slice(self, narrowed: Filter, after: Position | None, offset: int, size: int) -> list[int]:
        owner, status, model, search = narrowed
        if search is None and self.order == "newest" and self.cursors != "offset":
            return self._world.page(owner, status, model, after, size)
        rows = self._rows(narrowed)
        if self.cursors == "offset":
            return rows[offset : offset + size]
        if after is not None:
            rows = [row for row in rows if self._rank(self._world.position(row)) > self._rank(after)]
        return rows[:size]

    def _rows(self, narrowed: Filter) -> list[int]:
        """Every row of a list, in the order that is served."""
        owner, status, model, search = narrowed
        rows = self._world.page(owner, status, model, None, FOREVER)
        if search is not None:
            rows = [row for row in rows if self._world.id(row) == search.lower()]
        if self.order != "newest":
            rows.sort(key=lambda row: self._rank(self._world.position(row)))
        return rows

    def _rank(self, position: Position) -> tuple[int, int]:
        created, number = position
        if self.order == "oldest":
            return created, number
        if self.order == "shuffled":
            return number * 0x9E3779B97F4A7C15 & (1 << 61) - 1, number
        return -created, -number


def _known(value: str, values: tuple[str, ...]) -> str:
    if value not in values:
        raise ValueError(f"{value!r} is none of {', '.join(values)}")
    return value


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


def _uuid(name: str) -> str:
    return uuid_text(int.from_bytes(hashlib.sha256(name.encode()).digest()[:15], "big"))


def _key(name: str) -> str:
    return f"afk_{hashlib.sha256(name.encode()).hexdigest()[:40]}"


def _invalid(field: str, text: str) -> Refused:
    return Refused(400, "Invalid query parameters", {field: [text]})


def _parameters(query: list[tuple[str, str]], known: tuple[str, ...]) -> dict[str, str]:
    """The known parameters, none of them twice; unknown ones are ignored."""
    values: dict[str, str] = {}
    for name, value in query:
        if name in values:
            raise _invalid(name, "Expected one value, received several")
        if name in known:
            values[name] = value
    return values


def _one_of(query: dict[str, str], field: str, allowed: tuple[str, ...]) -> None:
    if field in query and query[field] not in allowed:
        raise _invalid(field, f"Expected one of {', '.join(allowed)}")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, sandbox: Sandbox, port: int) -> None:
        self.sandbox = sandbox
        self._serving: dict[threading.Thread, socket.socket] = {}
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        # Own threads, so that stop() can cut and await them: an open connection would outlive its sandbox.
        thread = threading.Thread(target=self._serve, args=(request, client_address), daemon=True)
        self._serving[thread] = request
        thread.start()

    def _serve(self, request: Any, client_address: Any) -> None:
        try:
            self.process_request_thread(request, client_address)
        finally:
            self._serving.pop(threading.current_thread(), None)

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        for thread, connection in list(self._serving.items()):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            if thread is not threading.current_thread():
                thread.join(5)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # clients may go away whenever they like
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        sandbox = self.server.sandbox
        full, _, text = self.path.partition("?")
        path = full.removeprefix("/v2") if full.startswith("/v2/") else full
        query = parse_qsl(text, keep_blank_values=True)
        key = self.headers.get("X-API-Key")
        record = Request(path, dict(query), 0, bool(key))
        sandbox.requests.append(record)
        if sandbox.latency:
            sandbox.closing.wait(sandbox.latency)
        if sandbox.on_request is not None:
            sandbox.on_request(record)
        try:
            if sandbox.limited():
                raise Refused(429, "Rate limit exceeded", headers={"Retry-After": "1"})
            fault = sandbox.faults.meet(path)
            if fault is not None and self._fail(fault, record):
                return
            if not full.startswith("/v2/"):
                raise Refused(404, "Not found")
            body = sandbox.answer(path, query, key, fault.kind if fault else None)
        except Refused as refused:
            record.status = refused.status
            self._send(refused.status, orjson.dumps(refused.body), refused.headers)
        else:
            data = orjson.dumps(body)
            record.status = 200
            self._send(200, data, cut=fault is not None and fault.kind == "truncated")

    do_HEAD = do_GET  # noqa: N815 - the same, without the body

    def _fail(self, fault: Fault, record: Request) -> bool:
        """Meet the request with a fault that needs no answer of the API; whether it was one."""
        kind = fault.kind
        if kind == "timeout":
            self._hang(fault.options["seconds"])
            self.close_connection = True
        elif kind == "reset":
            linger = struct.pack("ii", 1, 0)  # closing sends RST instead of FIN
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.rfile.close()
            self.connection.close()
            self.close_connection = True
        elif kind == "html":
            record.status = 200
            self._send(200, b"<!doctype html><title>Just a moment</title>", {"Content-Type": "text/html"})
        elif kind == "error_body":
            record.status = 200
            self._send(200, orjson.dumps({"error": "Internal error"}))
        elif kind == "redirect":
            raise Refused(302, "Moved", headers={"Location": fault.options["location"]})
        elif kind.isdigit():
            after = fault.options.get("retry_after")
            headers = {} if after is None else {"Retry-After": str(after)}
            raise Refused(int(kind), HTTPStatus(int(kind)).phrase, headers=headers)
        else:
            return False
        return True

    def _hang(self, seconds: float | None) -> None:
        until = None if seconds is None else time.monotonic() + seconds
        while not self.server.sandbox.closing.wait(0.01) and (until is None or time.monotonic() < until):
            readable = select.select([self.connection], [], [], 0)[0]
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                return

    def _refuse_method(self) -> None:
        self.close_connection = True  # a body may follow, which nobody reads
        self._send(405, orjson.dumps({"error": "Method not allowed"}), {"Allow": "GET, HEAD"})

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = _refuse_method  # noqa: N815

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the standard library refuses (no HTTP, too long, unknown methods), in the API's form."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            self._refuse_method()
            return
        self.close_connection = True
        self._send(code, orjson.dumps({"error": message or HTTPStatus(code).phrase}))

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, cut: bool = False) -> None:
        seconds, number = self.server.sandbox.clock_and_number()
        lines = {
            "Date": formatdate(seconds, usegmt=True),
            "Content-Type": "application/json; charset=utf-8",
            "Content-Length": str(len(body)),
            "x-request-id": f"req_{number:012x}",
        } | (headers or {})
        if cut:
            body, self.close_connection = body[: len(body) // 2], True
        if self.close_connection:
            lines["Connection"] = "close"
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        data = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{head}\r\n".encode("latin-1")
        self.connection.sendall(data if self.command == "HEAD" else data + body)

    def log_message(self, *_: Any) -> None:
        """Nothing is logged: `Sandbox.requests` tells what came in."""


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
