"""Reading one chunk of a segment: its header and its payload. PURE.

The bytes are untrusted. Every length is checked, nothing here raises for what the bytes are, and
whatever cannot be used is named.
"""

from __future__ import annotations

import zlib
from base64 import b64encode
from typing import Any, NamedTuple

from logship.errors import ProtocolError
from logship.protocol.entries import unpack_entries
from logship.spool.format import (
    ACKED,
    CHUNK,
    NO_STAMPS,
    OPEN,
    PROVISIONAL,
    SEALED,
    TAG_BYTES_MAX,
    ChunkIdentity,
    aligned,
    chunk_checksum,
)


class FoundChunk(NamedTuple):
    """A chunk whose header is whole.

    Attributes:
        offset: Offset of the header in the file.
        header_bytes: Length of the header.
        generation: The use of the segment that the chunk belongs to.
        extent: Offset of the next header; 0 in the last chunk.
        entries, size: Committed entries, and their bytes.
        state: `OPEN`, `SEALED`, `ACKED`, `QUARANTINED`, or what damage made of it.
        checksum: Of the payload, in a sealed chunk. In a quarantined chunk, how many numbers after
            `identity.first` are lost with it.
        identity: What was written once.
    """

    offset: int
    header_bytes: int
    generation: int
    extent: int
    entries: int
    size: int
    state: int
    checksum: int
    identity: ChunkIdentity

    @property
    def payload_at(self) -> int:
        """Offset at which the payload begins in the file."""
        return self.offset + self.header_bytes

    @property
    def payload_end(self) -> int:
        """Offset at which the committed payload ends in the file."""
        return self.payload_at + self.size


def read_chunk_header(data: bytes, offset: int, owner: bytes) -> FoundChunk | None:
    """Return the chunk whose header is at `offset`, or None where no whole header is."""
    if offset + CHUNK.size > len(data):
        return None
    fields = CHUNK.unpack_from(data, offset)
    _, generation, extent, commit, state, raw_id, first, serial, opened_ns = fields[:9]
    raw_stream, checksum, header_bytes, tag_word, key_bytes = fields[9:]
    tag_bytes = tag_word & ~PROVISIONAL
    key_length = 0 if key_bytes == NO_STAMPS else key_bytes
    texts_at = offset + CHUNK.size
    key_at = texts_at + tag_bytes
    end = key_at + key_length
    if max(tag_bytes, key_length) > TAG_BYTES_MAX or end > len(data):
        return None
    if header_bytes != aligned(end - offset) or offset + header_bytes > len(data):
        return None
    if checksum != chunk_checksum(data[offset:end], owner):
        return None
    identity = ChunkIdentity(
        id=b64encode(raw_id).decode("ascii"),
        first=first,
        serial=serial,
        opened_ns=opened_ns,
        stream=raw_stream.decode("ascii", "replace"),
        tag=data[texts_at:key_at],
        stamp_key=None if key_bytes == NO_STAMPS else data[key_at:end],
        is_provisional=tag_word != tag_bytes,
    )
    words = (extent, commit >> 32, commit & 0xFFFFFFFF, state >> 32, state & 0xFFFFFFFF)
    return FoundChunk(offset, header_bytes, generation, *words, identity)


class Payload(NamedTuple):
    """A chunk's entries, in short.

    Attributes:
        numbers: Numbers of the entries, ascending. Without stamps they are counted from the
            chunk's first number.
        records: How many of the entries the application logged.
        end: The number of the stream's end record, if it is among them.
    """

    numbers: list[int]
    records: int
    end: int | None


def read_payload(chunk: FoundChunk, payload: bytes) -> Payload | str:
    """Return what the committed bytes of a chunk hold, or what is wrong with them.

    Args:
        chunk: The chunk's header.
        payload: `chunk.size` bytes, or fewer where the file ended earlier.
    """
    if chunk.state not in (OPEN, SEALED, ACKED):
        return "its state is damaged"
    if len(payload) != chunk.size:
        return "its commit word leads beyond the file"
    if chunk.state == SEALED and zlib.crc32(payload) != chunk.checksum:
        return "its checksum is wrong"
    try:
        records = [record for _, record in unpack_entries(payload)]
    except ProtocolError as error:
        return f"its entries cannot be decoded: {error}"
    if len(records) != chunk.entries:
        return f"it has {len(records)} entries, its commit word says {chunk.entries}"
    return _numbered(chunk, records)


def _numbered(chunk: FoundChunk, records: list[dict[Any, Any]]) -> Payload | str:
    identity = chunk.identity
    numbers = list(range(identity.first, identity.first + len(records)))
    if identity.stamp_key is not None:
        key = identity.stamp_key.decode("utf-8", "replace")
        stamped = [number_of(record.get(key), identity.stream) for record in records]
        if stamped[:1] != [identity.first] or not _ascends_from(identity.first, stamped):
            return "its stamps are not those of its stream, or not in order"
        numbers = [number for number in stamped if number is not None]
    ends = [n for n, record in zip(numbers, records, strict=True) if "logship_end" in record]
    controls = sum("logship_end" in each or "logship_gap" in each for each in records)
    return Payload(numbers, len(records) - controls, ends[-1] if ends else None)


def number_of(stamp: object, stream: str) -> int | None:
    """Return the number in a stamp of this stream, or None."""
    if not isinstance(stamp, str) or len(stamp) != 23 or stamp[:13] != f"{stream}:":
        return None
    digits = stamp[13:]
    return int(digits) if digits.isascii() and digits.isdigit() else None


def _ascends_from(first: int, numbers: list[int | None]) -> bool:
    before = first - 1
    for number in numbers:
        if number is None or number <= before:
            return False
        before = number
    return True
