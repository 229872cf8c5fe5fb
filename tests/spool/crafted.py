"""Segments that no client writes: each header is right, and what they say together is not."""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from pathlib import Path

from logship._spool import format as layout

OWNER = bytes(range(16))
STREAM = "AAAAAAAAAAAA"
_IDENTITY = layout.ChunkIdentity("", 1, 1, 1, STREAM, b"t", None)
HEADER_BYTES = layout.chunk_header_bytes(b"t", None)


def header(
    serial: int,
    *,
    entries: int = 0,
    size: int = 0,
    state: int = layout.UNSENT,
    checksum: int = 0,
    extent: int = 0,
) -> bytes:
    """Return a chunk's header with these words in it, and a right checksum."""
    chunk_id = b64encode(serial.to_bytes(16, "big")).decode()
    identity = _IDENTITY._replace(id=chunk_id, serial=serial, first=serial)
    data = bytearray(layout.pack_chunk_header(identity, 1, OWNER))
    struct.pack_into("=QQ", data, layout.EXTENT_AT, extent, entries << 32 | size)
    struct.pack_into("=Q", data, layout.STATE_AT, layout.state_word(state, checksum))
    return bytes(data)


def headers_in_a_record(count: int) -> bytes:
    """Return a whole chunk of one record, which holds `count` headers of chunks with entries."""
    inner = b"".join(header(serial, entries=1, size=1) for serial in range(2, count + 2))
    before = b"\x92\xd7\x00" + bytes(8) + b"\x81\xa1k\xc6"
    filler = bytes(-(layout.SEGMENT_HEADER_BYTES + HEADER_BYTES + len(before) + 4) % 64)
    payload = before + struct.pack(">I", len(filler + inner)) + filler + inner
    words = {"size": len(payload), "state": layout.SENT, "checksum": zlib.crc32(payload)}
    return header(1, entries=1, **words) + payload


def headers_that_claim_all(count: int) -> bytes:
    """Return headers of chunks of which each claims all that follows, with a wrong checksum."""
    return b"".join(
        header(serial, entries=1, size=(count - serial) * HEADER_BYTES, state=layout.SENT)
        for serial in range(1, count + 1)
    )


def linked_headers_that_claim_all(count: int) -> bytes:
    """Return the same, and each is linked with the next."""
    linked = []
    for serial in range(1, count + 1):
        extent = layout.SEGMENT_HEADER_BYTES + serial * HEADER_BYTES
        size = (count - serial) * HEADER_BYTES
        linked.append(header(serial, entries=1, size=size, state=layout.SENT, extent=extent))
    return b"".join(linked)


def linked_headers(count: int) -> bytes:
    """Return headers of acked chunks, each linked with the next, as after a long use."""
    at = layout.SEGMENT_HEADER_BYTES
    return b"".join(
        header(serial, state=layout.ACKED, extent=at + serial * HEADER_BYTES)
        for serial in range(1, count + 1)
    )


def loose_headers(count: int) -> bytes:
    """Return headers of empty chunks without a link."""
    return b"".join(header(serial) for serial in range(1, count + 1))


def dead_process(spool: Path, chunks: bytes) -> Path:
    """Leave a process directory whose one segment has these chunks; return the segment."""
    directory = spool / OWNER.hex()
    directory.mkdir(0o700)
    (directory / "lock").touch()
    streams = layout.pack_streams_header(OWNER, 1, None) + layout.pack_slot(STREAM, b"t", 1, OWNER)
    (directory / "streams").write_bytes(streams.ljust(layout.STREAMS_BYTES, b"\0"))
    size = layout.SEGMENT_HEADER_BYTES + len(chunks)
    begin = bytearray(layout.pack_segment_header(size, OWNER))
    struct.pack_into("=QQ", begin, layout.GENERATION_AT, 1, 1)
    segment = directory / "segment-00000001.spool"
    segment.write_bytes(bytes(begin) + chunks)
    return segment
