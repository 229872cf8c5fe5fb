"""What the receiver did so far, as plain integers that it advances and others read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """What the receiver did so far; the metrics `logship_receiver_…` are made of it.

    Attributes:
        records: Lines written to the output, or records only counted.
        acks: Chunks acknowledged, each after all of it was written.
        connections: Connections taken.
        connections_open: Those of them that are open.
        refused: Connections closed because of what the client said.
        received_bytes: Bytes received.
        output_bytes: Bytes written to the output.
        output_errors: Writes that failed.
    """

    records: int = 0
    acks: int = 0
    connections: int = 0
    connections_open: int = 0
    refused: int = 0
    received_bytes: int = 0
    output_bytes: int = 0
    output_errors: int = 0
