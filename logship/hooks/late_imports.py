"""Imports that are put off until they are needed, so that no fork comes in the middle of one.

What few programs need early is not imported when they start. But a module that one thread is
importing while another forks stays locked in the child for good. An import of it there, by the
application too, waits for a thread that did not survive. So a late import outside of the thread
that makes a client holds a lock which the fork hooks take as well.
"""

from __future__ import annotations

import threading
from importlib import import_module
from types import ModuleType

_FORK_WAITS_SECONDS_MAX = 1.0
"""Far longer than an import takes; a fork waits no longer for one that is stuck."""

_lock = threading.RLock()  # a signal handler that forks in the middle goes on in this thread
_held_by_fork = False


def late(name: str) -> ModuleType:
    """Import the module `name`, with no fork of this process in between."""
    with _lock:
        return import_module(name)


def before_fork() -> None:
    """Wait until nothing is being imported, and keep it so."""
    global _held_by_fork  # noqa: PLW0603 - it belongs to the lock
    if _lock.acquire(timeout=_FORK_WAITS_SECONDS_MAX):
        _held_by_fork = True


def after_fork_in_parent() -> None:
    """Let imports go on."""
    global _held_by_fork  # noqa: PLW0603 - it belongs to the lock
    if _held_by_fork:
        _held_by_fork = False
        _lock.release()


def after_fork_in_child() -> None:
    """Begin with a free lock, whichever thread held it in the parent."""
    global _lock, _held_by_fork
    _lock, _held_by_fork = threading.RLock(), False
