"""How tests see, or disturb, what writes entries straight into memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from logship.protocol.layouts import MakeLayout, Put, layout_of


def layout_by_assignment(*sizes: int) -> tuple[Put, int]:
    """Return a layout that writes as others do: by one assignment, which memory can watch."""
    pack_into, size = layout_of(*sizes)

    def write(memory: Any, begin: int, *parts: Any) -> None:
        entry = bytearray(size)
        pack_into(entry, 0, *parts)
        memory[begin : begin + size] = bytes(entry)

    return write, size


def layouts_then(act: Callable[[], object]) -> MakeLayout:
    """Return what makes layouts; after an entry is written, and not committed yet, `act` is called.

    As after any call somebody else may come: a signal handler, a collection, another thread. Not
    for threads that run freely: they could come in before it is written, too, as they never can
    where that is a call into C.
    """

    def made(*sizes: int) -> tuple[Put, int]:
        pack_into, size = layout_of(*sizes)

        def write(*arguments: Any) -> None:
            pack_into(*arguments)
            act()

        return write, size

    return made
