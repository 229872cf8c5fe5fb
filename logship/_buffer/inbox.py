"""The inbox: entries that wait for their numbers, in the order in which they came.

It is a plain list. To append to it is one call in C: atomic between threads, with or without the
interpreter's lock, and safe in the middle of anything. Only the critical section removes from it,
by one call as well, and decides by identity whether that was done already.
"""

from __future__ import annotations

RUN_MAX = 1024
"""The most items that one run is made of."""

Tag = str | None
"""What producers name: a route, or None for the default tag while that is awaited."""

Item = tuple[Tag, bytes]
"""An entry without its stamp, and its tag. Each is a new tuple, known by its identity."""

Run = tuple[Item, list[bytes]]
"""Entries of one tag that wait one behind the other: the first item, and the entries of all."""

_WITHDRAWN: Item = (None, b"")
"""Takes the place of an item whose call was told that its record is refused."""


class Inbox:
    """Entries that wait for their numbers.

    Attributes:
        items: The entries with their tags. Any call may append; everything else here is for the
            critical section.
    """

    def __init__(self) -> None:
        self.items: list[Item] = []

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self.items)

    def first_run(self, count: int) -> Run:
        """Return the first item and the entries of its tag; those of other tags go behind them.

        Each tag's entries keep their order. Between tags there is none to keep.

        Args:
            count: How many items to look at, no more than there are. Of more than `RUN_MAX`, only
                the first are looked at.
        """
        first = self.items[0]
        if count == 1:
            return first, [first[1]]
        taken = self.items[: min(count, RUN_MAX)]
        tag = first[0]
        bodies = [body for each, body in taken if each == tag]
        if len(bodies) < len(taken):
            its_own = [item for item in taken if item[0] == tag]
            self.items[: len(taken)] = its_own + [item for item in taken if item[0] != tag]
        return first, bodies

    def remove(self, first: Item, count: int) -> None:
        """Remove `count` items from `first` on, unless that was done already."""
        items = self.items
        if items and items[0] is first:
            del items[:count]

    def withdraw(self, item: Item) -> bool:
        """Take this very item back; return whether it still waited."""
        for index, each in enumerate(self.items[:]):
            if each is item:
                self.items[index] = _WITHDRAWN
                return True
        return False

    def forget_withdrawn(self) -> int:
        """Remove what was withdrawn; return how many items there were besides.

        What is appended and withdrawn in the middle of this stays behind those, for the next call.
        """
        items = self.items[:]
        kept = [each for each in items if each is not _WITHDRAWN]
        self.items[: len(items)] = kept
        return len(kept)

    def bytes(self, stamp_bytes: int) -> int:
        """Return the size of all entries, with stamps of this many bytes."""
        return sum(len(body) + stamp_bytes for _, body in self.items[:])
