"""The clients of this process, which the exit hook and the fork hooks must reach.

A client is kept alive until it is closed: it may hold records though the program has dropped its
last reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from weakref import WeakKeyDictionary


class Registered:
    """A client, which continues in a forked child, or what belongs to all clients.

    Attributes:
        ends_last: Whether the end of the others is waited for before its own, which may be that of
            the process.
        has_own_thread: Whether that thread begins its end, while other clients end in the exit
            hook's.
    """

    ends_last = False
    has_own_thread = False

    @property
    def used(self) -> bool:
        """Whether this process has logged anything, without starting anything to find out."""
        return False

    @property
    def is_busy_here(self) -> bool:
        """Whether this call has interrupted, in its own thread, what the end needs."""
        return False

    def exit_begins(self, *, is_child: bool = False) -> None:
        """The process ends: begin what does not wait, before the first client is drained.

        Args:
            is_child: As of `end_at_exit`.
        """

    def exit_is_interrupted(self) -> None:
        """Ctrl-C, or an exception of a signal handler, ended the hook: wait for nothing more."""

    def end_at_exit(self, *, is_child: bool = False) -> None:
        """The process ends: deliver, spill or name all remaining records. Must not raise.

        It is called twice; the second call does what is left where an exception ended the first.

        Args:
            is_child: Whether it is a child that skips `atexit`.
        """

    def end_at_signal(self, deadline_seconds: float, reason: str) -> None:
        """A signal ends the process, whose threads go no further: deliver, spill or name the rest.

        A thread of its own calls it. The process must be over at the deadline (monotonic).
        """

    def after_fork_in_child(self) -> None:
        """Begin again, with the child's own buffer, streams and thread."""

    def begin_child(self) -> None:
        """Begin in a forked child, right before the signals that were held back take effect."""


_clients: WeakKeyDictionary[Registered, None] = WeakKeyDictionary()  # in their order
_open: set[Registered] = set()


def _no_clock() -> None:
    """Return what a process without `install` has."""


stop_deadline_seconds: Callable[[], float | None] = _no_clock
"""Returns when this process must be over (monotonic) if its stop clock runs; `install` sets it."""


def _goes_on() -> bool:
    """Return what a process without `install` has."""
    return False


must_end: Callable[[], bool] = _goes_on
"""Returns whether a signal is ending this process; `install` sets it. A client that is made from
then on is ended by nothing, so it takes no records."""

exit_began_seconds = math.inf
"""When the exit hook began (monotonic). All clients wait from then on for a sidecar that acks
nothing, so that the exit does not wait for it once for each."""

exit_is_over = False
"""Whether the exit hook has run. A client that begins later refuses all records, also in a forked
child: nothing would deliver them at its end."""


def add(client: Registered) -> None:
    """Note a client that the exit hook and the fork hooks must reach."""
    _open.add(client)
    _clients[client] = None


def note_closed(client: Registered) -> None:
    """Let a client go with its last reference: it holds no records any more."""
    _open.discard(client)


def discard(client: Registered) -> None:
    """Forget a client, or what belongs to all."""
    note_closed(client)
    _clients.pop(client, None)


def clients() -> list[Registered]:
    """Return the clients that the hooks must reach, those that end last first."""

    def turn(client: Registered) -> tuple[bool, bool]:
        return client.ends_last, client.has_own_thread

    while True:
        try:
            return sorted(_clients, key=turn, reverse=True)
        except RuntimeError:  # another thread has made a client meanwhile
            continue
