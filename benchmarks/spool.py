"""What happens to a spool when its application is gone: `logship recover`, and a look at the rest.

Recovery runs as a process of its own, as a second container would, and is judged from outside: by
its exit code, by what is left in the directory, and by the ledger, never by its own counters.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import command_line, run_to_end

RECOVERY_SECONDS_MAX = 120


@dataclass(frozen=True)
class Recovery:
    """What `logship recover` did."""

    exit_code: int
    left: tuple[str, ...]
    """What is left in the spool's directory."""
    report: dict[str, Any]
    """Its own account, for a person who wants to know more."""

    @property
    def complete(self) -> bool:
        """Whether it says that all is delivered, and nothing is left."""
        return self.exit_code == 0 and not self.left


def recover(spool: Path, environ: dict[str, str], stderr: Path) -> Recovery:
    """Run `python -m logship recover` on a spool whose application is dead.

    Args:
        spool: The directory.
        environ: Says where the sidecar is.
        stderr: Takes what the recoverer says on its own.

    Raises:
        BenchmarkError: It does not come to an end.
    """
    command = command_line("logship", "recover", "--spool", spool)
    with stderr.open("ab") as said:
        ended = run_to_end(command, RECOVERY_SECONDS_MAX, env=environ, stderr=said)
    left = tuple(sorted(path.name for path in spool.iterdir()))
    return Recovery(ended.returncode, left, _last_document(ended.stdout))


def _last_document(printed: str) -> dict[str, Any]:
    lines = printed.splitlines()
    document = json.loads(lines[-1]) if lines else {}
    return document if isinstance(document, dict) else {}
