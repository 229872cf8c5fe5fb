"""What the judge knows of processes and streams, and what a client says of itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from logship._buffer.losses import LOST_MAX
from tests.simulation.wire import Frame


@dataclass(slots=True)
class StreamLedger:
    """What is known of one stream.

    Attributes:
        carrier: The frame that brought each number last; a number that is in it was sent.
        stored: Numbers that some server has had.
        highest_stored: The highest of them.
        acked: Numbers that the client released.
        given_up: Why a client gave up the chunk of each number, where one did.
        declared: Numbers in gap records that were delivered.
        withheld: Numbers of withheld records in gap records that the client released.
        mixed: Numbers in such gap records that do not tell the reason.
        told: Numbers in all gap records that the client released.
        accepted_at_end: What the delivered end record says.
    """

    life: Life
    carrier: dict[int, Frame] = field(default_factory=dict)
    stored: set[int] = field(default_factory=set)
    highest_stored: int = 0
    acked: set[int] = field(default_factory=set)
    given_up: dict[int, str] = field(default_factory=dict)
    declared: set[int] = field(default_factory=set)
    withheld: set[int] = field(default_factory=set)
    mixed: set[int] = field(default_factory=set)
    told: set[int] = field(default_factory=set)
    end_number: int | None = None
    accepted_at_end: int | None = None


@dataclass(slots=True)
class Life:
    """What is known of one client.

    Attributes:
        failures: Attempts and connections in a row that brought no ack.
        silent_losses: Connections in a row that ended with chunks outstanding and no ack.
        struck: Chunks that were lost alone twice since anything was acked.
        reorders: Whether chunks may arrive out of order from now on.
        damaged: Whether what it left on its spool was damaged before it was recovered.
        given_up_late: Chunks that it gave up after its streams had ended.
        is_closing: Whether its intake is closed, so that its streams have ended.
    """

    number: int
    ack_timeout_seconds: float
    wait_seconds_max: float
    accepted: int = 0
    refused: int = 0
    acked: int = 0
    given_up_late: list[Frame] = field(default_factory=list)
    streams: dict[str, StreamLedger] = field(default_factory=dict)
    failures: int = 0
    silent_losses: int = 0
    struck: dict[str, Frame] = field(default_factory=dict)
    reorders: bool = False
    damaged: bool = False
    is_closing: bool = False
    hurried: bool = False
    failed_seconds: float | None = None
    attempt_seconds: float = math.inf
    had_no_answer: bool = False

    def may_leave_out(self, lost_max: int) -> set[tuple[str, int]]:
        """Return what a report of so few gaps need not name: the sidecar was told of it."""
        if lost_max >= LOST_MAX:
            return set()
        return {(name, number) for name, each in self.streams.items() for number in each.told}


@dataclass(frozen=True, slots=True)
class Account:
    """What the client says of itself."""

    accepted: int
    acked: int
    spilled: int
    dropped: int
    refused: int
    bytes_held: int


@dataclass(frozen=True, slots=True)
class Holdings:
    """What lies in the client's buffer, looked at from outside."""

    records: int
    entries: int
    data_bytes: int
