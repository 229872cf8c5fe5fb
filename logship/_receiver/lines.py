"""What the receiver makes of a message: lines for its output, or only the number of its records.

Counting is for load tests: it shows what clients, network and acknowledgements can carry, where
making lines would be the limit.
"""

from __future__ import annotations

from dataclasses import dataclass

from logship._protocol.payloads import count_entries, payload_lines


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of one message.

    Attributes:
        data: JSON lines, a newline behind each; empty where records are only counted.
        count: how many records these are.
    """

    data: bytes
    count: int

    def __len__(self) -> int:
        return self.count


def written(tag: str, entries: bytes) -> Lines:
    """Return a JSON line for each record.

    Raises:
        ProtocolError: the bytes are not a run of whole entries, or make too much.
    """
    return Lines(*payload_lines(tag, entries))


def counted(tag: str, entries: bytes) -> Lines:
    """Return how many records there are; see `count_entries` for what is checked.

    Raises:
        ProtocolError: the bytes are not a run of whole entries, or make too much.
    """
    del tag
    return Lines(b"", count_entries(entries))
