"""Reading the file `streams`: one slot for each stream, with the highest number given out. PURE.

The bytes are untrusted. Every length is checked, nothing here raises for what the bytes are, and
whatever cannot be used is named as damage, never passed over.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import NamedTuple

from logship._spool import format as layout
from logship._spool.chunks import Contents


class FoundStream(NamedTuple):
    """A stream's slot.

    Attributes:
        slot: Index of the slot.
        stream: The twelve characters.
        tag: The route.
        next_number: All numbers below were given out.
        end: The number of the acked end record, or 0.
        opened: The first number of the newest chunk, until that is settled; then 0.
        is_provisional: Whether another tag, not known at the time, was to replace `tag`.
    """

    slot: int
    stream: str
    tag: bytes
    next_number: int
    end: int
    opened: int
    is_provisional: bool


@dataclass
class StreamsContents(Contents):
    """What is in the file `streams`.

    Attributes:
        stamp_key: The field of the stamp, or None.
        streams: The streams with a whole slot.
        is_begun: Whether there is a header. Without one the process was killed before it made its
            first segment.
        has_header: Whether the header is whole; otherwise the stamp key is not known.
    """

    stamp_key: bytes | None = None
    streams: list[FoundStream] = field(default_factory=list)
    is_begun: bool = True
    has_header: bool = False


def read_streams(data: bytes, owner: bytes) -> StreamsContents:
    """Return what is in the file `streams`.

    Args:
        data: The bytes of the file.
        owner: The sixteen bytes of its process directory.
    """
    contents = StreamsContents()
    if not any(data[: layout.SLOT_BYTES]):
        contents.is_begun = False
        return contents
    if len(data) < layout.SLOT_BYTES:
        contents.blame(0, len(data), "the header of the streams is cut short")
        return contents
    _read_header(data[: layout.SLOT_BYTES], owner, contents)
    if contents.refused is None:
        _read_slots(data, owner, contents)
    return contents


def _read_header(header: bytes, owner: bytes, contents: StreamsContents) -> None:
    magic, version, order, found_owner, born_ns, checksum, key_bytes, _ = (
        layout.STREAMS.unpack_from(header)
    )
    if magic == layout.STREAMS_MAGIC and (version, order) != (layout.VERSION, layout.BYTE_ORDER):
        contents.refused = layout.foreign_format(version, order)
        return
    fields = (magic, version, order, found_owner, born_ns, 0, key_bytes, 0)
    right = zlib.crc32(layout.STREAMS.pack(*fields) + header[64:])
    if magic != layout.STREAMS_MAGIC or checksum != right:
        contents.blame(0, 64, "the header of the streams is damaged")
        return
    if found_owner != owner:
        contents.misplace(found_owner)
        return
    contents.has_header = True
    contents.stamp_key = None if key_bytes == layout.NO_STAMPS else header[64 : 64 + key_bytes]


def _read_slots(data: bytes, owner: bytes, contents: StreamsContents) -> None:
    for slot in range(layout.SLOTS):
        at = layout.slot_at(slot)
        raw = data[at : at + layout.SLOT_BYTES]
        if len(raw) < layout.SLOT_BYTES:
            contents.blame(at, len(data), "the streams are cut short")
            return
        next_number, end, opened, stream, checksum, tag_word, _ = layout.SLOT.unpack_from(raw)
        tag_bytes = tag_word & ~layout.PROVISIONAL
        if checksum == 0:
            continue  # free, or being written for a stream that has no entry yet
        tag = raw[layout.SLOT.size : layout.SLOT.size + tag_bytes]
        if tag_bytes > layout.TAG_BYTES_MAX or checksum != layout.slot_checksum(
            stream, tag_word, tag, owner
        ):
            contents.blame(at, at + layout.SLOT_BYTES, "a stream's slot is damaged")
            continue
        name = stream.decode("ascii", "replace")
        is_provisional = tag_word != tag_bytes
        found = FoundStream(slot, name, tag, next_number, end, opened, is_provisional)
        contents.streams.append(found)
