"""Reading one chunk of a segment: its header and its payload. PURE.

The bytes are untrusted. Every length is checked, nothing here raises for what the bytes are, and
whatever cannot be used is named.
"""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from logship._buffer.ranges import Gap, gap_in
from logship._protocol.entries import END_KEY, is_control, unpack_entries
from logship._spool import format as layout
from logship.errors import ProtocolError

PAYLOAD_BYTES_MAX = 8 * 1024 * 1024
ENTRIES_MAX = 128 * 1024
"""No chunk has more. A chunk of more than 1 MB has one record, of at most 5 MB, and the gap records
before it; an entry has at least twelve bytes."""

_HEADER_BYTES_MAX = layout.aligned(layout.CHUNK.size + 2 * layout.TAG_BYTES_MAX)


class Damage(NamedTuple):
    """Bytes of a file that could not be understood.

    Attributes:
        first, last: Where they begin and end in the file; `last` is not included.
        reason: What is wrong, for a person.
    """

    first: int
    last: int
    reason: str


@dataclass
class Contents:
    """What is in a file.

    Attributes:
        damages: What could not be understood.
        refused: Why the file must not be touched, where its header says that it has another format
            or belongs to another process directory; else None.
        is_misplaced: Whether the latter is so.
    """

    damages: list[Damage] = field(default_factory=list)
    refused: str | None = None
    is_misplaced: bool = False

    def blame(self, first: int, last: int, reason: str) -> None:
        """Note damage."""
        self.damages.append(Damage(first, last, reason))

    def misplace(self, owner: bytes) -> None:
        """Note that the file belongs to another process directory."""
        self.is_misplaced = True
        self.refused = (
            f"it belongs to process directory {owner.hex()}; rename the directory, or remove a copy"
        )


class FoundChunk(NamedTuple):
    """A chunk whose header is whole.

    Attributes:
        offset: Offset of the header in the file.
        header_bytes: Length of the header.
        generation: The use of the segment that the chunk belongs to.
        extent: Offset of the next header; 0 in the last chunk.
        entries, size: Committed entries, and their bytes.
        state: `UNSENT`, `SENT`, `ACKED`, `QUARANTINED`, or what damage made of it.
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
    identity: layout.ChunkIdentity

    @property
    def payload_at(self) -> int:
        """Offset at which the payload begins in the file."""
        return self.offset + self.header_bytes

    @property
    def payload_end(self) -> int:
        """Offset at which the committed payload ends in the file; a reader stops there."""
        return self.payload_at + min(self.size, PAYLOAD_BYTES_MAX)


def read_chunk_header(data: bytes, offset: int, owner: bytes) -> FoundChunk | None:
    """Return the chunk whose header is at `offset`, or None where no whole header is."""
    header = data[offset : offset + _HEADER_BYTES_MAX]
    if len(header) < layout.CHUNK.size:
        return None
    fields = layout.CHUNK.unpack_from(header)
    _, generation, extent, commit, state, raw_id, first, serial, opened_ns = fields[:9]
    raw_stream, checksum, header_bytes, tag_word, key_bytes = fields[9:]
    tag_bytes = tag_word & ~layout.PROVISIONAL
    key_length = 0 if key_bytes == layout.NO_STAMPS else key_bytes
    key_at = layout.CHUNK.size + tag_bytes
    end = key_at + key_length
    if max(tag_bytes, key_length) > layout.TAG_BYTES_MAX or end > len(header):
        return None
    if header_bytes != layout.aligned(end) or header_bytes > len(header):
        return None
    if checksum != layout.chunk_checksum(header[:end], owner):
        return None
    identity = layout.ChunkIdentity(
        id=b64encode(raw_id).decode("ascii"),
        first=first,
        serial=serial,
        opened_ns=opened_ns,
        stream=raw_stream.decode("ascii", "replace"),
        tag=header[layout.CHUNK.size : key_at],
        stamp_key=None if key_bytes == layout.NO_STAMPS else header[key_at:end],
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
        gaps: What the gap records among them declare.
    """

    numbers: list[int]
    records: int
    end: int | None
    gaps: Sequence[Gap] = ()


def read_payload(chunk: FoundChunk, payload: bytes) -> Payload | str:
    """Return what the committed bytes of a chunk hold, or what is wrong with them.

    Args:
        chunk: The chunk's header.
        payload: The bytes up to `payload_end`, or fewer where the file ends before.
    """
    if chunk.state not in (layout.UNSENT, layout.SENT, layout.ACKED):
        return "its state is damaged"
    if len(payload) != chunk.size or chunk.entries > ENTRIES_MAX:
        return "its commit word says more than the file or a chunk can hold"
    if chunk.state == layout.SENT and zlib.crc32(payload) != chunk.checksum:
        return "its checksum is wrong"
    try:
        found, is_in_order = _read_entries(chunk.identity, payload, chunk.entries + 1)
    except ProtocolError as error:
        return f"its entries cannot be decoded: {error}"
    count = len(found.numbers)
    if count != chunk.entries:
        has = "has at least" if count > chunk.entries else "has"
        return f"it {has} {count} entries, its commit word says {chunk.entries}"
    return found if is_in_order else "its stamps are not those of its stream, or not in order"


def _read_entries(
    identity: layout.ChunkIdentity, payload: bytes, count_max: int
) -> tuple[Payload, bool]:
    """Return what the first entries hold, and whether their stamps are in order; none is kept."""
    key = None if identity.stamp_key is None else identity.stamp_key.decode("utf-8", "replace")
    numbers: list[int] = []
    gaps: list[Gap] = []
    controls, end, is_in_order, before = 0, None, True, identity.first - 1
    for _, record in islice(unpack_entries(payload), count_max):
        number = before + 1
        if key is not None:
            stamped = number_of(record.get(key), identity.stream)
            number = -1 if stamped is None else stamped
        is_in_order = is_in_order and number > before
        numbers.append(number)
        before = number
        if END_KEY in record:
            end = number
        controls += is_control(record)
        gap = gap_in(record)
        gaps += [] if gap is None else [gap]
    begins_right = numbers[:1] in ([], [identity.first])
    return Payload(numbers, len(numbers) - controls, end, gaps), is_in_order and begins_right


def number_of(stamp: object, stream: str) -> int | None:
    """Return the number in a stamp of this stream, or None."""
    if not isinstance(stamp, str) or len(stamp) != 23 or stamp[:13] != f"{stream}:":
        return None
    digits = stamp[13:]
    return int(digits) if digits.isascii() and digits.isdigit() else None
