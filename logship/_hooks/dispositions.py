"""What happens when a signal comes: the kernel's word, beside Python's.

Python notes a handler only if `signal.signal` sets it. `faulthandler.register` and embedding
programs set theirs with the system's own call, so `signal.getsignal` still says that the signal has
its default disposition. The kernel shows which signals a process handles or ignores.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

SignalHandler = Callable[[int, FrameType | None], Any]
Disposition = SignalHandler | int | None

set_handler = signal.signal
get_handler = signal.getsignal
set_wakeup_descriptor = signal.set_wakeup_fd
"""Python's own functions: while logship is installed, the module `signal` has others."""


def disposition_of(signum: int) -> Disposition:
    """Return what `signal.getsignal` should; None for a handler that is not Python's."""
    found = get_handler(signum)
    return None if found is signal.SIG_DFL and not has_default(signum) else found


def has_default(signum: int, process: int | str = "self") -> bool:
    """Return whether a signal has its default disposition in a process.

    A process that cannot be read counts as one without handlers.
    """
    path = f"/proc/{process}/status"
    with contextlib.suppress(OSError), open(path, "rb") as status:  # noqa: PTH123 - a slow import
        masks = [line.split()[1] for line in status if line.startswith((b"SigIgn:", b"SigCgt:"))]
        return not any(int(mask, 16) >> (signum - 1) & 1 for mask in masks)
    return True
