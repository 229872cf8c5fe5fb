"""The receipt: a file that tells whoever started the command what became of its records.

Step Functions, cron and their like see an exit code and nothing else; a file can be asked for by a
script. It is the drain report with what `run` knows besides, so `logship audit --expect` reads it
like one. It is made by a rename: whoever sees it sees all of it.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logship.buffer.counters import DrainReport
from logship.recovery import RecoveryReport


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the command and its records.

    Attributes:
        command: Its words.
        exit_code: As a shell gives it.
        seconds: How long it ran.
        report: What became of its output.
        recovery: What became of what clients in it left; None where none was in it.
        is_cut_off: Whether somebody still held its output when we stopped reading.
    """

    command: tuple[str, ...]
    exit_code: int
    seconds: float
    report: DrainReport
    recovery: RecoveryReport | None
    is_cut_off: bool

    @property
    def is_complete(self) -> bool:
        """Whether all that was read, and all that was found on spools, was acked."""
        recovered = self.recovery is None or self.recovery.complete
        return self.report.all_acked and recovered and not self.is_cut_off

    def to_json(self) -> str:
        """Return the receipt as one JSON line."""
        fields: dict[str, Any] = json.loads(self.report.to_json())
        fields |= {
            "complete": self.is_complete,
            "command": self.command,
            "exit_code": self.exit_code,
            "command_seconds": round(self.seconds, 3),
            "cut_off": self.is_cut_off,
            "recovery": None
            if self.recovery is None
            else {
                "complete": self.recovery.complete,
                "seconds": round(self.recovery.seconds, 3),
                **dataclasses.asdict(self.recovery.counters),
            },
        }
        return json.dumps(fields)


def write(path: Path, outcome: Outcome) -> None:
    """Write the receipt, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w") as file:
            file.write(outcome.to_json() + "\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
