"""Entries that are written into memory in one step, and never made elsewhere.

To join an entry's parts and then copy it to its place takes two copies and a block of memory for
each record. `struct` writes parts whose sizes it knows straight to where they belong, in half the
time. Sizes repeat: those of a program's texts lie close together, and all else hardly differs. So
what writes entries of certain sizes is made once and kept.

What is kept here is asked by who logs, so it is plain: dictionaries to look into, and tuples to
take apart.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

KEPT_MAX = 4096
"""So many layouts are kept at most; each takes some 600 bytes. Entries of yet other sizes go the
longer way."""

DATA_BYTES_MAX = 4096
"""Longer entries go the longer way: to copy them is what they cost, and their sizes hardly
repeat."""

Put = Callable[..., None]
"""Puts an entry into memory: that, the place in it, the beginning of a second (see `FIRST_SECOND`),
the nanoseconds in it, and the parts, each as long as the layout has it."""

Layout = tuple[Put | None, int]
"""What puts entries of some sizes there, and how many bytes they have; or None and 0."""

MakeLayout = Callable[..., tuple[Put, int]]
"""What `layout_of` is."""

OfOneText = tuple[bytes, Put | None, int]
"""What stands before a text of some size, with its header, and the layout."""

OfTwoTexts = tuple[bytes, bytes, Put | None, int]
"""What stands before each of two texts of some sizes, and the layout."""

_NO_LAYOUT: Layout = None, 0


def layout_of(*sizes: int) -> tuple[Put, int]:
    """Return the layout of entries whose parts behind the time have these sizes."""
    parts = "".join(f"{size}s" for size in sizes)
    entry = struct.Struct(f">7sI{parts}")
    return entry.pack_into, entry.size


def text_header(size: int) -> bytes:
    """Return what msgpack writes before a text of `size` bytes.

    Raises:
        OverflowError: It is longer than msgpack can say.
    """
    if size < 0x20:
        return bytes([0xA0 | size])
    if size <= 0xFF:
        return bytes([0xD9, size])
    if size <= 0xFFFF:
        return b"\xda" + size.to_bytes(2, "big")
    return b"\xdb" + size.to_bytes(4, "big")


class Around(NamedTuple):
    """What entries have around the texts in which they differ.

    Attributes:
        before: Between the time and the first text's header.
        between: Between the texts, if there are two.
        behind: Between the last one and the stamp.
        of_one_text: By its size, how such an entry is put together.
        of_two_texts: By the first one's size and the second one's.
    """

    before: bytes
    between: bytes
    behind: bytes
    of_one_text: dict[int, OfOneText]
    of_two_texts: dict[int, dict[int, OfTwoTexts]]


class Layouts:
    """Makes layouts, and has those kept that are worth it.

    May be used by several threads at once.

    Args:
        stamp_sizes: How many bytes follow the parts that are said below, in pieces.
        make: Makes one.

    Attributes:
        of_packed: By the size of what msgpack made of a record: layouts of entries of a map's
            header, of one byte, the rest, and nothing.
    """

    def __init__(self, stamp_sizes: tuple[int, ...] = (), make: MakeLayout = layout_of) -> None:
        self._stamp_sizes = stamp_sizes
        self._make = make
        self._kept = 0
        self.of_packed: dict[int, Layout] = {}

    def keep_of_packed(self, size: int) -> Layout:
        """Return what belongs into `of_packed`, and have it there for the next."""
        layout = self._layout(1, size - 1, 0)
        if layout is not _NO_LAYOUT:
            self.of_packed[size] = layout
        return layout

    def keep_of_one_text(self, around: Around, size: int) -> OfOneText:
        """Return how an entry is put together whose text has this size, for the next ones too."""
        lead = around.before + text_header(size)
        layout = self._layout(len(lead), size, len(around.behind))
        found = lead, *layout
        if layout is not _NO_LAYOUT:
            around.of_one_text[size] = found
        return found

    def keep_of_two_texts(self, around: Around, size: int, also_size: int) -> OfTwoTexts:
        """Return the same of one whose texts have these sizes."""
        lead, middle = around.before + text_header(size), around.between + text_header(also_size)
        layout = self._layout(len(lead), size, len(middle), also_size, len(around.behind))
        found = lead, middle, *layout
        if layout is not _NO_LAYOUT:
            around.of_two_texts.setdefault(size, {})[also_size] = found
        return found

    def forget(self) -> None:
        """Make room for others: nobody asks any more for those that were kept for texts."""
        self._kept = len(self.of_packed)

    def _layout(self, *sizes: int) -> Layout:
        if self._kept >= KEPT_MAX or sum(sizes) > DATA_BYTES_MAX:
            return _NO_LAYOUT
        self._kept += 1
        return self._make(*sizes, *self._stamp_sizes)
