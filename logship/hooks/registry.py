"""The clients that live in this process: whom the exit hook and the fork hooks must reach.

A module of its own, below the clients and above nothing, so that neither has to know the other.
Weak, so that a client nobody holds can go.
"""

from __future__ import annotations

from typing import Any, Protocol
from weakref import WeakSet


class Living(Protocol):
    """Somebody with a buffer that must not be forgotten."""

    def end_at_exit(self) -> None:
        """The interpreter exits: deliver, spill or name what is left. Must not raise."""


class Forkable(Living, Protocol):
    """A client that goes on in a forked child."""

    def after_fork_in_child(self) -> None:
        """Begin anew: own buffer, own streams, own thread; the parent's records stay his."""


_clients: WeakSet[Living] = WeakSet()
_forkable: WeakSet[Any] = WeakSet()


def add(client: Living) -> None:
    """Note a client that the exit hook must reach."""
    _clients.add(client)


def add_forkable(client: Forkable) -> None:
    """Note a client that the exit hook and the fork hooks must reach."""
    _clients.add(client)
    _forkable.add(client)


def discard(client: Living) -> None:
    """Forget a client: somebody else looks after it."""
    _clients.discard(client)
    _forkable.discard(client)


def clients() -> list[Living]:
    """Return the clients that the exit hook must reach."""
    return list(_clients)


def forkable() -> list[Forkable]:
    """Return the clients that the fork hooks must reach."""
    return list(_forkable)
