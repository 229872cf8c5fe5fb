"""What a dead process left in its directory: its streams, its chunks, and what is damaged.

The first part of a recovery. Everything read is untrusted, so files are read and never mapped, and
whatever is damaged is named first and kept in quarantine in a later step.
"""

from __future__ import annotations

import contextlib
from base64 import urlsafe_b64decode
from collections.abc import Iterator

from logship._quoting import quoted
from logship._spool.chunks import Contents, FoundChunk, Payload, read_payload
from logship._spool.directories import STREAMS
from logship._spool.files import FileBytes, pread_all
from logship._spool.format import ACKED, QUARANTINED, STREAMS_BYTES, UNSENT
from logship._spool.orphan import LocatedChunk, Orphan, OrphanStream
from logship._spool.progress import RecoveryState
from logship._spool.segments import find_chunks
from logship._spool.slots import read_streams

CHUNKS_MAX = 65536
TOO_MANY_CHUNKS = f"its directory has more than {CHUNKS_MAX} chunks and streams"
"""What is held of one process directory in memory; its next recovery reads the rest."""


def survey(orphan: Orphan) -> Iterator[RecoveryState]:
    """Find the streams and chunks of an orphan, in small steps.

    Args:
        orphan: Told what is found; nothing of it where `streams` has another format, belongs to
            another directory, or cannot be opened for want of a descriptor.
    """
    if not _read_streams(orphan):
        return
    yield RecoveryState.WORKING
    for name in orphan.directory.segments():
        yield from _read_segment(orphan, name)
    orphan.chunks = _in_order(orphan)
    _name_tags(orphan, orphan.recovery.default_tag())
    _learn_stamps(orphan)
    _name_missing(orphan)
    yield RecoveryState.WORKING


# -- streams ----------------------------------------------------------------------------------


def _read_streams(orphan: Orphan) -> bool:
    """Read the file `streams`; tell whether the directory may be touched."""
    directory = orphan.directory
    data = b""
    try:
        with directory.opened(STREAMS) as descriptor:
            data = pread_all(descriptor, STREAMS_BYTES, 0)
    except FileNotFoundError:
        pass
    except OSError as error:
        # Not the same as none: numbers would be given out again, and streams ended again.
        orphan.refuse(STREAMS, error, is_unread=True)
        orphan.knows_slots = False
        return not orphan.is_worth_a_retry  # then all is sent once, when it can be marked
    contents = read_streams(data, directory.id)
    if contents.refused is not None:
        orphan.refuse(STREAMS, contents.refused, is_unread=contents.is_misplaced)
        return False
    if not contents.is_begun and directory.segments():
        orphan.blame(STREAMS, 0, "the file is missing or empty")
    for damage in contents.damages:
        orphan.blame(STREAMS, damage.first, damage.reason)
    orphan.stamp_key = key = contents.stamp_key
    for found in contents.streams:
        stream = stream_of(found.stream, found.tag, key, is_provisional=found.is_provisional)
        known = orphan.streams.get(found.stream)
        if stream is not None and (known is None or known.is_provisional):
            stream.begin_with(found, shown_by_chunks=not contents.has_header)
            orphan.streams[found.stream] = stream
    return True


def _name_missing(orphan: Orphan) -> None:
    """Name the streams whose newest chunk is missing.

    What is damaged or cannot be read may be what is missing, and is named already.
    """
    if orphan.is_damaged:
        return
    for stream_id, stream in orphan.streams.items():
        if stream.is_cut:
            orphan.miss_segment(stream_id, f"number {stream.opened} and all that follow")


def _name_tags(orphan: Orphan, default_tag: str | None) -> None:
    """Give the tag that is known here to streams whose process died before it knew it."""
    for stream in orphan.streams.values():
        if not stream.is_provisional:
            continue
        if default_tag is not None:
            stream.tag = default_tag
        elif stream.next_number > 1 and not stream.noted_end:
            orphan.say(
                f"the tag of stream {stream.id} was never known; "
                f"it is shipped as {quoted(stream.tag)}"
            )


def _learn_stamps(orphan: Orphan) -> None:
    """Take the key of the stamps from chunks, where it could not be read beside the slots."""
    with contextlib.suppress(ValueError):  # it is no text
        key = None if orphan.stamp_key is None else orphan.stamp_key.decode()
        for stream in orphan.streams.values():
            if not stream.has_stamps:
                stream.have_stamps(key)


# -- chunks -----------------------------------------------------------------------------------


def _read_segment(orphan: Orphan, name: str) -> Iterator[RecoveryState]:
    """Note what is in a segment, and unlink it if no chunk in it is needed."""
    contents = Contents()
    try:
        with orphan.directory.opened(name) as descriptor:
            found = FileBytes(descriptor)
        yield from _read_file(orphan, name, found, contents)
    except OSError as error:
        orphan.refuse(name, error, is_unread=True)
    if contents.refused is not None:
        orphan.refuse(name, contents.refused, is_unread=contents.is_misplaced)
    yield RecoveryState.WORKING
    orphan.unlink_if_done(name)


def _read_file(
    orphan: Orphan, name: str, found: FileBytes, contents: Contents
) -> Iterator[RecoveryState]:
    """Note the chunks of a segment, and keep what is damaged in it.

    Raises:
        OSError: The directory has more chunks than are held.
    """
    held, data = orphan.holds.total(), found.data
    for chunk in find_chunks(data, orphan.directory.id, contents):
        _note_chunk(orphan, name, data, chunk)
        if held + orphan.holds[name] + len(orphan.streams) > CHUNKS_MAX:
            orphan.is_worth_a_retry = True
            raise OSError(TOO_MANY_CHUNKS)
        yield RecoveryState.WORKING
    if contents.refused is not None:
        return
    for damage in contents.damages:
        orphan.blame(name, damage.first, damage.reason)
    for first, why in found.unreadable.items():
        orphan.leave_unread(name, first, why)
    yield RecoveryState.WORKING
    if not found.unreadable:  # else it may be the hole in what was read
        for damage in contents.damages:
            kept_as = f"{orphan.name}-{name}-{damage.first}.damage"
            orphan.keep(kept_as, data[damage.first : damage.last].rstrip(b"\0"))
            yield RecoveryState.WORKING


def _note_chunk(orphan: Orphan, name: str, data: bytes, chunk: FoundChunk) -> None:
    """Note what a chunk shows, and whether it needs its segment."""
    first, is_new = chunk.identity.first, chunk.identity.stream not in orphan.streams
    stream = _stream_of_chunk(orphan, chunk)
    if stream is None:
        orphan.blame(name, chunk.offset, "a chunk's stream id is not valid")
        return
    is_needed = stream.shown_by_chunks
    if chunk.state == ACKED and is_needed:
        _note_payload(stream, chunk, data)
        if is_new and stream.noted_end and first == 1:
            del orphan.streams[chunk.identity.stream]  # that was all of it
            is_needed = False
    elif chunk.state == QUARANTINED:
        if is_needed or not stream.noted_end:  # else its slot says that the gap is declared
            stream.note_damaged(first, first + chunk.checksum)
        is_needed = True
    elif chunk.state != ACKED and chunk.entries:
        orphan.chunks.append(LocatedChunk(name, chunk, 0))
        orphan.counters.unsealed += chunk.state == UNSENT
        is_needed = True
    elif first == stream.opened:
        is_needed = True  # else the next recoverer would miss it
    orphan.holds[name] += is_needed


def _stream_of_chunk(orphan: Orphan, chunk: FoundChunk) -> OrphanStream | None:
    """Return a chunk's stream, which knows what the chunk's header says; None where it is none."""
    identity = chunk.identity
    known = orphan.streams.get(identity.stream)
    if known is None:
        known = stream_of(
            identity.stream,
            identity.tag,
            identity.stamp_key,
            is_provisional=identity.is_provisional,
        )
        if known is None:
            return None
        orphan.streams[identity.stream] = known
    if known.is_provisional and not identity.is_provisional:
        known.tag, known.is_provisional = text_of(identity.tag), False
    orphan.stamp_key = orphan.stamp_key or identity.stamp_key
    known.is_cut = known.is_cut and identity.first != known.opened
    known.note_given(identity.first - 1)
    return known


def _note_payload(stream: OrphanStream, chunk: FoundChunk, data: bytes) -> None:
    """Note how far an acked chunk shows that its stream had come, and whether it has the end."""
    payload = read_payload(chunk, data[chunk.payload_at : chunk.payload_end])
    if isinstance(payload, Payload) and payload.numbers:
        stream.note_given(payload.numbers[-1])
        stream.noted_end = payload.end or stream.noted_end


def _in_order(orphan: Orphan) -> list[LocatedChunk]:
    """Return the chunks in the order of opening, each with where its numbers must have ended.

    Where another chunk of the stream follows, its first number tells. A commit word may be damaged,
    so only that of the last chunk is believed.
    """
    ordered: list[LocatedChunk] = []
    next_first: dict[str, int] = {}
    in_order = sorted(orphan.chunks, key=lambda each: each.chunk.identity.serial)
    for located in reversed(in_order):
        identity = located.chunk.identity
        stream = orphan.streams[identity.stream]
        end = next_first.get(identity.stream)
        if not end:
            entries = min(located.chunk.entries, located.chunk.size)
            stream.note_given(identity.first + entries - 1)
            end = _end_of_last(stream, identity.first, entries)
        next_first[identity.stream] = identity.first
        ordered.append(located._replace(last=max(identity.first, end - 1)))
    return ordered[::-1]


def _end_of_last(stream: OrphanStream, first: int, entries: int) -> int:
    """Return a number that the last chunk of a stream does not reach.

    Numbers that were dropped while the chunk was open are not in it, and its header does not count
    them. The slot knows the last of those; at most so many entries as are counted came after it.
    """
    return max(stream.next_number, max(first + 1, stream.noted_next) + entries - 1)


def text_of(tag: bytes) -> str:
    """Return a tag as text, whatever its bytes are."""
    return tag.decode("utf-8", "backslashreplace")


def stream_of(
    stream_id: str, tag: bytes, stamp_key: bytes | None, *, is_provisional: bool
) -> OrphanStream | None:
    """Return the stream with this id, or None where it is not an id of a stream."""
    try:
        raw = urlsafe_b64decode(stream_id)
        key = None if stamp_key is None else stamp_key.decode()
    except ValueError:
        return None
    stream = OrphanStream(text_of(tag), key, lambda _: raw, is_provisional=is_provisional)
    return stream if stream.id == stream_id else None
