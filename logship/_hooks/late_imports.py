"""Late imports, protected so that no fork comes in the middle of one.

Modules that few programs need early are not imported at the start. But if one thread forks while
another thread imports a module, the module stays locked in the child forever. An import of it in
the child, also by the application, then waits for a thread that does not exist. So a late import
outside of the thread that makes a client holds a lock that the fork hooks take as well.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

_FORK_WAITS_SECONDS_MAX = 1.0
"""Far longer than an import takes. A fork waits no longer for an import that hangs."""

_lock = threading.RLock()  # a signal handler may fork in the middle of an import, or of a fork


def late(name: str) -> ModuleType:
    """Import the module `name`, with no fork of this process in between."""
    with without_fork():
        return import_module(name)


@contextlib.contextmanager
def without_fork() -> Iterator[None]:
    """Keep other threads from forking this process meanwhile; for a short time only."""
    with _lock:
        yield


def before_fork() -> None:
    """Wait until no late import is running, and prevent others."""
    _lock.acquire(timeout=_FORK_WAITS_SECONDS_MAX)


def after_fork_in_parent() -> None:
    """Allow late imports again."""
    with contextlib.suppress(RuntimeError):  # another thread holds it: this one waited in vain
        _lock.release()


def after_fork_in_child() -> None:
    """Begin with a free lock, even if a thread of the parent held it."""
    global _lock  # noqa: PLW0603 - its holder will never release it
    _lock = threading.RLock()
