"""Shows that damage never raises, is never passed over in silence, and costs one chunk each."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from logship._spool.chunks import FoundChunk, read_payload
from logship._spool.format import (
    BEGUN_AT,
    COMMIT_AT,
    EXTENT_AT,
    GENERATION_AT,
    SLOTS,
    STREAMS_BYTES,
    pack_slot,
    pack_streams_header,
    slot_at,
)
from logship._spool.slots import read_streams
from tests.spool.spools import (
    Left,
    WatchedFiles,
    buffer_on,
    offer,
    read_files,
    read_segment,
    spooled,
    storage_in,
)
from tests.unit.accounts import taken

ROUNDS = 1500
RECORDS = 24


class Written:
    """A segment with chunks of several tags, some of them acked, and what should be in it."""

    def __init__(self, path: Path) -> None:
        files = WatchedFiles()
        storage, buffer = spooled(path, mapper=files.map)
        for number in range(RECORDS):
            assert offer(buffer, f"m{number}", "abc"[number % 3], 200)
            if number % 8 == 7:
                chunk = taken(buffer)
                chunk.before_sending()
                if number == 7:
                    buffer.release(chunk)
        assert storage._own is not None
        self.life = storage._own.directory.id
        self.data = files.segments()[0]
        assert [len(each) for each in files.segments()] == [len(self.data)]
        storage.abandon()  # leave the files as a kill would
        self.whole = self.read(self.data)
        assert self.whole.faults == []
        assert len(self.whole.markers) > RECORDS // 2
        self.chunks = read_segment(self.data, self.life).chunks
        self.used = max(chunk.payload_end for chunk in self.chunks)

    def read(self, data: bytes) -> Left:
        return read_files([data], self.life)

    def lost(self, data: bytes) -> set[str]:
        """Return the stamps of what cannot be read any more, which must not be silent.

        A chunk that was never sent has no checksum: a bit that flips in a text is not seen, and
        one that flips in a number renames a record. But the record is there.
        """
        left = self.read(data)
        if not left.faults and not left.refused:
            assert len(left.stamps) >= len(self.whole.stamps), "records are gone without a word"
        return set(self.whole.stamps) - set(left.stamps)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return Written(tmp_path_factory.mktemp("spool"))


def _flip(dice: random.Random, data: bytearray, used: int) -> None:
    data[dice.randrange(used)] ^= 1 << dice.randrange(8)


def _zero(dice: random.Random, data: bytearray, used: int) -> None:
    at = dice.randrange(used)
    length = min(dice.choice((1, 8, 64, 512, 4096)), len(data) - at)
    data[at : at + length] = bytes(length)


def _garble(dice: random.Random, data: bytearray, used: int) -> None:
    at = dice.randrange(used)
    length = min(dice.choice((1, 8, 64, 512)), len(data) - at)
    data[at : at + length] = dice.randbytes(length)


def _truncate(dice: random.Random, data: bytearray, used: int) -> None:
    del data[dice.randrange(used) :]


def _move(dice: random.Random, data: bytearray, used: int) -> None:
    source, target = dice.randrange(used), dice.randrange(used)
    length = dice.choice((64, 512))
    data[target : target + length] = data[source : source + length]


@pytest.mark.parametrize("damage", [_flip, _zero, _garble, _truncate, _move])
def test_no_damage_raises_or_is_silent(
    written: Written, damage: Callable[[random.Random, bytearray, int], None]
) -> None:
    for seed in range(ROUNDS // 5):
        dice = random.Random(seed)
        data = bytearray(written.data)
        for _ in range(dice.choice((1, 1, 3))):
            damage(dice, data, min(written.used, len(data) or 1))
            if not data:
                break
        written.lost(bytes(data))


def test_a_flipped_bit_costs_at_most_one_chunk(written: Written) -> None:
    version_and_order = range(8, 16)  # there the file is refused, and kept
    chunk_of = {
        stamp: chunk.offset
        for stamp in written.whole.stamps
        for chunk in written.chunks
        if stamp.encode() in written.data[chunk.payload_at : chunk.payload_end]
    }
    for seed in range(ROUNDS):
        dice = random.Random(seed)
        at = dice.randrange(written.used)
        data = bytearray(written.data)
        data[at] ^= 1 << dice.randrange(8)
        lost = written.lost(bytes(data))
        if at not in version_and_order:
            assert len({chunk_of[stamp] for stamp in lost}) <= 1, at


@pytest.mark.parametrize(
    ("place", "word"),
    [
        (COMMIT_AT, 0),
        (COMMIT_AT, 2**64 - 1),
        (COMMIT_AT, 3 << 32 | 100),
        (EXTENT_AT, 1),
        (EXTENT_AT, 64),
        (EXTENT_AT, 2**63),
        (EXTENT_AT, 0),
    ],
)
def test_a_wrong_word_in_a_chunks_header_is_named(written: Written, place: int, word: int) -> None:
    chunk = _first_unacked_with_followers(written)
    data = bytearray(written.data)
    struct.pack_into("=Q", data, chunk.offset + place, word)
    left = written.read(bytes(data))
    assert left.faults
    assert set(written.whole.stamps) - set(left.stamps) <= _stamps_of(written, chunk)


@pytest.mark.parametrize("word", [0, 1, 2**64 - 1])
@pytest.mark.parametrize("place", [GENERATION_AT, BEGUN_AT])
def test_a_wrong_generation_loses_nothing(written: Written, place: int, word: int) -> None:
    data = bytearray(written.data)
    before = struct.unpack_from("=Q", data, place)[0]
    struct.pack_into("=Q", data, place, word)
    left = written.read(bytes(data))
    assert bool(left.faults) == (word != before)
    assert left.markers == written.whole.markers


def test_another_byte_order_is_refused(written: Written) -> None:
    data = bytearray(written.data)
    data[12:16] = data[12:16][::-1]
    assert "byte order" in (read_segment(bytes(data), written.life).refused or "")


def test_where_no_header_is_whole_the_damage_is_all_of_the_file(written: Written) -> None:
    """A sector of the disk holds the segment's header and that of its only chunk."""
    data = b"?" * 64 + written.data[64:].replace(b"LGSPCHK", b"???????")
    (damage,) = read_segment(data, written.life).damages
    assert (damage.first, damage.last) == (0, len(data))


def test_an_only_entry_that_a_flipped_bit_makes_none_is_named(tmp_path: Path) -> None:
    """Whatever bit of the commit word it is, also the one that says that there is one entry."""
    files = WatchedFiles()
    storage = storage_in(tmp_path, mapper=files.map)
    assert offer(buffer_on(storage), "only")
    assert storage._own is not None
    whole, life = files.segments()[0], storage._own.directory.id
    (chunk,) = read_segment(whole, life).chunks
    for bit in range(64):
        data = bytearray(whole)
        data[chunk.offset + COMMIT_AT + bit // 8] ^= 1 << bit % 8
        left = read_files([bytes(data)], life)
        assert left.faults, bit


def test_a_record_that_holds_the_bytes_of_a_chunk_is_no_chunk(tmp_path: Path) -> None:
    """An application that logs a spool file must not have its records counted twice."""
    files = WatchedFiles()
    storage, buffer = spooled(tmp_path, mapper=files.map)
    assert offer(buffer, "first")
    assert storage._own is not None
    life, header = storage._own.directory.id, files.segments()[0][64:256]
    for shift in range(64):  # one of them is aligned
        assert offer(buffer, f"copy-{shift}")
        buffer.offer("tag", b"\x92\xd7\x00" + bytes(8) + _record(b"z" * shift + header))
    left = read_files(files.segments(), life)
    assert left.faults == []
    assert left.markers[0] == "first"
    assert len(left.markers) == 65


def _record(value: bytes) -> bytes:
    """Return a map of one binary field, whose header counts the stamp too."""
    return b"\x82\xa1m" + b"\xc5" + struct.pack(">H", len(value)) + value


def test_a_payload_with_the_right_checksum_is_decoded_all_the_same(written: Written) -> None:
    """A spool is untrusted: servers acknowledge malformed entries, and drop them."""
    chunk = written.chunks[-1]
    payload = written.data[chunk.payload_at : chunk.payload_end]
    for seed in range(300):
        dice = random.Random(seed)
        changed = bytearray(payload)
        changed[dice.randrange(len(changed))] = dice.randrange(256)
        sealed = chunk._replace(state=int.from_bytes(b"seal", "big"))
        sealed = sealed._replace(checksum=zlib.crc32(bytes(changed)))
        read_payload(sealed, bytes(changed))  # a fault or a payload, never an exception


def test_stale_entries_cannot_pass_for_new_ones(written: Written) -> None:
    """After a power cut the commit word may be new and the payload of an earlier use."""
    chunk = written.chunks[-1]
    payload = written.data[chunk.payload_at : chunk.payload_end]
    later = chunk._replace(
        state=int.from_bytes(b"open", "big"),
        identity=chunk.identity._replace(first=chunk.identity.first + 100),
    )
    assert read_payload(later, payload) == "its stamps are not those of its stream, or not in order"


def test_streams_survive_damage_to_their_neighbours() -> None:
    life = bytes(range(16))
    data = bytearray(STREAMS_BYTES)
    data[:320] = pack_streams_header(life, 7, b"logship_id")
    for slot in range(SLOTS):
        data[slot_at(slot) : slot_at(slot) + 320] = pack_slot(f"{slot:012d}", b"t", slot + 1, life)
    assert len(read_streams(bytes(data), life).streams) == SLOTS
    for seed in range(50):
        damaged = bytearray(data)
        dice = random.Random(seed)
        damaged[dice.randrange(320, len(data))] ^= 1 << dice.randrange(8)
        contents = read_streams(bytes(damaged), life)
        assert contents.stamp_key == b"logship_id"
        assert len(contents.streams) >= SLOTS - 1
    for length in range(9999, len(data), 9999):
        assert read_streams(bytes(data[:length]), life).damages


@pytest.mark.parametrize("size", [0, 10, 64, 4096])
def test_a_file_whose_maker_was_killed_is_no_damage(size: int) -> None:
    contents = read_segment(bytes(size), bytes(16))
    assert (contents.chunks, contents.damages, contents.refused) == ([], [], None)
    assert not read_streams(bytes(size), bytes(16)).is_begun


def _first_unacked_with_followers(written: Written) -> FoundChunk:
    return next(
        each
        for each in written.chunks[1:-1]
        if each.state != int.from_bytes(b"ackd", "big") and each.entries > 1
    )


def _stamps_of(written: Written, chunk: FoundChunk) -> set[str]:
    payload = written.data[chunk.payload_at : chunk.payload_end]
    return {stamp for stamp in written.whole.stamps if stamp.encode() in payload}
