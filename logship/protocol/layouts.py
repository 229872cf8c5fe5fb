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
from typing import Any, NamedTuple

KEPT_MAX = 4096
"""So many layouts are kept for texts and what is around them; each takes 600 to 800 bytes. Other
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

OfTexts = tuple[bytes, bytes, Put | None, int]
"""What stands before each of two texts of some sizes, with their headers, and the layout."""

PAIR_SHIFT = 32
"""Two sizes make one key so: no text is longer."""

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
        map_header: Behind the time.
        before: Between that and the first text's header.
        between: Between the texts, if there are two.
        behind: Between the last one and the stamp.
        of_text: By its size, how an entry of one text is put together.
        of_texts: By their sizes, how one of two is: the first one's above, the second one's below
            `PAIR_SHIFT`.
    """

    map_header: bytes
    before: bytes
    between: bytes
    behind: bytes
    of_text: dict[int, OfText]
    of_texts: dict[int, OfTexts]


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
        self._filled: list[dict[int, Any]] = []
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
        lead, behind = around.map_header + around.before + text_header(size), around.behind
        if len(lead) + size + len(behind) > DATA_BYTES_MAX:
            return lead, data, behind, *_NO_LAYOUT
        layout = self._kept(len(lead), size, len(behind))
        if layout is None:
            rest, layout_of_rest = self._rest(lead[1:], data, behind)
            return around.map_header, rest, b"", *layout_of_rest
        self._put_into(around.of_text, size, (lead, *layout))
        return lead, data, behind, *layout

    def of_texts(
        self, around: Around, data: bytes, more: bytes
    ) -> tuple[bytes, bytes, bytes, bytes | None, bytes, Put | None, int]:
        """Return the same for two texts.

        Returns:
            What stands before the first text, that, what stands between them, the second one, and
            what stands behind it; and the layout. Or the same as three parts, and None for the
            second text.
        """
        size, more_size, behind = len(data), len(more), around.behind
        lead = around.map_header + around.before + text_header(size)
        middle = around.between + text_header(more_size)
        sizes = len(lead), size, len(middle), more_size, len(behind)
        if sum(sizes) > DATA_BYTES_MAX:
            return lead, data, middle, more, behind, *_NO_LAYOUT
        layout = self._kept(*sizes)
        if layout is None:
            rest, layout_of_rest = self._rest(lead[1:], data, middle, more, behind)
            return around.map_header, rest, b"", None, b"", *layout_of_rest
        self._put_into(around.of_texts, size << PAIR_SHIFT | more_size, (lead, middle, *layout))
        return lead, data, middle, more, behind, *layout

    def _kept(self, *sizes: int) -> tuple[Put, int] | None:
        """Return a layout that is to be kept, or None where there are too many."""
        if self._of_texts_kept >= KEPT_MAX:
            return None
        self._of_texts_kept += 1
        return self._make(*sizes, *self._stamp_sizes)

    def _rest(self, *parts: bytes) -> tuple[bytes, Layout]:
        """Return parts behind a map's header as one, and the layout."""
        rest = b"".join(parts)
        return rest, self.of_rest.get(len(rest)) or self.keep_of_rest(len(rest))

    def _put_into(self, kept: dict[int, Any], key: int, found: tuple[Any, ...]) -> None:
        if not kept:
            self._filled.append(kept)
        kept[key] = found

    def forget(self) -> None:
        """Make room for others: keep none of those for texts."""
        filled, self._filled, self._of_texts_kept = self._filled, [], 0
        for kept in filled:
            kept.clear()
