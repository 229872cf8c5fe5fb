"""The layout of the spool's files: constants, structures, and the packing of headers. PURE.

`docs/spool-format.md` is the design; this module is its tables in code. The writer packs headers
and stores words at the offsets named here. `chunks`, `segments` and `slots` read the same layout.
"""

from __future__ import annotations

import struct
import zlib
from base64 import b64decode
from typing import NamedTuple

VERSION = 1
BYTE_ORDER = 0x01020304
ALIGNMENT = 64

SEGMENT_HEADER_BYTES = 64
GENERATION_AT = 24
BEGUN_AT = 32

EXTENT_AT = 16
COMMIT_AT = 24
STATE_AT = 32

UNSENT = int.from_bytes(b"open", "big")
SENT = int.from_bytes(b"seal", "big")
ACKED = int.from_bytes(b"ackd", "big")
QUARANTINED = int.from_bytes(b"quar", "big")
"""Marks of a chunk. They are letters, because letters differ in many bits.

UNSENT: its process never sent it, and stored no checksum. SENT: it may have been sent, by its
process or by recoverers, which store nothing before an ack. ACKED: it needs nothing more.
QUARANTINED: it is damaged, and a recoverer has copied it.
"""

TAG_BYTES_MAX = 255
PROVISIONAL = 0x8000
"""A flag beside the length of a tag: another tag was to replace this one."""

NO_STAMPS = 0xFFFF
"""Stands in the length of the stamp key where records have no stamps."""

TIME_NS_MAX = (1 << 64) - 1

SLOTS = 1024
SLOT_BYTES = 320
STREAMS_BYTES = SLOT_BYTES * (1 + SLOTS)
BORN_AT = 32
SLOT_NEXT_AT = 0
SLOT_END_AT = 8
SLOT_OPENED_AT = 16
SLOT_CHECKSUM_AT = 36

SEGMENT_MAGIC = b"LGSPSEG\n"
CHUNK_MAGIC = b"LGSPCHK\n"
STREAMS_MAGIC = b"LGSPSTR\n"

# Native byte order and no padding; every word that changes lies at a multiple of eight.
SEGMENT = struct.Struct("=8sIIQQQ16sII")
CHUNK = struct.Struct("=8sQQQQ16sQQQ12sIIHH")
STREAMS = struct.Struct("=8sII16sQIHH")
SLOT = struct.Struct("=QQQ12sIHH")
SLOT_WORDS = struct.Struct("=QQQ")
"""The first three fields of a slot, which change: `next`, `end` and `opened`."""


class ChunkIdentity(NamedTuple):
    """The part of a chunk's header that never changes.

    Attributes:
        id: Base64 of sixteen bytes.
        first: Number of the first entry.
        serial: Position of the chunk in the order in which its process opened chunks.
        opened_ns: Time of opening, nanoseconds since 1970.
        stream: The stream's twelve characters.
        tag: The route, at most 255 bytes of UTF-8.
        stamp_key: The field of the stamp, or None for records without stamps.
        is_provisional: Whether another tag, not known at the time, was to replace `tag`.
    """

    id: str
    first: int
    serial: int
    opened_ns: int
    stream: str
    tag: bytes
    stamp_key: bytes | None
    is_provisional: bool = False


def aligned(offset: int) -> int:
    """Return the next offset at which a header may begin."""
    return (offset + ALIGNMENT - 1) & ~(ALIGNMENT - 1)


def state_word(state: int, checksum: int) -> int:
    """Return the state and the payload's CRC-32 as the one word that is stored."""
    return state << 32 | checksum


def slot_at(slot: int) -> int:
    """Return the offset at which a slot begins in the file `streams`."""
    return SLOT_BYTES * (1 + slot)


def foreign_format(version: int, order: int) -> str:
    """Return why a file of this version and byte order must not be touched."""
    if order != BYTE_ORDER:
        return "it was written with another byte order; recover it on such a machine"
    return f"its format is version {version}, this logship reads version {VERSION}"


# -- packing -----------------------------------------------------------------------------------


def pack_segment_header(size: int, owner: bytes) -> bytes:
    """Return the header of a segment that has not been used.

    Args:
        size: Bytes of the file.
        owner: The sixteen bytes of the process directory.
    """
    fields = (SEGMENT_MAGIC, VERSION, BYTE_ORDER, size, 0, 0, owner)
    return SEGMENT.pack(*fields, segment_checksum(SEGMENT.pack(*fields, 0, 0)), 0)


def chunk_header_bytes(tag: bytes, stamp_key: bytes | None) -> int:
    """Return the length of a chunk's header with this tag and stamp key."""
    return aligned(CHUNK.size + len(tag) + len(stamp_key or b""))


def pack_chunk_header(identity: ChunkIdentity, generation: int, owner: bytes) -> bytes:
    """Return the header of an open chunk without entries."""
    tag, key = identity.tag, identity.stamp_key
    begin = (
        *(CHUNK_MAGIC, generation, 0, 0, UNSENT << 32),
        *(b64decode(identity.id), identity.first, identity.serial, _unsigned(identity.opened_ns)),
        identity.stream.encode("ascii"),
    )
    length = chunk_header_bytes(tag, key)
    tag_word = _tag_word(tag, is_provisional=identity.is_provisional)
    end = (length, tag_word, NO_STAMPS if key is None else len(key))
    texts = tag + (key or b"")
    checksum = chunk_checksum(CHUNK.pack(*begin, 0, *end) + texts, owner)
    return (CHUNK.pack(*begin, checksum, *end) + texts).ljust(length, b"\0")


def pack_streams_header(owner: bytes, born_ns: int, stamp_key: bytes | None) -> bytes:
    """Return the header of the file `streams`."""
    key_bytes = NO_STAMPS if stamp_key is None else len(stamp_key)
    fields = (STREAMS_MAGIC, VERSION, BYTE_ORDER, owner, _unsigned(born_ns))
    key = (stamp_key or b"").ljust(SLOT_BYTES - 64, b"\0")
    checksum = zlib.crc32(STREAMS.pack(*fields, 0, key_bytes, 0) + key)
    return STREAMS.pack(*fields, checksum, key_bytes, 0).ljust(64, b"\0") + key


def pack_slot(
    stream: str,
    tag: bytes,
    next_number: int,
    owner: bytes,
    *,
    is_provisional: bool = False,
    opened: int = 0,
) -> bytes:
    """Return a slot for a stream that has not ended.

    The slot counts once its checksum at `SLOT_CHECKSUM_AT` is right: the writer zeroes that word
    first and stores it last.
    """
    name = stream.encode("ascii")
    word = _tag_word(tag, is_provisional=is_provisional)
    checksum = slot_checksum(name, word, tag, owner)
    head = SLOT.pack(next_number, 0, opened, name, checksum, word, 0)
    return (head + tag).ljust(SLOT_BYTES, b"\0")


def is_provisional_slot(raw: bytes) -> bool:
    """Tell whether another tag was to replace the slot's."""
    return bool(SLOT.unpack_from(raw)[5] & PROVISIONAL)


def _unsigned(time_ns: int) -> int:
    """Return a time as a header can hold it; a wrong clock may say that it is before 1970."""
    return min(max(time_ns, 0), TIME_NS_MAX)


def _tag_word(tag: bytes, *, is_provisional: bool) -> int:
    return len(tag) | (PROVISIONAL if is_provisional else 0)


# -- checksums ---------------------------------------------------------------------------------


def segment_checksum(header: bytes) -> int:
    """Return the checksum of the part of a segment's header that never changes."""
    return zlib.crc32(header[40:56], zlib.crc32(header[:24]))


def chunk_checksum(header: bytes, owner: bytes) -> int:
    """Return the checksum of the part of a chunk's header that never changes.

    Args:
        header: The header up to the end of the stamp key.
        owner: The sixteen bytes of the process directory.
    """
    checksum = zlib.crc32(header[:16], zlib.crc32(owner))
    return zlib.crc32(header[96:], zlib.crc32(header[40:92], checksum))


def slot_checksum(stream: bytes, tag_word: int, tag: bytes, owner: bytes) -> int:
    """Return the checksum of a slot's stream and tag."""
    return zlib.crc32(stream + struct.pack("=H", tag_word) + tag, zlib.crc32(owner))
