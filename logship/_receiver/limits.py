"""How much the receiver's clients may take, all together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds over all connections.

    Attributes:
        connections_max: Connections that are open; more wait to be accepted. A silent one costs
            about 5 KiB, with TLS about 300 KiB.
        idle_timeout_seconds: How long a connection may send nothing.
        handshake_timeout_seconds: For TLS, and again for the shared key.
        pending_bytes_max: Bytes held of messages that are not complete; at least one message's.
    """

    connections_max: int = 512
    idle_timeout_seconds: float = 3600.0
    handshake_timeout_seconds: float = 10.0
    pending_bytes_max: int = 128 * 1024 * 1024
