"""Signals by name and by number, and those that never ask a program to stop.

The real-time signals have no names of their own in Python: they are `SIGRTMIN+3` and the like here,
as in a Dockerfile's `STOPSIGNAL`.
"""

from __future__ import annotations

import re
import signal


def signals_named(*names: str) -> frozenset[signal.Signals]:
    """Return the signals with these names that this system has."""
    return frozenset(getattr(signal, each) for each in names if hasattr(signal, each))


NEVER_SENT_ON = signals_named(
    # Cannot be handled.
    *("SIGKILL", "SIGSTOP"),
    # About the children, pipes and terminal of a process itself.
    *("SIGCHLD", "SIGPIPE", "SIGTTIN", "SIGTTOU"),
    # Faults of a process itself.
    *("SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT", "SIGSYS", "SIGTRAP"),
)
"""Signals that `logship run` keeps to itself."""

NEVER_STOPS = NEVER_SENT_ON | signals_named("SIGTSTP", "SIGCONT")
"""Signals that cannot ask a process to end; the last two suspend and resume it."""

# Texts, because most programs never need them compiled.
_NUMBER = r"[0-9]{1,3}"
_FROM_REAL_TIME = r"SIGRT(MIN|MAX)(?:([+-])([0-9]{1,2}))?"


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
    if re.fullmatch(_NUMBER, name):
        number = int(name)
    else:
        name = name if name.startswith("SIG") else f"SIG{name}"
        number = int(signal.Signals.__members__.get(name, 0)) or _real_time_number(name)
    return number if number in signal.valid_signals() else None


def _real_time_number(name: str) -> int:
    found = re.fullmatch(_FROM_REAL_TIME, name)
    base = None if found is None else getattr(signal, f"SIGRT{found[1]}", None)
    if found is None or base is None:
        return 0
    return int(base) + int(f"{found[2] or '+'}{found[3] or 0}")
