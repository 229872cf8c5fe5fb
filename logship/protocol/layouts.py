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
"""So many layouts are kept for texts and what is around them; each takes some 600 bytes. Other
entries are joined, and need only one for each size."""

DATA_BYTES_MAX = 4096
"""Of longer entries none is kept: to copy them is what they cost, and their sizes hardly repeat."""

Put = Callable[..., None]
"""Puts an entry into memory: that, the place in it, the beginning of a second (see `FIRST_SECOND`),
the nanoseconds in it, and the parts, each as long as the layout has it."""

Layout = tuple[Put | None, int]
"""What puts entries of some sizes there, and how many bytes they have; or None and 0."""

MakeLayout = Callable[..., tuple[Put, int]]
"""What `layout_of` is."""

OfText = tuple[bytes, Put | None, int]
"""What stands before a text of some size, with its header, and the layout."""

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


TEXT_HEADERS = tuple(map(text_header, range(512)))
"""That of most texts, by their size."""


class Around(NamedTuple):
    """What entries have around the texts in which they differ.

    Attributes:
        map_header: Behind the time.
        before: Between that and the first text's header.
        between: Between the texts, if there are two.
        behind: Between the last one and the stamp.
        of_text: By its size, how an entry of one text is put together.
    """

    map_header: bytes
    before: bytes
    between: bytes
    behind: bytes
    of_text: dict[int, OfText]


class Layouts:
    """Makes layouts, and has those kept that are worth it.

    May be used by several threads at once.

    Args:
        stamp_sizes: How many bytes follow the parts that are said below, in pieces.
        make: Makes one.

    Attributes:
        of_rest: By the size of what is behind a map's header of one byte and before the stamp:
            layouts of that header, the rest, and nothing.
    """

    def __init__(self, stamp_sizes: tuple[int, ...] = (), make: MakeLayout = layout_of) -> None:
        self._stamp_sizes = stamp_sizes
        self._make = make
        self._of_texts_kept = 0
        self.of_rest: dict[int, Layout] = {}

    def keep_of_rest(self, size: int) -> Layout:
        """Return what belongs into `of_rest`, and have it there for the next."""
        if size > DATA_BYTES_MAX:
            return _NO_LAYOUT
        layout = self.of_rest[size] = self._make(1, size, 0, *self._stamp_sizes)
        return layout

    def of_text(self, around: Around, data: bytes) -> tuple[bytes, bytes, bytes, Put | None, int]:
        """Return how an entry is put together whose text is not to be found in `around`.

        It is there for the next one, unless there are too many already.

        Returns:
            What stands before the text, the text, and what stands behind it, or the same parted in
            another way; and the layout.
        """
        size = len(data)
        layout: Layout
        lead, behind = around.map_header + around.before + text_header(size), around.behind
        entry_bytes = len(lead) + size + len(behind)
        if entry_bytes <= DATA_BYTES_MAX and self._of_texts_kept < KEPT_MAX:
            self._of_texts_kept += 1
            layout = self._make(len(lead), size, len(behind), *self._stamp_sizes)
            around.of_text[size] = lead, *layout
            return lead, data, behind, *layout
        rest = b"".join((lead[1:], data, behind))
        layout = self.of_rest.get(len(rest)) or self.keep_of_rest(len(rest))
        return around.map_header, rest, b"", *layout

    def forget(self) -> None:
        """Make room for others: nobody asks any more for those that were kept for texts."""
        self._of_texts_kept = 0
