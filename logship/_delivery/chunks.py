"""A chunk as delivery sees it, and where chunks come from. PURE."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar


class Handle(Protocol):
    """A chunk without its bytes, which delivery never sees."""

    @property
    def id(self) -> str:
        """The id that the ack will carry."""

    @property
    def size(self) -> int:
        """Bytes of its entries."""


HandleT = TypeVar("HandleT", bound=Handle)
SourceT_co = TypeVar("SourceT_co", bound=Handle, covariant=True)


class Source(Protocol[SourceT_co]):
    """Where chunks come from: the buffer."""

    def take(self) -> SourceT_co | None:
        """Hand over the next sealed chunk, or None."""

    def has_sealed(self) -> bool:
        """Return whether there is one."""

    def split(self, chunk: Any) -> tuple[SourceT_co, SourceT_co] | None:
        """Replace a chunk by two halves with ids of their own; None if it is a single entry."""


class Flight(Generic[HandleT]):
    """A chunk in the window.

    Attributes:
        chunk: The chunk.
        sent_at_seconds: When it was first sent on this connection.
        overtaken_at_seconds: When a chunk that was sent later was acked first, or None. A chunk
            that was passed over already, or half of one, is overtaken by any other ack.
    """

    def __init__(self, chunk: HandleT, sent_at_seconds: float) -> None:
        self.chunk = chunk
        self.sent_at_seconds = sent_at_seconds
        self.overtaken_at_seconds: float | None = None
