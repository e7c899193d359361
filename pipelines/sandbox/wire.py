"""HTTP on 127.0.0.1: reads requests, meets them with faults or with the sandbox's answers, and counts them."""

import contextlib
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qsl

import orjson

from pipelines.sandbox.faults import Fault, Faults
from pipelines.sandbox.lives import Job
from pipelines.sandbox.protocol import Refused, Request


class Served(Protocol):
    """What is served: `Sandbox`, as far as HTTP needs to know it."""

    latency: float
    closing: threading.Event
    faults: Faults
    on_request: Callable[[Request], object] | None
    requests: list[Request]

    def limited(self) -> bool:
        """Whether one more request now is above the rate limit."""

    def clock_and_number(self) -> tuple[float, int]:
        """For the headers: seconds since the epoch, and the number of this answer."""

    def answer(self, path: str, query: list[tuple[str, str]], key: str | None, fault: Fault | None) -> Job:
        """The body of a 200, or Refused."""


class Server(ThreadingHTTPServer):
    """Serves one sandbox on 127.0.0.1, a thread to each connection; OSError where the port is taken."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, sandbox: Served, port: int) -> None:
        self.sandbox = sandbox
        self._serving: dict[threading.Thread, socket.socket] = {}
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread that stop() can await: it would outlive the sandbox otherwise."""
        thread = threading.Thread(target=self._serve, args=(request, client_address), daemon=True)
        self._serving[thread] = request
        thread.start()

    def _serve(self, request: Any, client_address: Any) -> None:
        try:
            self.process_request_thread(request, client_address)
        finally:
            self._serving.pop(threading.current_thread(), None)

    def stop(self) -> None:
        """Accept no more, cut every connection, wait for their threads."""
        self.shutdown()
        self.server_close()
        for thread, connection in list(self._serving.items()):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            if thread is not threading.current_thread():
                thread.join(5)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away: they may, whenever they like."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

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
            body = sandbox.answer(path, query, key, fault)
        except Refused as refused:
            record.status = refused.status
            self._send(refused.status, orjson.dumps(refused.body), refused.headers)
        else:
            data = orjson.dumps(body)
            record.status = 200
            kind, skew = (fault.kind, fault.options.get("seconds", 0)) if fault else ("", 0)
            self._send(200, data, cut=kind == "truncated", skew=skew)

    do_HEAD = do_GET  # noqa: N815 - the same, without the body

    def _fail(self, fault: Fault, record: Request) -> bool:
        """Meet the request with a fault that needs no answer of the API; whether it was one."""
        kind = fault.kind
        if kind == "timeout":
            self._hang(fault.options["seconds"])
            self.close_connection = True
        elif kind == "drip":
            self.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n")
            self._hang(None, drips=True)
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
        elif kind == "garbage":
            record.status = 200
            self._send(200, fault.options["body"])
        elif kind == "redirect":
            raise Refused(302, "Moved", headers={"Location": fault.options["location"]})
        elif kind.isdigit():
            after = fault.options.get("retry_after")
            headers = {} if after is None else {"Retry-After": str(after)}
            raise Refused(int(kind), HTTPStatus(int(kind)).phrase, headers=headers)
        else:
            return False
        return True

    def _hang(self, seconds: float | None, *, drips: bool = False) -> None:
        until = None if seconds is None else time.monotonic() + seconds
        while not self.server.sandbox.closing.wait(0.01) and (until is None or time.monotonic() < until):
            if drips:
                self.connection.sendall(b" ")
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

    def _send(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, *, cut: bool = False, skew: float = 0
    ) -> None:
        seconds, number = self.server.sandbox.clock_and_number()
        lines = {
            "Date": formatdate(seconds + skew, usegmt=True),
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
