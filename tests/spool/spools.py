"""Buffers on a spool small enough that a test sees every corner of it, and readers of what is left.

The reader decodes files with the format's pure functions; it knows nothing of the storage that
wrote them.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from logship._buffer.buffer import Buffer
from logship._buffer.entrance import Outcome
from logship._protocol.entries import unpack_entries
from logship._spool.chunks import Contents, FoundChunk, Payload, read_payload
from logship._spool.directories import ProcessDirectory
from logship._spool.format import ACKED
from logship._spool.mapped import Mapping, Words
from logship._spool.segments import find_chunks
from logship._spool.storage import SpoolStorage
from tests.support.packing import pack_record
from tests.support.raising import reraise

KEY = "logship_id"
SEGMENT_BYTES = 16 * 1024
CHUNK_BYTES = 2 * 1024


def storage_in(path: Path, **parts: Any) -> SpoolStorage:
    """Return a storage whose files are small."""
    chosen: dict[str, Any] = {
        "bytes_max": 2 * 1024 * 1024,
        "memory_bytes_max": 64 * 1024,
        "chunk_bytes_max": CHUNK_BYTES,
        "stamp_key": KEY,
        "segment_bytes": SEGMENT_BYTES,
        **parts,
    }
    return SpoolStorage(path, **chosen)


def a_buffer(**parts: Any) -> Buffer:
    """Return a buffer of a client without a spool; it ends chunks of dead processes."""
    bounds = {"bytes_max": 1, "chunk_bytes_max": 1, "linger_seconds": 0.0}
    return Buffer(**{**bounds, "stamp_key": KEY, "failed": reraise, **parts})


def buffer_on(storage: SpoolStorage, **parts: Any) -> Buffer:
    chosen: dict[str, Any] = {
        "bytes_max": 1 << 30,
        "chunk_bytes_max": CHUNK_BYTES,
        "linger_seconds": 1000.0,
        "stamp_key": KEY,
        "failed": reraise,
        **parts,
    }
    return Buffer(storage=storage, **chosen)


def spooled(path: Path, **parts: Any) -> tuple[SpoolStorage, Buffer]:
    storage = storage_in(path, **parts)
    return storage, buffer_on(storage)


def offer(buffer: Buffer, marker: str, tag: str | None = "tag", size: int = 0) -> bool:
    """Offer a record with this marker, padded to about `size` bytes; tell whether it is in."""
    record = {"message": marker, "pad": "x" * size}
    return buffer.offer(tag, pack_record(record, 1)) is Outcome.ACCEPTED


@dataclass
class SegmentContents(Contents):
    """What is in a segment.

    Attributes:
        chunks: The chunks whose headers are whole, acked ones too, by offset.
    """

    chunks: list[FoundChunk] = field(default_factory=list)


def read_segment(data: bytes, owner: bytes) -> SegmentContents:
    contents = SegmentContents()
    contents.chunks = list(find_chunks(data, owner, contents))
    return contents


@dataclass
class Left:
    """What a reader finds in files.

    Attributes:
        markers: Of records in chunks that are not acked, in the order of shipping.
        stamps: Of the same.
        faults: Whatever could not be read.
        refused: Files of another format.
    """

    markers: list[str] = field(default_factory=list)
    stamps: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    refused: int = 0


def read_files(files: list[bytes], life: bytes) -> Left:
    """Return what the bytes of a life's segments hold."""
    left = Left()
    found = []
    for data in files:
        contents = read_segment(data, life)
        left.refused += contents.refused is not None
        left.faults += [damage.reason for damage in contents.damages]
        found += [(chunk.identity.serial, chunk, data) for chunk in contents.chunks]
    for _, chunk, data in sorted(found, key=lambda each: each[0]):
        if chunk.state == ACKED or not chunk.entries:
            continue
        payload = data[chunk.payload_at : chunk.payload_end]
        read = read_payload(chunk, payload)
        if isinstance(read, Payload):
            records = [record for _, record in unpack_entries(payload)]
            left.markers += [each.get("message") for each in records if "pad" in each]
            left.stamps += [each[KEY] for each in records]
        else:
            left.faults.append(read)
    return left


class WatchedFiles:
    """Maps files, and calls back after every store, also in the middle of a longer copy.

    Args:
        may_allocate: Raises OSError while no file can be made.

    Attributes:
        after_store: Called after each; a crash could come there, and it may raise.
    """

    def __init__(
        self,
        after_store: Callable[[], None] = lambda: None,
        may_allocate: Callable[[], None] = lambda: None,
    ) -> None:
        self.after_store = after_store
        self._may_allocate = may_allocate
        self._mapped: list[tuple[memoryview, mmap.mmap]] = []

    def map(self, descriptor: int, size: int) -> tuple[Mapping, Words]:
        """Be the storage's mapper."""
        self._may_allocate()
        mapping = mmap.mmap(descriptor, size)
        words = memoryview(mapping).cast("Q")
        self._mapped.append((words, mapping))
        return _Watched(self, mapping), _WatchedWords(self, words)

    def close(self) -> None:
        for words, mapping in self._mapped:
            words.release()
            mapping.close()
        self._mapped = []

    def segments(self) -> list[bytes]:
        """Return the bytes of all segments as a crash would leave them now."""
        return [bytes(each) for _, each in self._mapped if each[:8] == b"LGSPSEG\n"]

    def streams(self) -> bytes:
        """Return the bytes of the file `streams` in the same way."""
        (found,) = (bytes(each) for _, each in self._mapped if each[:8] == b"LGSPSTR\n")
        return found


class _Watched:
    def __init__(self, files: WatchedFiles, mapping: mmap.mmap) -> None:
        self._files = files
        self._mapping = mapping

    def __setitem__(self, where: slice, data: bytes) -> None:
        half = len(data) // 2
        self._mapping[where.start or 0 : (where.start or 0) + half] = data[:half]
        self._files.after_store()
        self._mapping[where] = data
        self._files.after_store()

    def __getitem__(self, where: slice) -> bytes:
        return self._mapping[where]


class _WatchedWords:
    def __init__(self, files: WatchedFiles, words: memoryview) -> None:
        self._files = files
        self._words = words

    def __setitem__(self, index: int, word: int) -> None:
        self._words[index] = word
        self._files.after_store()

    def __getitem__(self, index: int) -> int:
        return int(self._words[index])


class Disk:
    """What allocating does: it works, or it fails as a volume does.

    Attributes:
        error: The error to fail with, or None.
        calls: How often it was asked.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: int | None = None
        self.calls = 0
        real = ProcessDirectory.allocate

        def allocate(life: ProcessDirectory, name: str, size: int) -> int:
            self.calls += 1
            if self.error is not None:
                raise OSError(self.error, os.strerror(self.error))
            return real(life, name, size)

        monkeypatch.setattr(ProcessDirectory, "allocate", allocate)


def files(path: Path) -> list[Path]:
    return sorted(path.glob("*/segment-*"))


def ship_all(buffer: Buffer) -> int:
    """Ack everything; return how many chunks that was."""
    buffer.seal_all()
    chunks = 0
    while (chunk := buffer.departure.take()) is not None:
        chunk.before_sending()
        buffer.release(chunk)
        chunks += 1
    return chunks


def books_balance(buffer: Buffer) -> bool:
    """Tell whether the parts of a buffer's report make up all that it accepted."""
    report = buffer.report("test", 0.0)
    parts = report.acked + report.spooled + report.spilled + report.dropped + report.unacked
    return report.accepted == parts
