"""How far the recovery of orphans has come: what a step says, and what is counted."""

from __future__ import annotations

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
        notes: Each of the last four by name, for a person; the first hundred.
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
