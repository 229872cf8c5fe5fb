"""What a dead process left in its directory: its streams, its chunks, and what is damaged.

The first part of a recovery. Everything read is untrusted, so files are read and never mapped, and
whatever is damaged is named first and kept in quarantine in a later step.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Iterator

from logship.buffer.ranges import Gap
from logship.buffer.stream import Stream
from logship.quoting import quoted
from logship.spool.chunks import FoundChunk, Payload, read_payload
from logship.spool.directories import STREAMS, ProcessDirectory
from logship.spool.files import FileBytes, pread_all
from logship.spool.format import ACKED, OPEN, QUARANTINED, STREAMS_BYTES
from logship.spool.marks import LocatedChunk, Marks, OrphanStream, SegmentFile
from logship.spool.progress import RecoveryCounters, RecoveryState
from logship.spool.segments import SegmentContents, read_segment
from logship.spool.slots import StreamsContents, read_streams
from logship.spool.trouble import Trouble

DAMAGED_REASON = "damaged"
"""The word in gaps for records that could not be read from the spool."""


class Survey:
    """The streams and chunks of one process directory.

    Args:
        directory: The process directory, locked by us.
        trouble: What is bad in it.
        marks: Holds the files that are opened.
        counters: Counters of the whole recovery.
        default_tag: Tag of a stream whose process never learned it, or None.

    Attributes:
        streams: Streams by id.
        chunks: Chunks that are to be shipped; after `finish` in the order of opening.
        stamp_key: The field of the stamps, as far as it is known.
        has_header: Whether the header of `streams` is whole.
    """

    def __init__(
        self,
        directory: ProcessDirectory,
        trouble: Trouble,
        marks: Marks,
        counters: RecoveryCounters,
        default_tag: str | None,
    ) -> None:
        self.streams: dict[str, OrphanStream] = {}
        self.chunks: list[LocatedChunk] = []
        self.stamp_key: bytes | None = None
        self.has_header = False
        self._directory = directory
        self._trouble = trouble
        self._marks = marks
        self._counters = counters
        self._default_tag = default_tag
        self._followers: dict[int, int] = {}

    def read_streams(self) -> bool:
        """Read the file `streams`; tell whether the directory may be touched."""
        contents = self._streams_contents()
        if contents is None:
            return True
        if contents.refused is not None:
            self._trouble.refuse_format(STREAMS, contents.refused)
            return False
        for damage in contents.damages:
            self._trouble.blame(STREAMS, damage.first, damage.reason)
        self.stamp_key, self.has_header = contents.stamp_key, contents.has_header
        for found in contents.streams:
            stream = stream_of(
                found.stream, found.tag, contents.stamp_key, is_provisional=found.is_provisional
            )
            known = self.streams.get(found.stream)
            if stream is not None and (known is None or known.stream.is_provisional):
                self.streams[found.stream] = OrphanStream(stream, found)
        return True

    def read_segment(self, name: str) -> Iterator[RecoveryState]:
        """Find the chunks of one file, and keep what is damaged in it."""
        try:
            file = SegmentFile(name, self._directory.open_file(name))
            self._marks.files.append(file)
            data = self._directory.contents(name, file.descriptor)
            contents = read_segment(data, self._directory.id)
            if data.is_unreadable:
                data.raise_if_unreadable()
        except OSError as error:
            self._refuse_unread(name, error)
            yield RecoveryState.WORKING
            return
        if contents.refused is not None:
            self._trouble.refuse_format(name, contents.refused)
            yield RecoveryState.WORKING
            return
        self._note_contents(file, data, contents)
        yield RecoveryState.WORKING
        if contents.damages and not data.unreadable:  # else it may be the hole in what was read
            for damage in contents.damages:
                kept_as = f"{self._directory.name}-{name}-{damage.first}.damage"
                self._trouble.keep_part(kept_as, data, damage.first, damage.last)
            yield RecoveryState.WORKING
        if any(chunk.entries for chunk in contents.chunks):
            self._marks.unlink_if_done(file)

    def _refuse_unread(self, name: str, error: OSError) -> None:
        self._trouble.is_unread = True
        self._trouble.refuse_file(name, str(error))

    def _note_contents(self, file: SegmentFile, data: FileBytes, contents: SegmentContents) -> None:
        for damage in contents.damages:
            self._trouble.blame(file.name, damage.first, damage.reason)
        for chunk in contents.chunks:
            self._note_chunk(file, chunk)
            if chunk.state == ACKED:
                self._note_acked(file, chunk, data)
        for first, why in data.unreadable.items():
            self._trouble.leave_unread(file.name, first, why)

    def finish(self, segments: list[str]) -> None:
        """Put the chunks in order, and name the streams' tags, once all `segments` are read."""
        self.chunks.sort(key=lambda each: each.chunk.identity.serial)
        self._note_followers()
        self._name_tags()
        if not segments and not self._trouble.is_unread:
            self._name_missing()

    def _name_missing(self) -> None:
        """Name the streams of a directory without segments from which nothing was ever acked.

        The writer keeps its last segment. Recovery notes the number of an acked chunk before it
        unlinks the segment, and frees the slots of streams without records before the last one.
        """
        unacked = [each for each in self.streams.values() if each.noted_next == 1]
        if len(unacked) == len(self.streams):
            for orphan in unacked:
                self._trouble.miss_segment(orphan.stream.id, "records")

    def last_lost_with(self, located: LocatedChunk) -> int:
        """Return the last number that is lost where this chunk is damaged.

        It is the one before the stream's next chunk, or before its highest known number.
        """
        return max(located.chunk.identity.first, self._followers[id(located)] - 1)

    def is_shown_by_chunks(self, stream: OrphanStream) -> bool:
        """Tell whether only chunks show how far a stream came, or how its records are stamped."""
        return stream.slot is None or not self.has_header

    def note_lost(self, file: SegmentFile, stream: OrphanStream, gap: Gap) -> None:
        """Note numbers that will not arrive; their file stays until that is declared and acked."""
        stream.gaps.append(gap)
        stream.next_number = max(stream.next_number, gap.last + 1)
        file.is_needed = True

    def _streams_contents(self) -> StreamsContents | None:
        """Return what the file `streams` holds; None where there is none and nothing to name."""
        try:
            self._marks.streams_descriptor = self._directory.open_file(STREAMS)
            data = pread_all(self._marks.streams_descriptor, STREAMS_BYTES, 0)
        except FileNotFoundError:
            contents = StreamsContents(is_begun=False)
        except OSError as error:
            # Not the same as none: numbers would be given out again, and streams ended again.
            self._refuse_unread(STREAMS, error)
            return None
        else:
            contents = read_streams(data, self._directory.id)
        if not contents.is_begun and self._directory.segments():
            self._trouble.blame(STREAMS, 0, "the file is missing or empty")
        return contents if contents.is_begun else None

    def _note_chunk(self, file: SegmentFile, chunk: FoundChunk) -> None:
        identity = chunk.identity
        if identity.stream not in self.streams:
            stream = stream_of(
                identity.stream,
                identity.tag,
                identity.stamp_key,
                is_provisional=identity.is_provisional,
            )
            if stream is None:
                self._trouble.blame(file.name, chunk.offset, "a chunk's stream is no stream")
                return
            self.streams[identity.stream] = OrphanStream(stream, None)
        orphan = self.streams[identity.stream]
        if orphan.stream.is_provisional and not identity.is_provisional:
            orphan.stream.tag = text_of(identity.tag)
            orphan.stream.is_provisional = False
        self.stamp_key = self.stamp_key or identity.stamp_key
        plausible = min(chunk.entries, chunk.size)
        orphan.next_number = max(orphan.next_number, identity.first + plausible)
        if chunk.state == QUARANTINED:
            gap = Gap(identity.first, identity.first + chunk.checksum, DAMAGED_REASON)
            self.note_lost(file, orphan, gap)
        elif chunk.state != ACKED and chunk.entries:
            self.chunks.append(LocatedChunk(file, chunk))
            self._counters.unsealed += chunk.state == OPEN
            file.pending += 1

    def _note_acked(self, file: SegmentFile, chunk: FoundChunk, data: FileBytes) -> None:
        """Note how far a stream without a slot had come when a recoverer before us died."""
        orphan = self.streams.get(chunk.identity.stream)
        if orphan is None or not self.is_shown_by_chunks(orphan):
            return
        file.is_needed = True
        payload = read_payload(chunk, data[chunk.payload_at : chunk.payload_end])
        if isinstance(payload, Payload) and payload.numbers:
            orphan.ended = orphan.ended or payload.end is not None
            orphan.next_number = max(orphan.next_number, payload.numbers[-1] + 1)

    def _note_followers(self) -> None:
        """Note where each chunk's numbers must have ended: before those of the next one."""
        next_first: dict[str, int] = {}
        for located in reversed(self.chunks):
            identity = located.chunk.identity
            known = next_first.get(identity.stream, self.streams[identity.stream].next_number)
            self._followers[id(located)] = known
            next_first[identity.stream] = identity.first

    def _name_tags(self) -> None:
        """Give the tag that is known here to streams whose process died before it knew it."""
        for orphan in self.streams.values():
            if not orphan.stream.is_provisional:
                continue
            if self._default_tag is not None:
                orphan.stream.tag = self._default_tag
            elif orphan.next_number > 1 and not orphan.ended:
                self._trouble.say(
                    f"the tag of stream {orphan.stream.id} was never known; "
                    f"it is shipped as {quoted(orphan.stream.tag)}"
                )


def text_of(tag: bytes) -> str:
    """Return a tag as text, whatever its bytes are."""
    return tag.decode("utf-8", "backslashreplace")


def stream_of(
    stream_id: str, tag: bytes, stamp_key: bytes | None, *, is_provisional: bool = False
) -> Stream | None:
    """Return the stream with this id, or None where it is no id of a stream."""
    try:
        raw = urlsafe_b64decode(stream_id)
        key = None if stamp_key is None else stamp_key.decode("utf-8")
    except ValueError:
        return None
    stream = Stream(text_of(tag), key, lambda _: raw, is_provisional=is_provisional)
    return stream if stream.id == stream_id else None
