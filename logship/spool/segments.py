"""Reading a segment: which chunks are in it, and what of it is damaged. PURE.

The bytes are untrusted. Every length is checked, nothing here raises for what the bytes are, and
whatever cannot be used is named as damage, never passed over.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from logship.errors import ProtocolError
from logship.protocol.entries import entry_of
from logship.protocol.unpacking import BoundedUnpacker
from logship.spool import format as layout
from logship.spool.chunks import (
    Contents,
    FoundChunk,
    Payload,
    Readable,
    number_of,
    read_chunk_header,
    read_payload,
)

_STEP_BYTES = 64 * 1024
_UNCOMMITTED_BYTES_MAX = 16 * 1024 * 1024
"""The longest entry that is decoded to find out whether a commit word is damaged."""


@dataclass
class SegmentContents(Contents):
    """What is in a segment.

    Attributes:
        chunks: The chunks whose headers are whole, acked ones too, by offset.
    """

    chunks: list[FoundChunk] = field(default_factory=list)


class _SegmentHeader(NamedTuple):
    size: int
    generation: int
    begun: int


def read_segment(data: Readable, owner: bytes) -> SegmentContents:
    """Return what is in a segment.

    Args:
        data: The bytes of the file.
        owner: The sixteen bytes of its process directory.
    """
    contents = SegmentContents()
    found = list(_headers(data, owner))
    if not found and not any(data[: layout.SEGMENT_HEADER_BYTES]):
        return contents  # its process was killed while it made the file
    header = _read_segment_header(data, owner, contents)
    if contents.refused is not None:
        return contents
    generation = _generation_in_use(header, found, contents)
    if generation is not None:
        _walk(data, [each for each in found if each.generation == generation], contents)
    if header is not None and header.size != len(data):
        text = f"the file has {len(data)} bytes, not {header.size}"
        contents.blame(min(len(data), header.size), len(data), text)
    return contents


def _read_segment_header(
    data: Readable, owner: bytes, contents: SegmentContents
) -> _SegmentHeader | None:
    """Return the header; None where it is damaged, or of another format (`refused`)."""
    if len(data) < layout.SEGMENT_HEADER_BYTES:
        contents.blame(0, len(data), "it is shorter than a segment's header")
        return None
    raw = data[: layout.SEGMENT_HEADER_BYTES]
    fields = layout.SEGMENT.unpack(raw)
    magic, version, order, size, generation, begun, found_owner, checksum, _ = fields
    if magic == layout.SEGMENT_MAGIC and (version, order) != (layout.VERSION, layout.BYTE_ORDER):
        contents.refused = layout.foreign_format(version, order)
        return None
    is_ours = magic == layout.SEGMENT_MAGIC and found_owner == owner
    if not is_ours or checksum != layout.segment_checksum(raw):
        contents.blame(0, layout.SEGMENT_HEADER_BYTES, "the segment's header is damaged")
        return None
    return _SegmentHeader(size, generation, begun)


def _headers(data: Readable, owner: bytes) -> Iterator[FoundChunk]:
    """Yield every chunk header with a right checksum, of any generation, by offset."""
    offset = data.find(layout.CHUNK_MAGIC)
    while offset >= 0:
        if offset % layout.ALIGNMENT == 0:
            found = read_chunk_header(data, offset, owner)
            if found is not None:
                yield found
        offset = data.find(layout.CHUNK_MAGIC, offset + 1)


def _generation_in_use(
    header: _SegmentHeader | None, found: list[FoundChunk], contents: SegmentContents
) -> int | None:
    """Return the generation whose chunks count, or None where the segment is free.

    In a free segment every old chunk is acked. One that is not shows that a word was damaged.
    """
    if header is not None and header.begun == header.generation:
        return header.generation or None
    waiting = [each.generation for each in found if each.state != layout.ACKED and each.entries]
    if not waiting:
        return None
    if header is not None:
        contents.blame(
            layout.GENERATION_AT,
            layout.BEGUN_AT + 8,
            "the generation is damaged: chunks are unacked",
        )
    return max(waiting)


def _walk(data: Readable, found: list[FoundChunk], contents: SegmentContents) -> None:
    """Take the chunks of one generation along their links, and skip what is damaged."""
    expected, previous = layout.SEGMENT_HEADER_BYTES, None
    for chunk in found:
        if chunk.offset != expected:
            if previous is not None and _is_inside(data, previous, chunk):
                continue  # a log record that holds the bytes of a header
            if not chunk.entries:
                continue  # written and never linked: nothing was put into it
            _blame_link(previous, expected, chunk.offset, contents)
        contents.chunks.append(chunk)
        _check_empty(data, chunk, contents)
        expected, previous = chunk.extent, chunk
    if expected:
        _blame_link(previous, expected, len(data), contents)


def _blame_link(
    previous: FoundChunk | None, expected: int, stop: int, contents: SegmentContents
) -> None:
    """Blame what hides the chunk behind `previous`: its header, or the link to that.

    Args:
        previous: The chunk before, or None for the segment's header.
        expected: Where the link leads; 0 nowhere.
        stop: Where the next header is that was found, or the end of the file.
        contents: Told.
    """
    at, begin = (0, 0) if previous is None else (previous.offset, previous.payload_at)
    if begin <= expected < stop and expected and expected % layout.ALIGNMENT == 0:
        contents.blame(expected, stop, "a chunk's header is damaged")
    else:
        at += layout.EXTENT_AT
        contents.blame(at, at + 8, "the link to the next chunk is damaged")


def _check_empty(data: Readable, chunk: FoundChunk, contents: SegmentContents) -> None:
    """Blame a chunk whose commit word says that it is empty, where it is not.

    One whole entry may lie there: its process was killed before it could commit it. But a commit
    word of no entries has no bytes either, since both are stored at once.
    """
    end = chunk.extent if chunk.payload_at <= chunk.extent <= len(data) else len(data)
    if not chunk.entries and chunk.size:
        contents.blame(chunk.offset, end, "a chunk's commit word is damaged")
        return
    if chunk.entries or chunk.identity.stamp_key is None:
        return
    key = chunk.identity.stamp_key.decode("utf-8", "replace")
    stamps = (record.get(key) for record in _uncommitted(data, chunk.payload_at, end))
    for count, stamp in enumerate(stamps):
        if number_of(stamp, chunk.identity.stream) != chunk.identity.first + count:
            return
        if count:
            contents.blame(chunk.offset, end, "a chunk's commit word is damaged")
            return


def _uncommitted(data: Readable, first: int, last: int) -> Iterator[dict[Any, Any]]:
    """Yield the records that can be decoded from `first` on, but for an enormous one."""
    bytes_max = min(last - first, _UNCOMMITTED_BYTES_MAX)
    unpacker = BoundedUnpacker(bytes_max, unicode_errors="backslashreplace")
    with contextlib.suppress(ProtocolError):
        for at in range(first, last, _STEP_BYTES):
            for value in unpacker.feed(data[at : min(at + _STEP_BYTES, last)]):
                yield entry_of(value)[1]


def _is_inside(data: Readable, whole: FoundChunk, chunk: FoundChunk) -> bool:
    """Tell whether `chunk` lies in the payload of `whole`, and that payload is right."""
    if not whole.payload_at <= chunk.offset < whole.payload_end:
        return False
    payload = data[whole.payload_at : whole.payload_end]
    return isinstance(read_payload(whole, payload), Payload)
