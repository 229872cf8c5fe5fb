"""How processes end, as numbers for a shell and as words for the user."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from logship._signal_names import signal_name, signals_named

NOT_FOUND = 127
NOT_EXECUTABLE = 126
"""A shell's exit codes for a command that it cannot start."""

_VIOLENT = signals_named(
    *("SIGKILL", "SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT", "SIGSYS", "SIGTRAP"),
    *("SIGXCPU", "SIGXFSZ"),
)
"""Signals by which no program ends when it is told to stop."""

_CGROUP = Path("/sys/fs/cgroup")
_OOM_FILES = ("memory.events", "memory/memory.oom_control")


@dataclass(frozen=True, slots=True)
class Death:
    """The end of one process.

    Attributes:
        name: The first fifteen characters of its program's name.
        code: Its exit code, or minus the signal that killed it; None if only its parent knows.
    """

    pid: int
    name: str
    code: int | None

    @property
    def is_violent(self) -> bool:
        """Whether a signal killed it that leaves no time to log."""
        return self.code is not None and -self.code in _VIOLENT

    @property
    def exit_code(self) -> int:
        """The code as a shell gives it: 128 and the signal for a process that was killed."""
        code = self.code or 0
        return code if code >= 0 else 128 - code

    @property
    def text(self) -> str:
        """The process and how it ended, as the beginning of a sentence."""
        how = f"has ended with code {self.code}"
        if self.code is None:
            how = "has ended; only its parent knows how"
        elif self.code < 0:
            how = f"was killed by {signal_name(-self.code)}"
        return f"{self.name} (process {self.pid}) {how}"


class OomWatch:
    """Tells whether the kernel has killed for memory in this container since the last call."""

    def __init__(self, cgroup: Path = _CGROUP) -> None:
        self._cgroup = cgroup
        self._seen = self._kills()

    def has_killed(self) -> bool:
        """Whether the count in the cgroup (v2, v1) has grown."""
        before, self._seen = self._seen, self._kills()
        return self._seen > before

    def _kills(self) -> int:
        for name in _OOM_FILES:
            with contextlib.suppress(OSError, ValueError):
                for line in (self._cgroup / name).read_text().splitlines():
                    key, _, count = line.partition(" ")
                    if key == "oom_kill":
                        return int(count)
        return 0
