"""The threads that are logship's own, in which nobody may be made to wait.

The garbage collector runs an application's `__del__` in whatever thread is at hand, ours too, and
that may log into a full buffer. If it waited for space there, the thread that frees space, or the
one that keeps the stop clock, would be waiting for itself.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable


class OwnThread(threading.Thread):
    """A daemon thread of logship's.

    Args:
        run: What it does.
        name: What a thread dump calls it, after `logship-`.
    """

    def __init__(self, run: Callable[[], object], name: str) -> None:
        super().__init__(target=run, name=f"logship-{name}", daemon=True)

    def start(self) -> None:
        """Start it in an empty context.

        Since 3.14 a thread may inherit its starter's, and would keep a request's objects alive.
        """
        contextvars.Context().run(super().start)


def is_own() -> bool:
    """Tell whether this thread is logship's own."""
    return isinstance(threading.current_thread(), OwnThread)
