"""A forward server that closes at a heartbeat, as any Fluent Bit does, and acks the rest.

It stands for versions that cannot be had here. Written on msgpack alone, so that it shares no
mistake with logship's receiver.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self

import msgpack


class ClosingServer:
    """The server; a context manager that ends it.

    Attributes:
        endpoint: Where it listens.
        messages: How many it acked.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.messages = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, contextlib.suppress(OSError):
                client.settimeout(10)
                self._answer(client)

    def _answer(self, client: socket.socket) -> None:
        unpacker = msgpack.Unpacker()
        while data := client.recv(65536):
            unpacker.feed(data)
            for message in unpacker:
                if not isinstance(message, list):
                    return
                self.messages += 1
                client.sendall(msgpack.packb({"ack": message[2]["chunk"]}))
