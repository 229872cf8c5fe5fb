"""An HTTPS server of one stand-in, with faults at known requests, and outages."""

from __future__ import annotations

import gzip
import itertools
import json
import signal
import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.programs import let_pass

OUTAGE_SECONDS = 2.0


class RefusedError(Exception):
    """A request that the destination's published schema does not allow."""


@dataclass(frozen=True)
class Request:
    """A request whose body is unpacked.

    Attributes:
        method: GET, POST or PUT.
        path: With the query.
        headers: By their names in lower case.
        body: Without its compression.
        is_partial: Whether to take only a part of it, where the destination can say so.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    is_partial: bool


@dataclass(frozen=True)
class Answer:
    """What to answer.

    Attributes:
        status: The code.
        body: Empty where there is none.
        headers: Without the length.
    """

    status: int
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)


def in_json(status: int, content: Any) -> Answer:
    return Answer(status, json.dumps(content).encode(), [("Content-Type", "application/json")])


class StandIn(ABC):
    """A destination.

    Args:
        directory: Where it keeps `stored.jsonl`, and `answers.txt` with what it answered.

    Attributes:
        throttled: What it answers to the first requests that bring records, and to later ones.
        throttled_requests: How many of those in a row.
        fault_requests: In so many requests that happens once, and the next meets a partial failure.
            More than a chunk of Fluent Bit needs: the whole chunk is sent again.
    """

    throttled = Answer(429, b"slow down", [("Retry-After", "1")])
    throttled_requests = 2
    fault_requests = 10

    def __init__(self, directory: Path) -> None:
        self._stored = (directory / "stored.jsonl").open("ab")
        self._answers = (directory / "answers.txt").open("a")
        self._writes = itertools.count()
        self._lock = threading.Lock()

    @abstractmethod
    def take(self, request: Request) -> Answer:
        """Check a request, store what it brings, and return the answer.

        Raises:
            RefusedError: The schema does not allow it.
        """

    def writes(self, request: Request) -> bool:
        """Tell whether the request brings records; only those meet faults."""
        return True

    def store(self, records: Iterable[Any]) -> None:
        """Append records as lines, and do not return before they are in the file."""
        for record in records:
            line = record if isinstance(record, str) else json.dumps(record)
            self._stored.write(line.encode() + b"\n")
        self._stored.flush()

    def answer(self, request: Request) -> Answer:
        """Answer a request, with its faults, and note what was answered."""
        with self._lock:
            answer, said = self._judged(request)
            print(said, file=self._answers, flush=True)
        return answer

    def _judged(self, request: Request) -> tuple[Answer, str]:
        number = next(self._writes) % self.fault_requests if self.writes(request) else -1
        if 0 <= number < self.throttled_requests:
            return self.throttled, "throttled"
        try:
            answer = self.take(replace(request, is_partial=number == self.throttled_requests))
        except RefusedError as refused:
            return Answer(400, str(refused).encode()), f"refused: {refused}"
        return answer, str(answer.status)


def must(holds: Any, what: str) -> None:
    if not holds:
        raise RefusedError(what)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _handle(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        if headers.get("content-encoding") == "gzip" and self.command == "POST":
            body = gzip.decompress(body)
        request = Request(self.command, self.path, headers, body, is_partial=False)
        self._send(self.server.stand_in.answer(request))

    do_GET = do_POST = do_PUT = _handle  # noqa: N815 - the names that http.server looks for

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *words: Any) -> None:
        """Say nothing: what was answered is in a file."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, stand_in: StandIn, port: int, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.stand_in = stand_in
        # The handshake is the thread's that reads, so a client that does not begin one holds up no
        # other.
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: probes connect and leave."""


def serve(stand_in: StandIn, port: int, context: ssl.SSLContext) -> None:
    """Serve for ever. After SIGUSR1 refuse connections for two seconds, then go on."""
    outage = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: outage.set())
    while True:
        with _Server(stand_in, port, context) as server:
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            outage.wait()
            server.shutdown()
        let_pass(OUTAGE_SECONDS)
        outage.clear()
