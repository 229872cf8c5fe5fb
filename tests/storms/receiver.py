"""A forward-protocol server that acks every chunk and keeps the numbers of what arrived.

It shares no code with logship: msgpack takes the frames apart.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from array import array
from typing import Any, Self

import msgpack

_READ_BYTES = 1 << 18
CONTROL_CODE = -1
"""Stands for a record of logship's own."""


class StreamLog:
    """What arrived of one stream, in the order of arrival.

    Attributes:
        numbers, codes: Of each record.
        end: The number of the end record.
        accepted: What that says of the records accepted.
        gaps: What gap records declared.
    """

    def __init__(self) -> None:
        self.numbers = array("q")
        self.codes = array("q")
        self.end: int | None = None
        self.accepted: int | None = None
        self.gaps: list[tuple[int, int]] = []


class Receiver:
    """The server, on a thread for each connection; a context manager.

    Attributes:
        endpoint: Where it listens.
        streams: By the stream's id.
        faults: What it could not understand.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.streams: dict[str, StreamLog] = {}
        self.faults: list[str] = []
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        frames = msgpack.Unpacker(max_buffer_size=1 << 28)
        with contextlib.suppress(OSError):
            while data := connection.recv(_READ_BYTES):
                frames.feed(data)
                for frame in frames:
                    try:
                        chunk_id = self._take(frame)
                    except (ValueError, KeyError, TypeError, msgpack.UnpackException) as error:
                        self.faults.append(f"{error!r} in {frame!r:.200}")
                        return
                    connection.sendall(msgpack.packb({"ack": chunk_id}))
        connection.close()

    def _take(self, frame: Any) -> str:
        """Note a frame's records; return its chunk's id."""
        _, payload, options = frame
        entries = msgpack.Unpacker(ext_hook=_no_time, max_buffer_size=1 << 28)
        entries.feed(payload)
        records = [record for _, record in entries]
        if len(records) != options["size"]:
            raise ValueError(f"{len(records)} entries where the frame says {options['size']}")
        with self._lock:
            self._note(records)
        return str(options["chunk"])

    def _note(self, records: list[dict[str, Any]]) -> None:
        log, stream = StreamLog(), ""
        for record in records:
            its_stream, _, digits = record["logship_id"].partition(":")
            if its_stream != stream:
                stream = its_stream
                log = self.streams.setdefault(stream, StreamLog())
            log.numbers.append(int(digits))
            log.codes.append(record.get("code", CONTROL_CODE))
            if "code" not in record:
                _note_control(log, record, int(digits))


def _note_control(log: StreamLog, record: dict[str, Any], number: int) -> None:
    if "logship_end" in record:
        log.end, log.accepted = number, record["logship_accepted"]
    elif "logship_gap" in record:
        first, last, *_ = record["logship_gap"]
        log.gaps.append((first, last))
    else:
        raise ValueError("a record that no call logged")


def _no_time(code: int, data: bytes) -> None:
    del code, data
