"""The raw socket sink: takes connections, one after the other, and throws away what comes."""

from __future__ import annotations

import socket


def main() -> None:
    """Print the port, then read for ever."""
    buffer = bytearray(1 << 20)
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        print(listener.getsockname()[1], flush=True)  # noqa: T201 - this is the answer
        while True:
            connection, _ = listener.accept()
            with connection:
                while connection.recv_into(buffer):
                    pass


if __name__ == "__main__":
    main()
