"""Late imports, protected so that no fork comes in the middle of one.

Modules that few programs need early are not imported at the start. But if one thread forks while
another thread imports a module, the module stays locked in the child forever. An import of it in
the child, also by the application, then waits for a thread that does not exist. So a late import
outside of the thread that makes a client holds a lock that the fork hooks take as well.
"""

from __future__ import annotations

import contextlib
import threading
from contextlib import AbstractContextManager
from importlib import import_module
from types import ModuleType

_FORK_WAITS_SECONDS_MAX = 1.0
"""Far longer than an import takes. A fork waits no longer for an import that hangs."""

# A signal handler may fork in the middle of each, or of a fork.
_lock, _install_lock = threading.RLock(), threading.RLock()


def late(name: str) -> ModuleType:
    """Import the module `name`, with no fork of this process in between."""
    with without_fork():
        return import_module(name)


def without_fork() -> AbstractContextManager[object]:
    """Return what keeps other threads from forking this process; for a short time only."""
    return _lock


def installing() -> AbstractContextManager[object]:
    """Return what does the same for `install()`, a lock of its own.

    A program may call `install()` while it holds the lock of `logging`, as in `dictConfig`. A
    module that is imported late may wait for that lock, to make a logger.
    """
    return _install_lock


def before_fork() -> None:
    """Wait until no late import and no `install()` is running, and prevent others."""
    for lock in _install_lock, _lock:
        lock.acquire(timeout=_FORK_WAITS_SECONDS_MAX)


def after_fork_in_parent() -> None:
    """Allow them again."""
    for lock in _lock, _install_lock:
        with contextlib.suppress(RuntimeError):  # another thread holds it: this one waited in vain
            lock.release()


def after_fork_in_child() -> None:
    """Begin with free locks: threads of the parent that hold them will never release them."""
    global _lock, _install_lock
    _lock, _install_lock = threading.RLock(), threading.RLock()
