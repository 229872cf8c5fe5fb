"""The spool's bytes: how segments, chunks and streams lie in files, and how they are read. PURE.

`docs/spool-format.md` is the design; this module is its tables in code. Writing is packing of
headers and the places of the words that change; reading takes the bytes of a whole file and says
what is in them. What is read is untrusted: every length is checked, nothing here raises for what
the bytes are, and whatever cannot be used is named as damage, never passed over.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from logship.errors import ProtocolError
from logship.protocol.entries import entry_of, unpack_entries
from logship.protocol.unpacking import BoundedUnpacker

VERSION = 1
BYTE_ORDER = 0x01020304
ALIGNMENT = 64

SEGMENT_HEADER_BYTES = 64
GENERATION_AT = 24
BEGUN_AT = 32

EXTENT_AT = 16
COMMIT_AT = 24
STATE_AT = 32

OPEN = int.from_bytes(b"open", "big")
SEALED = int.from_bytes(b"seal", "big")
ACKED = int.from_bytes(b"ackd", "big")
QUARANTINED = int.from_bytes(b"quar", "big")
"""States of a chunk; letters, because they differ in many bits."""

TAG_BYTES_MAX = 255
_PROVISIONAL = 0x8000
"""Beside the length of a tag: it was to give way to another one."""

SLOTS = 1024
SLOT_BYTES = 320
STREAMS_BYTES = SLOT_BYTES * (1 + SLOTS)
SLOT_NEXT_AT = 0
SLOT_END_AT = 8

_SEGMENT_MAGIC = b"LGSPSEG\n"
_CHUNK_MAGIC = b"LGSPCHK\n"
_STREAMS_MAGIC = b"LGSPSTR\n"
_NO_STAMPS = 0xFFFF

# Native byte order and no padding; every word that changes lies at a multiple of eight.
_SEGMENT = struct.Struct("=8sIIQQQ16sII")
_CHUNK = struct.Struct("=8sQQQQ16sQQQ12sIIHH")
_STREAMS = struct.Struct("=8sII16sQIHH")
_SLOT = struct.Struct("=QQ8x12sIHH")


def aligned(offset: int) -> int:
    """Return the next offset at which a header may begin."""
    return (offset + ALIGNMENT - 1) & ~(ALIGNMENT - 1)


# -- writing -----------------------------------------------------------------------------------


def pack_segment_header(size: int, life: bytes) -> bytes:
    """Return the header of a segment that has not been used.

    Args:
        size: Bytes of the file.
        life: The life's sixteen bytes.
    """
    fields = (_SEGMENT_MAGIC, VERSION, BYTE_ORDER, size, 0, 0, life)
    return _SEGMENT.pack(*fields, _segment_checksum(_SEGMENT.pack(*fields, 0, 0)), 0)


def _segment_checksum(header: bytes) -> int:
    return zlib.crc32(header[40:56], zlib.crc32(header[:24]))


class ChunkIdentity(NamedTuple):
    """What a chunk's header says for good.

    Attributes:
        id: Base64 of sixteen bytes.
        first: Number of the first entry.
        serial: The order of opening in the life.
        opened_ns: When, nanoseconds since 1970.
        stream: The stream's twelve characters.
        tag: The route, at most 255 bytes of UTF-8.
        stamp_key: The field of the stamp, or None for records without stamps.
        is_provisional: Whether that tag was to give way to another one, not known yet.
    """

    id: str
    first: int
    serial: int
    opened_ns: int
    stream: str
    tag: bytes
    stamp_key: bytes | None
    is_provisional: bool = False


def chunk_header_bytes(tag: bytes, stamp_key: bytes | None) -> int:
    """Return the length of a chunk's header with this tag and stamp key."""
    return aligned(_CHUNK.size + len(tag) + len(stamp_key or b""))


def pack_chunk_header(identity: ChunkIdentity, generation: int, life: bytes) -> bytes:
    """Return the header of an open chunk without entries."""
    tag, key = identity.tag, identity.stamp_key
    length = chunk_header_bytes(tag, key)
    key_bytes = _NO_STAMPS if key is None else len(key)

    def packed(checksum: int) -> bytes:
        return _CHUNK.pack(
            _CHUNK_MAGIC,
            generation,
            0,
            0,
            OPEN << 32,
            b64decode(identity.id),
            identity.first,
            identity.serial,
            identity.opened_ns,
            identity.stream.encode("ascii"),
            checksum,
            length,
            _tag_word(tag, is_provisional=identity.is_provisional),
            key_bytes,
        )

    texts = tag + (key or b"")
    checksum = _chunk_checksum(packed(0) + texts, life)
    return (packed(checksum) + texts).ljust(length, b"\0")


def _tag_word(tag: bytes, *, is_provisional: bool) -> int:
    return len(tag) | (_PROVISIONAL if is_provisional else 0)


def _chunk_checksum(header: bytes, life: bytes) -> int:
    """Return the checksum of what never changes; `header` ends with the stamp key."""
    checksum = zlib.crc32(header[:16], zlib.crc32(life))
    return zlib.crc32(header[96:], zlib.crc32(header[40:92], checksum))


def state_word(state: int, checksum: int) -> int:
    """Return the state and the payload's CRC-32 as the one word that is stored."""
    return state << 32 | checksum


def pack_streams_header(life: bytes, born_ns: int, stamp_key: bytes | None) -> bytes:
    """Return the header of the file `streams`."""
    key_bytes = _NO_STAMPS if stamp_key is None else len(stamp_key)
    fields = (_STREAMS_MAGIC, VERSION, BYTE_ORDER, life, born_ns)
    key = (stamp_key or b"").ljust(SLOT_BYTES - 64, b"\0")
    checksum = zlib.crc32(_STREAMS.pack(*fields, 0, key_bytes, 0) + key)
    return _STREAMS.pack(*fields, checksum, key_bytes, 0).ljust(64, b"\0") + key


SLOT_CHECKSUM_AT = 36


def slot_at(slot: int) -> int:
    """Return where a slot begins in the file `streams`."""
    return SLOT_BYTES * (1 + slot)


def pack_slot(
    stream: str, tag: bytes, next_number: int, life: bytes, *, is_provisional: bool = False
) -> bytes:
    """Return a slot for a stream that has not ended.

    Its checksum at `SLOT_CHECKSUM_AT` is what makes it count: written last, zeroed first.
    """
    name = stream.encode("ascii")
    word = _tag_word(tag, is_provisional=is_provisional)
    checksum = _slot_checksum(name, word, tag, life)
    head = _SLOT.pack(next_number, 0, name, checksum, word, 0)
    return (head + tag).ljust(SLOT_BYTES, b"\0")


def is_provisional_slot(raw: bytes) -> bool:
    """Tell whether a slot's tag was to give way to another one."""
    return bool(_SLOT.unpack_from(raw)[4] & _PROVISIONAL)


def _slot_checksum(stream: bytes, tag_word: int, tag: bytes, life: bytes) -> int:
    return zlib.crc32(stream + struct.pack("=H", tag_word) + tag, zlib.crc32(life))


# -- reading: a segment ------------------------------------------------------------------------


class FoundChunk(NamedTuple):
    """A chunk whose header is whole.

    Attributes:
        offset: Of the header in the file.
        header_bytes: Its length.
        generation: The use of the segment that it belongs to.
        extent: Where the next header is; 0 in the last one.
        entries, size: What is committed.
        state: `OPEN`, `SEALED`, `ACKED`, `QUARANTINED`, or what damage made of it.
        checksum: Of the payload, where it is sealed; in quarantine, how many numbers follow the
            first one that are lost with it.
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
        """Where the payload begins in the file."""
        return self.offset + self.header_bytes

    @property
    def payload_end(self) -> int:
        """Where the committed payload ends in the file."""
        return self.payload_at + self.size


class Damage(NamedTuple):
    """Bytes of a file that could not be understood.

    Attributes:
        first, last: From where to where in the file; `last` is not included.
        reason: What is wrong, for a person.
    """

    first: int
    last: int
    reason: str


@dataclass
class SegmentContents:
    """What is in a segment.

    Attributes:
        chunks: Those whose headers are whole, acked ones too, by offset.
        damages: What could not be understood.
        refused: Why the file must not be touched, where that is so: its format is not ours.
    """

    chunks: list[FoundChunk] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)
    refused: str | None = None

    def blame(self, first: int, last: int, reason: str) -> None:
        """Note damage."""
        self.damages.append(Damage(first, last, reason))


class _SegmentHeader(NamedTuple):
    size: int
    generation: int
    begun: int


def read_segment(data: bytes, life: bytes) -> SegmentContents:
    """Return what is in the file `data` of the life `life`."""
    contents = SegmentContents()
    found = list(_headers(data, life))
    if not found and not any(data[:SEGMENT_HEADER_BYTES]):
        return contents  # its process was killed while it made the file
    header = _read_segment_header(data, life, contents)
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
    data: bytes, life: bytes, contents: SegmentContents
) -> _SegmentHeader | None:
    """Return the header; None where it is damaged, or of another format (`refused`)."""
    if len(data) < SEGMENT_HEADER_BYTES:
        contents.blame(0, len(data), "it is shorter than a segment's header")
        return None
    fields = _SEGMENT.unpack_from(data)
    magic, version, order, size, generation, begun, owner, checksum, _ = fields
    if magic == _SEGMENT_MAGIC and (version, order) != (VERSION, BYTE_ORDER):
        contents.refused = _foreign_format(version, order)
        return None
    is_ours = magic == _SEGMENT_MAGIC and owner == life
    if not is_ours or checksum != _segment_checksum(data[:SEGMENT_HEADER_BYTES]):
        contents.blame(0, SEGMENT_HEADER_BYTES, "the segment's header is damaged")
        return None
    return _SegmentHeader(size, generation, begun)


def _foreign_format(version: int, order: int) -> str:
    if order != BYTE_ORDER:
        return "it was written with another byte order; recover it on such a machine"
    return f"its format is version {version}, this logship reads version {VERSION}"


def _headers(data: bytes, life: bytes) -> Iterator[FoundChunk]:
    """Yield every chunk header with a right checksum, of whatever generation, by offset."""
    offset = data.find(_CHUNK_MAGIC)
    while offset >= 0:
        if offset % ALIGNMENT == 0:
            found = _header_at(data, offset, life)
            if found is not None:
                yield found
        offset = data.find(_CHUNK_MAGIC, offset + 1)


def _header_at(data: bytes, offset: int, life: bytes) -> FoundChunk | None:
    if offset + _CHUNK.size > len(data):
        return None
    fields = _CHUNK.unpack_from(data, offset)
    _, generation, extent, commit, state, raw_id, first, serial, opened_ns = fields[:9]
    raw_stream, checksum, header_bytes, tag_word, key_bytes = fields[9:]
    tag_bytes = tag_word & ~_PROVISIONAL
    key_length = 0 if key_bytes == _NO_STAMPS else key_bytes
    texts_at = offset + _CHUNK.size
    key_at = texts_at + tag_bytes
    end = key_at + key_length
    if max(tag_bytes, key_length) > TAG_BYTES_MAX or end > len(data):
        return None
    if header_bytes != aligned(end - offset) or offset + header_bytes > len(data):
        return None
    if checksum != _chunk_checksum(data[offset:end], life):
        return None
    identity = ChunkIdentity(
        id=b64encode(raw_id).decode("ascii"),
        first=first,
        serial=serial,
        opened_ns=opened_ns,
        stream=raw_stream.decode("ascii", "replace"),
        tag=data[texts_at:key_at],
        stamp_key=None if key_bytes == _NO_STAMPS else data[key_at:end],
        is_provisional=tag_word != tag_bytes,
    )
    words = (extent, commit >> 32, commit & 0xFFFFFFFF, state >> 32, state & 0xFFFFFFFF)
    return FoundChunk(offset, header_bytes, generation, *words, identity)


def _generation_in_use(
    header: _SegmentHeader | None, found: list[FoundChunk], contents: SegmentContents
) -> int | None:
    """Return the generation whose chunks count, or None where the segment is free.

    In a free segment every old chunk is acked. One that is not says that a word was damaged.
    """
    if header is not None and header.begun == header.generation:
        return header.generation or None
    waiting = [each.generation for each in found if each.state != ACKED and each.entries]
    if not waiting:
        return None
    if header is not None:
        contents.blame(GENERATION_AT, BEGUN_AT + 8, "the generation is damaged: chunks are unacked")
    return max(waiting)


_LOST = -1
"""Where the next header should be, when the link to it is known to be damaged."""


def _walk(data: bytes, found: list[FoundChunk], contents: SegmentContents) -> None:
    """Take the chunks of one generation along their links, and over what is damaged."""
    expected: int | None = SEGMENT_HEADER_BYTES
    previous: FoundChunk | None = None
    for chunk in found:
        if chunk.offset != expected:
            if previous is not None and _is_inside(data, previous, chunk):
                continue  # a log record that holds the bytes of a header
            if not chunk.entries:
                continue  # written and never linked: nothing was put into it
            _blame_link(chunk, previous, expected, contents)
        contents.chunks.append(chunk)
        _check_empty(data, chunk, contents)
        previous = chunk
        expected = _link(chunk, len(data), contents)
    if expected is not None and expected != _LOST:
        contents.blame(expected, len(data), "a chunk's header is damaged")


def _check_empty(data: bytes, chunk: FoundChunk, contents: SegmentContents) -> None:
    """Blame a chunk that is said to be empty, and is not.

    One whole entry may lie there: its process was killed before it could commit it. But a commit
    word of no entries has no bytes either, since both are stored at once.
    """
    end = chunk.extent if chunk.payload_at <= chunk.extent <= len(data) else len(data)
    if not chunk.entries and chunk.size:
        contents.blame(chunk.offset, end, "a chunk's commit word is damaged")
        return
    if chunk.entries or chunk.identity.stamp_key is None:
        return
    key, stream = chunk.identity.stamp_key.decode("utf-8", "replace"), chunk.identity.stream
    unpacker = BoundedUnpacker(end - chunk.payload_at, unicode_errors="backslashreplace")
    with contextlib.suppress(ProtocolError):
        for entries, value in enumerate(unpacker.feed(data[chunk.payload_at : end]), 1):
            _, record = entry_of(value)
            if _number_of(record.get(key), stream) != chunk.identity.first + entries - 1:
                return
            if entries == 2:
                contents.blame(chunk.offset, end, "a chunk's commit word is damaged")
                return


def _is_inside(data: bytes, whole: FoundChunk, chunk: FoundChunk) -> bool:
    """Tell whether `chunk` lies in the payload of `whole`, and that payload is right."""
    if not whole.payload_at <= chunk.offset < whole.payload_end:
        return False
    payload = data[whole.payload_at : whole.payload_end]
    return isinstance(read_payload(whole, payload), Payload)


def _blame_link(
    chunk: FoundChunk,
    previous: FoundChunk | None,
    expected: int | None,
    contents: SegmentContents,
) -> None:
    if expected == _LOST:
        return
    if expected is not None and chunk.offset > expected:
        contents.blame(expected, chunk.offset, "a chunk's header is damaged")
    else:
        at = 0 if previous is None else previous.offset
        contents.blame(at + EXTENT_AT, at + EXTENT_AT + 8, "the link to the next chunk is damaged")


def _link(chunk: FoundChunk, size: int, contents: SegmentContents) -> int | None:
    """Return where the next header should be; None behind the last one, or `_LOST`."""
    if chunk.extent == 0:
        return None
    is_possible = chunk.payload_at <= chunk.extent < size and chunk.extent % ALIGNMENT == 0
    if is_possible:
        return chunk.extent
    at = chunk.offset + EXTENT_AT
    contents.blame(at, at + 8, "the link to the next chunk is damaged")
    return _LOST


# -- reading: a payload ------------------------------------------------------------------------


class Payload(NamedTuple):
    """What a chunk's entries are.

    Attributes:
        numbers: Of the entries, ascending; made up from the first one where there are no stamps.
        records: How many of the entries the application logged.
        end: The number of the stream's end record, if it is among them.
    """

    numbers: list[int]
    records: int
    end: int | None


def read_payload(chunk: FoundChunk, payload: bytes) -> Payload | str:
    """Return what the committed bytes of a chunk hold, or what is wrong with them.

    Args:
        chunk: Its header.
        payload: `size` bytes, or fewer where the file ended before.
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
        stamped = [_number_of(record.get(key), identity.stream) for record in records]
        if stamped[:1] != [identity.first] or not _ascends_from(identity.first, stamped):
            return "its stamps are not those of its stream, or not in order"
        numbers = [number for number in stamped if number is not None]
    ends = [n for n, record in zip(numbers, records, strict=True) if "logship_end" in record]
    controls = sum("logship_end" in each or "logship_gap" in each for each in records)
    return Payload(numbers, len(records) - controls, ends[-1] if ends else None)


def _number_of(stamp: object, stream: str) -> int | None:
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


# -- reading: the streams ----------------------------------------------------------------------


class FoundStream(NamedTuple):
    """A stream's slot.

    Attributes:
        slot: Which one.
        stream: The twelve characters.
        tag: The route.
        next_number: All numbers below were given out.
        end: The number of the acked end record, or 0.
        is_provisional: Whether that tag was to give way to another one, not known yet.
    """

    slot: int
    stream: str
    tag: bytes
    next_number: int
    end: int
    is_provisional: bool


@dataclass
class StreamsContents:
    """What is in the file `streams`.

    Attributes:
        born_ns: When the life began, nanoseconds since 1970.
        stamp_key: The field of the stamp, or None.
        streams: Those with a whole slot.
        damages: What could not be understood.
        refused: Why the file must not be touched, where that is so.
        is_begun: Whether there is a header; without one the process was killed before it made
            its first segment.
        has_header: Whether that is whole: else the stamp key is not known.
    """

    born_ns: int = 0
    stamp_key: bytes | None = None
    streams: list[FoundStream] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)
    refused: str | None = None
    is_begun: bool = True
    has_header: bool = False


def read_streams(data: bytes, life: bytes) -> StreamsContents:
    """Return what is in the file `streams` of the life `life`."""
    contents = StreamsContents()
    if not any(data[:SLOT_BYTES]):
        contents.is_begun = False
        return contents
    if len(data) < SLOT_BYTES:
        contents.damages.append(Damage(0, len(data), "the header of the streams is cut short"))
        return contents
    _read_streams_header(data[:SLOT_BYTES], life, contents)
    if contents.refused is None:
        _read_slots(data, life, contents)
    return contents


def _read_streams_header(header: bytes, life: bytes, contents: StreamsContents) -> None:
    magic, version, order, owner, born_ns, checksum, key_bytes, _ = _STREAMS.unpack_from(header)
    if magic == _STREAMS_MAGIC and (version, order) != (VERSION, BYTE_ORDER):
        contents.refused = _foreign_format(version, order)
        return
    fields = (magic, version, order, owner, born_ns, 0, key_bytes, 0)
    right = zlib.crc32(_STREAMS.pack(*fields) + header[64:])
    if magic != _STREAMS_MAGIC or owner != life or checksum != right:
        contents.damages.append(Damage(0, 64, "the header of the streams is damaged"))
        return
    contents.has_header = True
    contents.born_ns = born_ns
    contents.stamp_key = None if key_bytes == _NO_STAMPS else header[64 : 64 + key_bytes]


def _read_slots(data: bytes, life: bytes, contents: StreamsContents) -> None:
    for slot in range(SLOTS):
        at = slot_at(slot)
        raw = data[at : at + SLOT_BYTES]
        if len(raw) < SLOT_BYTES:
            contents.damages.append(Damage(at, len(data), "the streams are cut short"))
            return
        next_number, end, stream, checksum, tag_word, _ = _SLOT.unpack_from(raw)
        tag_bytes = tag_word & ~_PROVISIONAL
        if checksum == 0:
            continue  # free, or being written for a stream that has no entry yet
        tag = raw[_SLOT.size : _SLOT.size + tag_bytes]
        if tag_bytes > TAG_BYTES_MAX or checksum != _slot_checksum(stream, tag_word, tag, life):
            contents.damages.append(Damage(at, at + SLOT_BYTES, "a stream's slot is damaged"))
            continue
        name = stream.decode("ascii", "replace")
        is_provisional = tag_word != tag_bytes
        contents.streams.append(FoundStream(slot, name, tag, next_number, end, is_provisional))
