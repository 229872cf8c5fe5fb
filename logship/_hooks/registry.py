"""The clients of this process, which the exit hook and the fork hooks must reach.

The hooks and the clients both import this module, so neither imports the other. A client is kept
alive until it is closed: it may hold records though the program has dropped its last reference.
"""

from __future__ import annotations

from typing import Protocol
from weakref import WeakSet


class Registered(Protocol):
    """A client, which continues in a forked child, or what belongs to all clients."""

    def end_at_exit(self) -> None:
        """The interpreter exits: deliver, spill or name all remaining records. Must not raise."""

    def after_fork_in_child(self) -> None:
        """Begin again, with the child's own buffer, streams and thread."""


_clients: WeakSet[Registered] = WeakSet()
_open: set[Registered] = set()


def add(client: Registered) -> None:
    """Note a client that the exit hook and the fork hooks must reach."""
    _open.add(client)
    _clients.add(client)


def note_closed(client: Registered) -> None:
    """Let a client go with its last reference: it holds no records any more."""
    _open.discard(client)


def discard(client: Registered) -> None:
    """Forget a client: its owner is registered in its place."""
    note_closed(client)
    _clients.discard(client)


def clients() -> list[Registered]:
    """Return the clients that the hooks must reach."""
    while True:
        try:
            return list(_clients)
        except RuntimeError:  # another thread has made a client meanwhile
            continue
