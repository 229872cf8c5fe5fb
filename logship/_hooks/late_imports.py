"""Late imports, protected so that no fork comes in the middle of one.

Modules that few programs need early are not imported at the start. But a module that one thread
imports while another one forks stays locked in the child, and an import of it there never ends. So
a late import outside of the thread that makes a client holds a lock that the fork hooks take too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import TypeVar

from logship._hooks.locking import SectionLock

T = TypeVar("T")

# A signal handler may fork in the middle of each, or of a fork.
_lock, _install_lock = SectionLock(), SectionLock()
TAKEN_BY_FORKS = (_lock, _install_lock)
"""A fork takes the last one first, as `install` does, which imports late."""


def late(name: str) -> ModuleType:
    """Import the module `name`, with no fork of this process in between."""
    return without_fork(lambda: import_module(name))


def without_fork(work: Callable[[], T]) -> T:
    """Do something short, and keep other threads from forking this process meanwhile."""
    return _hold(_lock, work)


def installing(work: Callable[[], T]) -> T:
    """Do what `install()` does, as `without_fork` would, under a lock of its own.

    A module that is imported late may wait for the lock of `logging`, to make a logger.
    """
    return _hold(_install_lock, work)


def _hold(lock: SectionLock, work: Callable[[], T]) -> T:
    """Do something with no fork of this process in between.

    A thread that holds the lock of `logging`, as in `dictConfig`, must not wait for a lock of ours:
    a fork takes ours first. It need not wait either, because each fork waits for that of `logging`.
    """
    of_logging = getattr(sys.modules.get("logging"), "_lock", None)
    if of_logging is not None and of_logging._is_owned():
        return work()
    return lock.hold(work)
