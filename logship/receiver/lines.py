"""What the receiver makes of a message: lines for its output, or only the number of its records.

Counting is for load tests: it shows what clients, network and acknowledgements can carry, where
making lines would be the limit.
"""

from __future__ import annotations

from dataclasses import dataclass

from logship.protocol.jsonlines import json_line
from logship.protocol.messages import Entries, Form
from logship.protocol.payloads import count_entries, payload_lines


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


def _lines_of_entries(tag: str, entries: Entries) -> Lines:
    lines = [json_line(tag, time_ns, record) for time_ns, record in entries]
    return Lines(b"".join(lines), len(lines))


WRITTEN = Form(
    of_entries=_lines_of_entries,
    of_payload=lambda tag, payload: Lines(*payload_lines(tag, payload)),
)
"""A JSON line a record."""

COUNTED = Form(
    of_entries=lambda tag, entries: Lines(b"", len(entries)),
    of_payload=lambda tag, payload: Lines(b"", count_entries(payload)),
)
"""How many there are; see `count_entries` for what is checked."""
