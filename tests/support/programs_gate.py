"""A port whose behaviour a test changes while an application ships to it.

Sidecars start late, die, restart, stall and are sometimes something else entirely. The gate is
one port that can be each of these at a word, in front of a real sidecar that is always there, so
that no test has to race a process that starts.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

from tests.support.servers import ReservedPort

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with 0 s: the peer sees a reset, as when a sidecar is SIGKILLed with unread data."""


class Gate:
    """A TCP port on loopback in front of `target_port`; shut when made.

    Shut: connections are refused, and no other program can get the port. Silent: connections are
    taken and no bytes pass, in either direction. Open: bytes pass, at a bounded rate if it is slow.
    Answering: each connection gets a fixed answer to any bytes, and is closed.

    Attributes:
        port: The number applications connect to; it stays the same.
        connections_taken: How many were accepted so far.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._reserved = ReservedPort()
        self.port = self._reserved.number
        self.connections_taken = 0
        self._listener: socket.socket | None = None
        self._flowing = threading.Event()
        self._answer: bytes | None = None
        self._seconds_per_byte = 0.0
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def endpoint(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def open(self) -> None:
        """Let bytes pass, those of connections taken in silence too."""
        self._answer = None
        self._flowing.set()
        self._listen()

    def slow(self, bytes_per_second: float) -> None:
        """Let so many bytes pass in a second: a sidecar that acknowledges, and does not keep up."""
        self._seconds_per_byte = 1 / bytes_per_second
        self.open()

    def silence(self) -> None:
        """Take connections and their bytes, and pass nothing: a black hole."""
        self._answer = None
        self._flowing.clear()
        self._listen()

    def answer(self, answer: bytes) -> None:
        """Be another server: say `answer` to whatever comes, and close."""
        self._answer = answer
        self._listen()

    def shut(self) -> None:
        """Refuse connections and reset those there are, as if the sidecar was killed."""
        self._stop_listening()
        self.cut()

    def cut(self) -> None:
        """Reset all connections; new ones find the gate as it is."""
        sockets, self._sockets = self._sockets, []
        for each in sockets:
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                each.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads from it
            each.close()

    def close(self) -> None:
        """Shut for good and join every thread."""
        self._closed.set()
        self._stop_listening()
        self._flowing.set()
        self.cut()
        for thread in self._threads:
            thread.join(10)
        self.cut()  # a connection that was being taken meanwhile
        self._reserved.close()

    def _listen(self) -> None:
        if self._listener is not None:
            return
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self._run(self._take_connections, self._listener)

    def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
            listener.close()

    def _run(self, target: Callable[..., None], *args: socket.socket) -> threading.Thread:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _take_connections(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.connections_taken += 1
            self._sockets.append(client)
            self._run(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            if self._answer is not None:
                self._answer_once(client, self._answer)
            else:
                self._pass_on(client)

    def _answer_once(self, client: socket.socket, answer: bytes) -> None:
        if client.recv(65536):
            client.sendall(answer)

    def _pass_on(self, client: socket.socket) -> None:
        self._flowing.wait()
        if self._closed.is_set():
            return
        server = socket.create_connection(("127.0.0.1", self._target_port), timeout=10)
        server.settimeout(None)
        self._sockets.append(server)
        with server:
            back = self._run(self._pump, server, client)
            self._pump(client, server)
            back.join()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flowing.wait()
                self._closed.wait(len(data) * self._seconds_per_byte)
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
