"""Reading a segment: which chunks are in it, and what of it is damaged. PURE.

The bytes are untrusted. Every length is checked, nothing here raises for what the bytes are, and
whatever cannot be used is named as damage, never passed over.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from logship._protocol.entries import entry_of
from logship._protocol.unpacking import BoundedUnpacker
from logship._spool import format as layout
from logship._spool.chunks import (
    PAYLOAD_BYTES_MAX,
    Contents,
    FoundChunk,
    Payload,
    number_of,
    read_chunk_header,
    read_payload,
)
from logship.errors import ProtocolError

_PIECE_BYTES = 64 * 1024
"""How much of a chunk is decoded at a time, where no commit word says how much there is."""

_DAMAGES_MAX = 1000
_CLAIMS_MAX = 8
"""A damaged file is read no further after this many damages, or when the payloads that its chunks
claim are together this many times as long as the file. Then no file costs more than its length."""


class _SegmentHeader(NamedTuple):
    size: int
    generation: int
    begun: int


def find_chunks(data: bytes, owner: bytes, contents: Contents) -> Iterator[FoundChunk]:
    """Yield the chunks of a segment whose headers are whole, by offset, acked ones too.

    Args:
        data: The bytes of the file.
        owner: The sixteen bytes of its process directory.
        contents: Told what is damaged. Where the file must not be touched no chunk is yielded.
    """
    is_blank = not any(data[: layout.SEGMENT_HEADER_BYTES])
    header = None if is_blank else _read_segment_header(data, owner, contents)
    if contents.refused is not None:
        return
    generation: int | None
    if header is not None and header.begun == header.generation:
        generation = header.generation
    else:
        # In a free segment every old chunk is acked. One that is not shows that a word was damaged.
        generation = _newest_waiting(data, owner)
        has_chunks = generation is not None
        # A blank file without chunks is no damage: its process was killed while it made it.
        if header is None and (has_chunks or not is_blank):
            last = layout.SEGMENT_HEADER_BYTES if has_chunks else len(data)
            contents.blame(0, last, "the segment's header is damaged")
        if header is not None and generation:
            text = "the generation is damaged: chunks are unacked"
            contents.blame(layout.GENERATION_AT, layout.BEGUN_AT + 8, text)
    if generation:
        yield from _walk(data, _headers(data, owner), generation, contents)
    if header is not None and header.size != len(data):
        text = f"the file has {len(data)} bytes, not {header.size}"
        contents.blame(min(len(data), header.size), len(data), text)


def _read_segment_header(data: bytes, owner: bytes, contents: Contents) -> _SegmentHeader | None:
    """Return the header; None where it is damaged, or says that the file is not ours: `refused`."""
    raw = data[: layout.SEGMENT_HEADER_BYTES]
    if len(raw) < layout.SEGMENT_HEADER_BYTES:
        return None
    fields = layout.SEGMENT.unpack(raw)
    magic, version, order, size, generation, begun, found_owner, checksum, _ = fields
    if magic == layout.SEGMENT_MAGIC and (version, order) != (layout.VERSION, layout.BYTE_ORDER):
        contents.refused = layout.foreign_format(version, order)
        return None
    if magic != layout.SEGMENT_MAGIC or checksum != layout.segment_checksum(raw):
        return None
    if found_owner != owner:
        contents.misplace(found_owner)
        return None
    return _SegmentHeader(size, generation, begun)


def _headers(data: bytes, owner: bytes) -> Iterator[FoundChunk]:
    """Yield every chunk header with a right checksum by offset."""
    offset = data.find(layout.CHUNK_MAGIC)
    while offset >= 0:
        if offset % layout.ALIGNMENT == 0:
            found = read_chunk_header(data, offset, owner)
            if found is not None:
                yield found
        offset = data.find(layout.CHUNK_MAGIC, layout.aligned(offset + 1))


def _newest_waiting(data: bytes, owner: bytes) -> int | None:
    """Return the newest generation with an unacked chunk, 0 without one; None without chunks."""
    return max(
        (
            chunk.generation if chunk.state != layout.ACKED and chunk.entries else 0
            for chunk in _headers(data, owner)
        ),
        default=None,
    )


def _walk(
    data: bytes, headers: Iterator[FoundChunk], generation: int, contents: Contents
) -> Iterator[FoundChunk]:
    """Yield the chunks of one generation along their links, and skip what is damaged."""
    expected, previous = layout.SEGMENT_HEADER_BYTES, None
    claimed = skipped_to = 0
    for chunk in headers:
        if chunk.generation != generation:
            continue
        if chunk.offset != expected:
            if not chunk.entries or chunk.offset < skipped_to:
                continue  # written and never linked, or in a log record
            if previous is not None and _is_inside(data, previous, chunk):
                skipped_to = previous.payload_end  # a log record holds the bytes of a header
                continue
            _blame_link(previous, expected, chunk.offset, contents)
        claimed += _claim(data, chunk)
        if len(contents.damages) >= _DAMAGES_MAX or claimed > _CLAIMS_MAX * len(data):
            text = "too much is damaged: the rest of the file is not read"
            contents.blame(chunk.offset, len(data), text)
            return
        yield chunk
        _check_empty(data, chunk, contents)
        expected, previous = chunk.extent, chunk
    if expected:
        _blame_link(previous, expected, len(data), contents)


def _claim(data: bytes, chunk: FoundChunk) -> int:
    """Return how many bytes must be read to tell what is in a chunk."""
    end = min(chunk.payload_end, len(data)) if chunk.entries else _end_of_room(data, chunk)
    return end - chunk.payload_at


def _end_of_room(data: bytes, chunk: FoundChunk) -> int:
    """Return where the next chunk begins, or the end of the file where no link leads to one."""
    return chunk.extent if chunk.payload_at <= chunk.extent <= len(data) else len(data)


def _blame_link(previous: FoundChunk | None, expected: int, stop: int, contents: Contents) -> None:
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


def _check_empty(data: bytes, chunk: FoundChunk, contents: Contents) -> None:
    """Blame a chunk whose commit word says that it is empty, where it is not.

    One whole entry may lie there: its process was killed before it could commit it. But a commit
    word of no entries has no bytes either, since both are stored at once.
    """
    end = _end_of_room(data, chunk)
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


def _uncommitted(data: bytes, first: int, last: int) -> Iterator[dict[Any, Any]]:
    """Yield the records that can be decoded from `first` on, but for an enormous one."""
    bytes_max = min(last - first, PAYLOAD_BYTES_MAX)
    unpacker = BoundedUnpacker(bytes_max, unicode_errors="backslashreplace")
    with contextlib.suppress(ProtocolError):
        for at in range(first, last, _PIECE_BYTES):
            for value in unpacker.feed(data[at : min(at + _PIECE_BYTES, last)]):
                yield entry_of(value)[1]


def _is_inside(data: bytes, whole: FoundChunk, chunk: FoundChunk) -> bool:
    """Tell whether `chunk` lies in the payload of `whole`, and that payload is right."""
    if not whole.payload_at <= chunk.offset < whole.payload_end:
        return False
    payload = data[whole.payload_at : whole.payload_end]
    return isinstance(read_payload(whole, payload), Payload)
