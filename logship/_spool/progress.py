"""The recovery of orphans: what a step says, what is counted, and what all orphans share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

NOTES_MAX = 100


class RecoveryState(Enum):
    """The answer of a step of recovery that hands out no chunk."""

    WORKING = auto()  # there is more to do: call again
    AWAITING_ACKS = auto()  # call again when a chunk was settled, or at `deadline_seconds`
    AWAITING_ORPHANS = auto()  # nothing is left; call again after `SCAN_SECONDS`


@dataclass(slots=True)
class RecoveryCounters:
    """What became of the records of dead processes.

    The names are those of the recovery report, so `lives` counts process directories.

    Attributes:
        lives: Process directories that were taken over.
        lives_finished: Those of which nothing is left.
        chunks: Chunks handed out.
        chunks_acked: Those that the sidecar acked.
        records: The application's records in chunks handed out.
        records_acked: The same in chunks acked.
        records_abandoned: Records written to stderr, because time was up.
        unsealed: Chunks that were never sent, so without a checksum. What lies behind their commit
            word is cut off; it is at most one entry, torn by the death.
        damaged: Chunks, headers, words and files that could not be read.
        quarantined: Single records that no server takes; control records too, which are sent again.
        unkept: What should have been kept in quarantine, and found no room there.
        refused: Files and directories that were left alone, because recovery must not read them.
        unknown_version: Those of them whose format is another version's or byte order's.
        notes: What is damaged, quarantined, unkept or refused by name, for a person; the first
            hundred.
    """

    lives: int = 0
    lives_finished: int = 0
    chunks: int = 0
    chunks_acked: int = 0
    records: int = 0
    records_acked: int = 0
    records_abandoned: int = 0
    unsealed: int = 0
    damaged: int = 0
    quarantined: int = 0
    unkept: int = 0
    refused: int = 0
    unknown_version: int = 0
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> bool:
        """Keep a line for a person, if it is new and there is room for it; tell whether."""
        is_new = len(self.notes) < NOTES_MAX and text not in self.notes
        if is_new:
            self.notes.append(text)
        return is_new


@dataclass(kw_only=True, eq=False)
class Recovery:
    """What all orphans of one recovery share. A setting for recovery is an attribute of this.

    Attributes:
        counters: What became of the orphans.
        warn: As `LastResort.warn`; the shipper sets it.
        default_tag: Returns the tag of a stream whose process never learned it; None where that
            is not known here either. The shipper sets it.
        random_bytes: As `os.urandom`, for the ids of chunks that recovery writes.
        monotonic: Seconds.
        time_ns: Nanoseconds since the epoch.
    """

    counters: RecoveryCounters = field(default_factory=RecoveryCounters)
    warn: Callable[..., object] = lambda *_, **__: None
    default_tag: Callable[[], str | None] = lambda: None
    random_bytes: Callable[[int], bytes] = os.urandom
    monotonic: Callable[[], float] = time.monotonic
    time_ns: Callable[[], int] = time.time_ns

    def say(self, text: str) -> None:
        """Tell a person of something bad, once, and of not more than a hundred things.

        It is told at once: the next step may change what the spool shows of it.
        """
        if self.counters.note(text):
            self.tell(f"recovery: {text}")
            if len(self.counters.notes) == NOTES_MAX:
                self.tell("recovery: what is found from now on is counted, and not named")

    def tell(self, text: str) -> None:
        """Tell a person of what happened."""
        self.warn("recovery", text, interval_seconds=0.0)

    def seconds_of(self, time_ns: int) -> float:
        """Return a time since the epoch on the monotonic clock."""
        return self.monotonic() - (self.time_ns() - time_ns) / 1e9
