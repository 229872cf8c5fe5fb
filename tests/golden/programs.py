"""Programs that leave a spool behind, most of them by SIGKILL.

Run one as a file, `programs.py CASE SPOOL LEDGER`: it then needs nothing but logship and the
standard library, so it also runs with another tree's logship on `PYTHONPATH`.

The ledger is independent of logship. It has one JSON line for each record that `emit` accepted,
written after `emit` returned, and one for each record whose chunk the sidecar acknowledged.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgpack

import logship

NOWHERE = "tcp://127.0.0.1:1"
"""An endpoint where no server listens."""

FIRST_NS = 1_760_000_000_000_000_000
STEP_NS = 1_000_003
"""The time of a program's first record, and from one record to the next."""

WAIT_SECONDS_MAX = 30.0

POISON = "poison"
"""The message of a record that the sidecar does not take."""

FIRELENS_TAG = "app-firelens-0123456789abcdef"


class Sidecar:
    """Acknowledges the chunks that a case wants acknowledged, and keeps silent about the others.

    Args:
        acks: Tells for a chunk's tag and messages whether it is acknowledged.
        note: Takes each message of a chunk before its ack is sent.

    Attributes:
        endpoint: Where it listens.
        seen: Messages of all records received so far, resent ones again.
    """

    def __init__(self, acks: Callable[[str, list[str]], bool], note: Callable[[str], None]) -> None:
        self.acks = acks
        self.seen: list[str] = []
        self._note = note
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        unpacker = msgpack.Unpacker(strict_map_key=False)
        with connection:
            while data := connection.recv(65536):
                unpacker.feed(data)
                for tag, entries, options in unpacker:
                    messages = _messages_in(entries)
                    if POISON in messages:
                        return
                    self.seen += messages
                    if self.acks(tag, messages):
                        for each in messages:
                            self._note(each)
                        connection.sendall(msgpack.packb({"ack": options["chunk"]}))


def _messages_in(entries: bytes) -> list[str]:
    unpacker = msgpack.Unpacker(strict_map_key=False)
    unpacker.feed(entries)
    return [record["message"] for _, record in unpacker]


class Program:
    """What every case does: a client with a spool, records with a ledger, a death.

    Args:
        spool: The spool's directory.
        ledger: The file of the ledger; appended to.
    """

    def __init__(self, spool: Path, ledger: Path) -> None:
        self.spool = spool
        self._ledger = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._count = 0
        self.sidecar = Sidecar(
            lambda tag, messages: False, lambda message: self.note(acked=message)
        )

    def note(self, **fields: str) -> None:
        os.write(self._ledger, (json.dumps(fields) + "\n").encode())

    def client(self, **settings: Any) -> logship.BackgroundClient:
        """Return a client with small chunks that are sealed only when they are full."""
        environ = {
            "LOGSHIP_ENDPOINTS": NOWHERE,
            "LOGSHIP_TAG": "app",
            "LOGSHIP_SPOOL_DIR": str(self.spool),
            "LOGSHIP_SPOOL_BYTES_MAX": str(16 * 1024 * 1024),
            "LOGSHIP_BUFFER_BYTES_MAX": str(64 * 1024 * 1024),
            "LOGSHIP_CHUNK_BYTES_MAX": "1024",
            "LOGSHIP_LINGER_SECONDS": "60",
            "LOGSHIP_BACKOFF_SECONDS_BASE": "0.01",
            "LOGSHIP_BACKOFF_SECONDS_MAX": "0.05",
            "LOGSHIP_LAST_RESORT": "none",
        }
        return logship.BackgroundClient(logship.Settings.from_env(environ, **settings))

    def log(
        self,
        client: logship.BackgroundClient,
        count: int,
        tag: str | None = None,
        pad_bytes: int = 60,
        message: str = "",
    ) -> None:
        """Emit so many records, and write each to the ledger when `emit` has returned."""
        for _ in range(count):
            self._count += 1
            text = message or f"record {self._count}"
            record = {
                "message": text,
                "level": ("INFO", "WARNING", "ERROR")[self._count % 3],
                "count": self._count,
                "share": self._count / 8,
                "user": {"name": "Zoë", "roles": ["reader", None, True]},
                "pad": "x" * pad_bytes,
            }
            time_ns = FIRST_NS + self._count * STEP_NS
            if client.emit(record, tag, time_ns=time_ns):
                self.note(tag=tag or "", message=text)

    def wait(self, condition: Callable[[], bool]) -> None:
        """Return when the condition holds.

        Raises:
            TimeoutError: It did not hold in time.
        """
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError("what this program waits for did not happen")
            time.sleep(0.005)

    def count_state(self, letters: bytes) -> int:
        """Return how many chunks on the spool have this state, by the words in the files."""
        word = letters if sys.byteorder == "big" else letters[::-1]
        return sum(path.read_bytes().count(word) for path in self.spool.glob("*/segment-*"))

    def die(self) -> None:
        """End by SIGKILL, as the kernel ends a process that is out of memory."""
        os.kill(os.getpid(), signal.SIGKILL)


def one_tag(program: Program) -> None:
    """One stream in several chunks, none of them ever sent."""
    program.log(program.client(), 40)
    program.die()


def several_tags(program: Program) -> None:
    """Four streams whose chunks lie between each other."""
    client = program.client()
    for number in range(60):
        tag = (None, "web", "db.slow", "grüße")[number % 4 if number % 7 else 1]
        program.log(client, 1, tag, pad_bytes=number * 4)
    program.die()


def partial_acks(program: Program) -> None:
    """Acked, sealed and open chunks beside each other: the chunks of three records were acked."""
    acked = {"record 3", "record 15", "record 27"}
    program.sidecar.acks = lambda tag, messages: not acked.isdisjoint(messages)
    client = program.client(endpoints=(_endpoint(program.sidecar.endpoint),))
    program.log(client, 40)
    program.wait(lambda: len(acked.intersection(program.sidecar.seen)) == len(acked))
    program.wait(lambda: program.count_state(b"ackd") >= len(acked))
    program.log(client, 9, "web")
    program.die()


def used_again(program: Program) -> None:
    """A segment in its second use: the bytes of the first one lie behind what counts."""
    program.sidecar.acks = lambda tag, messages: True
    client = program.client(endpoints=(_endpoint(program.sidecar.endpoint),))
    program.log(client, 40)
    assert client.flush(WAIT_SECONDS_MAX).all_acked
    program.sidecar.acks = lambda tag, messages: False
    program.log(client, 12)
    program.die()


def gap_overflow(program: Program) -> None:
    """The spool was full; the oldest chunks were dropped, and their numbers are declared."""
    client = program.client(overflow="drop_oldest", chunk_bytes_max=1_000_000)
    program.log(client, 80, pad_bytes=250_000)
    program.log(client, 3, "web")
    program.die()


def gap_quarantined(program: Program) -> None:
    """The sidecar did not take one record; its number is declared."""
    program.sidecar.acks = lambda tag, messages: True
    client = program.client(endpoints=(_endpoint(program.sidecar.endpoint),))
    program.log(client, 20)
    program.log(client, 1, message=POISON)
    program.log(client, 20)
    client.flush(WAIT_SECONDS_MAX)
    program.sidecar.acks = lambda tag, messages: False
    program.log(client, 12)
    program.die()


def closed(program: Program) -> None:
    """The client was closed with records left: each stream has its end record."""
    client = program.client(report=True)
    program.log(client, 25)
    program.log(client, 5, "web")
    client.close(timeout=1.0, reason="golden")


def one_ended(program: Program) -> None:
    """The client was closed; the sidecar has all of one stream, its end too, and nothing else."""
    program.sidecar.acks = lambda tag, messages: tag == "web"
    client = program.client(endpoints=(_endpoint(program.sidecar.endpoint),))
    program.log(client, 9)
    program.log(client, 9, "web")
    client.close(timeout=2.0, reason="golden")


def provisional(program: Program) -> None:
    """The process died before it knew the tag that FireLens routes; one tag was its own."""
    os.environ["ECS_CONTAINER_METADATA_URI_V4"] = _task_metadata(answers=False)
    client = program.client(firelens_tag=True)
    program.log(client, 20)
    program.log(client, 5, "web")
    program.die()


def provisional_known(program: Program) -> None:
    """The tag became known while chunks with the provisional one waited."""
    let_answer = threading.Event()
    os.environ["ECS_CONTAINER_METADATA_URI_V4"] = _task_metadata(answers=True, when=let_answer)
    client = program.client(firelens_tag=True)
    program.log(client, 20)
    let_answer.set()
    streams = FIRELENS_TAG.encode()
    program.wait(lambda: any(streams in each.read_bytes() for each in _streams_files(program)))
    program.log(client, 10)
    program.die()


def without_stamps(program: Program) -> None:
    """Records that carry no number."""
    program.log(program.client(stamp=False), 20)
    program.die()


def own_stamp_key(program: Program) -> None:
    """Stamps under a name of the operator's, which a record of the application has too."""
    client = program.client(stamp_key="count")
    program.log(client, 20)
    program.die()


def large_record(program: Program) -> None:
    """One record that has a segment of its own."""
    client = program.client()
    program.log(client, 4)
    program.log(client, 1, pad_bytes=4_500_000)
    program.log(client, 4)
    program.die()


CASES: dict[str, Callable[[Program], None]] = {
    each.__name__: each
    for each in (
        one_tag,
        several_tags,
        partial_acks,
        used_again,
        gap_overflow,
        gap_quarantined,
        closed,
        one_ended,
        provisional,
        provisional_known,
        without_stamps,
        own_stamp_key,
        large_record,
    )
}


def _endpoint(text: str) -> Any:
    (endpoint,) = logship.Settings.from_env({"LOGSHIP_ENDPOINTS": text}).endpoints
    return endpoint


def _streams_files(program: Program) -> list[Path]:
    return list(program.spool.glob("*/streams"))


def _task_metadata(*, answers: bool, when: threading.Event | None = None) -> str:
    """Start an endpoint of task metadata that answers when it may, or never; return its address."""
    container = {"DockerId": "0", "Name": "app", "LogDriver": "awsfirelens"}
    task = {"TaskARN": "arn:aws:ecs:eu:1:task/c/0123456789abcdef", "Containers": [container]}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not answers or when is None:
                threading.Event().wait()
                return
            when.wait()
            body = json.dumps(task if self.path.endswith("/task") else container).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}/v4"


if __name__ == "__main__":
    CASES[sys.argv[1]](Program(Path(sys.argv[2]), Path(sys.argv[3])))
