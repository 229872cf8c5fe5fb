"""Signals by name and by number, and those that never ask a program to stop.

The real-time signals have no names of their own in Python: they are `SIGRTMIN+3` and the like here,
as in a Dockerfile's `STOPSIGNAL`.
"""

from __future__ import annotations

import re
import signal

NEVER_SENT_ON = frozenset(
    {
        # Cannot be handled.
        signal.SIGKILL,
        signal.SIGSTOP,
        # About the children, pipes and terminal of a process itself.
        signal.SIGCHLD,
        signal.SIGPIPE,
        signal.SIGTTIN,
        signal.SIGTTOU,
        # Faults of a process itself.
        signal.SIGSEGV,
        signal.SIGBUS,
        signal.SIGILL,
        signal.SIGFPE,
        signal.SIGABRT,
        signal.SIGSYS,
        signal.SIGTRAP,
    }
)
"""Signals that `logship run` keeps to itself."""

NEVER_STOPS = NEVER_SENT_ON | {signal.SIGTSTP, signal.SIGCONT}
"""Signals that cannot ask a process to end; the last two suspend and resume it."""

_NUMBER = re.compile(r"[0-9]{1,3}")
_FROM_REAL_TIME = re.compile(r"SIGRT(MIN|MAX)(?:([+-])([0-9]{1,2}))?")


def signal_name(signum: int) -> str:
    """Return the name of a signal, also of a real-time signal."""
    try:
        return signal.Signals(signum).name
    except ValueError:
        return f"SIGRTMIN+{signum - signal.SIGRTMIN}"


def signal_number(text: str) -> int | None:
    """Return the number of a signal that is written as `TERM`, `SIGTERM`, `15` or `RTMIN+3`.

    Returns:
        The number, or None if this system has no such signal.
    """
    name = text.strip().upper()
    if _NUMBER.fullmatch(name):
        number = int(name)
    else:
        name = name if name.startswith("SIG") else f"SIG{name}"
        number = int(signal.Signals.__members__.get(name, 0)) or _real_time_number(name)
    return number if number in signal.valid_signals() else None


def _real_time_number(name: str) -> int:
    found = _FROM_REAL_TIME.fullmatch(name)
    if found is None:
        return 0
    base = signal.SIGRTMIN if found[1] == "MIN" else signal.SIGRTMAX
    return base + int(f"{found[2] or '+'}{found[3] or 0}")
