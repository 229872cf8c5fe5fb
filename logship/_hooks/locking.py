"""A lock that an exception cannot leave locked.

A signal handler may raise at nearly any point of the main thread. Since CPython 3.14 it may raise
between the entry of a `with` block and its first line, with the lock already taken, so that
nothing ever releases it. `SectionLock.attempt` takes the lock inside a `try` instead, and its
`finally` begins with the release.

A tracer may raise on the line of the release itself, and so may a signal handler that interrupts a
tracer there. Then a second `try` around it releases the lock. Two exceptions, one on each of these
lines, would still leave it locked.
"""

from __future__ import annotations

import contextlib
import operator
import os
import threading
from collections.abc import Callable
from typing import TypeVar, cast

T = TypeVar("T")
Argument = TypeVar("Argument")
Otherwise = TypeVar("Otherwise")

_FORK_WAITS_SECONDS_MAX = 1.0
"""Far longer than a lock is held for, unless what holds it hangs."""


class SectionLock:
    """Runs one call at a time, and refuses a call in the middle of another in the same thread.

    Attributes:
        is_owned: Returns whether this thread is inside, as a signal handler or a `__del__` may be.
    """

    def __init__(self) -> None:
        self.reset()

    def run(
        self, work: Callable[[], T], otherwise: Otherwise, patience_seconds: float = 0.0
    ) -> T | Otherwise:
        """Return what `work` returns while the lock is held.

        Args:
            work: Called at most once.
            otherwise: Returned if this thread is inside already, or another thread holds the lock
                for too long.
            patience_seconds: How long to wait for another thread; -1 waits without bound.
        """
        if self.is_owned():
            return otherwise
        try:
            return self.attempt(operator.call, work, otherwise, patience_seconds)
        except BaseException:
            self.recover()
            raise

    def attempt(
        self,
        work: Callable[[Argument], T],
        argument: Argument,
        otherwise: Otherwise,
        patience_seconds: float,
    ) -> T | Otherwise:
        """Be `run`, for a caller that is not inside and that calls `recover` after any exception.

        `run` is such a caller. These are two functions, because an exception on the line of the
        `try` below, which a tracer may raise, would pass by an outer `try` of the same function.
        """
        lock = self._lock  # `reset` may come in the middle, in a forked child
        try:
            is_free = lock.acquire(False)
            if is_free or (patience_seconds and lock.acquire(True, patience_seconds)):
                return work(argument)
            return otherwise
        finally:
            # The interpreter checks for signals only after a call, so this call is always made.
            try:
                lock.release()
            except RuntimeError as error:
                # Without a further frame the lock itself raised it, because it was not taken. No
                # global is used here, so that it works until the interpreter's last moment.
                if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                    raise

    def hold(self, work: Callable[[], T]) -> T:
        """Return what `work` returns while the lock is held, by this call or by one around it."""
        if self.is_owned():
            return work()
        return self.run(work, cast("T", None), -1.0)  # it waits, so it always calls `work`

    def be_taken_by_forks(self) -> None:
        """Have each fork of this process take it, so that none comes in the middle of work here."""
        os.register_at_fork(
            before=self.before_fork,
            after_in_parent=self.after_fork_in_parent,
            after_in_child=self.reset,
        )

    def before_fork(self) -> None:
        """Keep other threads out of it while this one forks; do not wait long for one inside."""
        self._lock.acquire(timeout=_FORK_WAITS_SECONDS_MAX)

    def after_fork_in_parent(self) -> None:
        """Let other threads in again. In the child call `reset`."""
        with contextlib.suppress(RuntimeError):  # another thread holds it: this one waited in vain
            self._lock.release()

    def recover(self) -> None:
        """Release the lock if it is still held: a tracer raised on the line of its release."""
        if self.is_owned():
            self._lock.release()

    def reset(self) -> None:
        """Begin with a free lock, because its holder will never release it.

        This is the case in a forked child, and at the interpreter's end, which freezes threads.
        """
        self._lock = threading.RLock()
        # `threading.Condition` asks an RLock in the same way.
        self.is_owned: Callable[[], bool] = self._lock._is_owned  # type: ignore[attr-defined]


class Bell:
    """Wakes one thread.

    It is a bare lock, which a signal handler may use in the middle of a wait. An exception of the
    handler may leave the lock of a `threading.Event` locked for ever.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def ring(self) -> None:
        """Wake the thread, or let its next wait return at once; from any thread."""
        with contextlib.suppress(RuntimeError):  # it rings already
            self._lock.release()

    def wait(self, seconds: float) -> None:
        """Wait until the bell rings, at most so long; -1 waits without a bound."""
        self._lock.acquire(timeout=seconds)
