"""Shows what a recoverer makes of damage: it is named, kept and declared, and costs no more."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from logship._buffer.buffer import Buffer
from logship._spool.adoption import AdoptedChunk
from logship._spool.format import COMMIT_AT
from logship._spool.orphans import Orphans
from logship._spool.progress import RecoveryState
from tests.spool.recoveries import (
    Sidecar,
    dead_life,
    log_some,
    next_chunk,
    number_of,
    recover,
)
from tests.spool.spools import KEY, offer, read_segment
from tests.support.packing import pack_record
from tests.unit.accounts import gaps_in


def damage_second_chunk(life: Path) -> None:
    """Make the commit word of the second chunk of the first segment nonsense."""
    segment = min(life.glob("segment-*"))
    data = bytearray(segment.read_bytes())
    chunk = read_segment(bytes(data), bytes.fromhex(life.name)).chunks[1]
    struct.pack_into("=Q", data, chunk.offset + COMMIT_AT, 7 << 32 | 77)
    segment.write_bytes(data)


@pytest.mark.parametrize("seals", [False, True])
def test_numbers_behind_a_dropped_one_are_declared_with_a_damaged_chunk(
    tmp_path: Path, seals: bool
) -> None:
    def fill(buffer: Buffer) -> None:
        for number in range(6):
            if number % 2:
                assert buffer.number_and_drop("tag", pack_record({}, 1))
            assert offer(buffer, f"m{number}")
        if seals:
            buffer.seal_all()

    life = dead_life(tmp_path, fill)  # 2, 6 and 10 are dropped; 3, 7 and 11 say so
    segment = min(life.glob("segment-*"))
    segment.write_bytes(segment.read_bytes().replace(b":0000000001", b":000000000x", 1))
    sidecar = recover(tmp_path)
    assert sidecar.records == []
    gaps = gaps_in(sidecar.controls)
    declared = {number for first, last, _ in gaps for number in range(first, last + 1)}
    assert declared >= {*range(1, 13)}
    assert min(int(each[KEY][13:]) for each in sidecar.controls) > 12  # no number is given twice


def test_a_mark_is_declared_where_only_chunks_show_how_records_are_stamped(tmp_path: Path) -> None:
    """The header of the streams is damaged, and a recoverer died behind a damaged chunk's mark."""
    life = dead_life(tmp_path, lambda buffer: log_some(buffer, 6))
    streams, segment = life / "streams", min(life.glob("segment-*"))
    streams.write_bytes(streams.read_bytes().replace(b"LGSPSTR", b"?GSPSTR"))
    segment.write_bytes(segment.read_bytes().replace(b":0000000001", b":000000000x", 1))
    orphans = Orphans(tmp_path)
    next_chunk(orphans)  # of another stream
    orphans.close()
    sidecar = recover(tmp_path)
    assert gaps_in(sidecar.controls) == [[1, 2, "damaged"]]
    assert not life.exists()


def tear_first_segment(life: Path) -> None:
    """Let the first segment end in its first chunk."""
    segment = min(life.glob("segment-*"))
    data = segment.read_bytes()
    chunk = read_segment(data, bytes.fromhex(life.name)).chunks[0]
    segment.write_bytes(data[: chunk.payload_at - 1])


def damage_the_streams_of_nothing(life: Path) -> None:
    """Damage all slots of `streams`, where there is nothing else."""
    for segment in life.glob("segment-*"):
        segment.unlink()
    streams = life / "streams"
    data = streams.read_bytes()
    streams.write_bytes(data[:64] + bytes(each ^ 0x40 for each in data[64:]))


@pytest.mark.parametrize(
    "damage", [damage_second_chunk, tear_first_segment, damage_the_streams_of_nothing]
)
def test_a_step_that_names_damage_changes_nothing(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """A recoverer that dies before it could tell a person leaves the damage to be named again."""
    life = dead_life(tmp_path, lambda buffer: log_some(buffer, 60))
    damage(life)
    sidecar = Sidecar(Orphans(tmp_path))
    named = 0
    found: AdoptedChunk | RecoveryState = RecoveryState.WORKING
    while found is not RecoveryState.AWAITING_ORPHANS:
        before = _files(tmp_path)
        sidecar.told.clear()
        found = sidecar.orphans.step()
        if sidecar.told and not sidecar.told[0].startswith("shipped"):
            assert _files(tmp_path) == before
            named += 1
        if isinstance(found, AdoptedChunk):
            sidecar.receive(found)
            sidecar.ack_all()
    assert named
    assert not life.exists()


def _files(path: Path) -> dict[Path, bytes]:
    return {each: each.read_bytes() for each in path.rglob("*") if each.is_file()}


def test_a_bit_that_flips_in_the_text_of_a_chunk_that_was_sent_is_seen(tmp_path: Path) -> None:
    def send(buffer: Buffer) -> None:
        log_some(buffer, 3)
        buffer.seal_all()
        while (chunk := buffer.departure.take()) is not None:
            chunk.before_sending()

    life = dead_life(tmp_path, send)
    segment = min(life.glob("segment-*"))
    segment.write_bytes(segment.read_bytes().replace(b"xxx", b"xyx", 1))
    sidecar = recover(tmp_path)
    assert "its checksum is wrong" in sidecar.orphans.counters.notes[0]
    assert len(sidecar.records) == 2


def test_a_damaged_life_is_recovered_the_same_by_the_next_one(tmp_path: Path) -> None:
    life = dead_life(tmp_path, lambda buffer: log_some(buffer, 60))
    damage_second_chunk(life)
    first = Sidecar(Orphans(tmp_path))
    while not any("logship_gap" in each for each in first.controls):
        first.take_in(1)
    first.orphans.close()  # it dies before that is acked
    second = recover(tmp_path)
    gaps = [
        [(each[KEY], each["logship_gap"]) for each in sidecar.controls if "logship_gap" in each]
        for sidecar in (first, second)
    ]
    assert gaps[0] == gaps[1]
    assert len(list((tmp_path / "quarantine").iterdir())) == 1
    assert not life.exists()


def test_a_file_of_another_version_is_reported_and_never_deleted(tmp_path: Path) -> None:
    life = dead_life(tmp_path, log_some)
    segment = min(life.glob("segment-*"))
    data = bytearray(segment.read_bytes())
    data[8] = 99
    segment.write_bytes(data)
    sidecar = recover(tmp_path)
    assert sidecar.orphans.counters.refused == 1
    assert sidecar.orphans.counters.unknown_version == 1
    assert "version 99" in sidecar.orphans.counters.notes[0]
    assert segment.read_bytes() == data
    assert sidecar.controls == []  # a stream whose records are not known is not ended


def test_what_is_in_a_file_of_another_version_is_not_lost_with_the_damaged_chunk_before_it(
    tmp_path: Path,
) -> None:
    def log(buffer: Buffer) -> None:
        for number in range(300):
            assert offer(buffer, f"m{number}", "a", 100)

    life = dead_life(tmp_path, log)
    first, second = sorted(life.glob("segment-*"))[:2]
    data = bytearray(first.read_bytes())
    last = read_segment(bytes(data), bytes.fromhex(life.name)).chunks[-1]
    struct.pack_into("=Q", data, last.offset + COMMIT_AT, 7 << 32 | 77)
    first.write_bytes(data)
    whole = second.read_bytes()
    second.write_bytes(whole[:8] + bytes([99]) + whole[9:])
    notes = "\n".join(recover(tmp_path).orphans.counters.notes)
    assert "version 99" in notes
    assert "a segment is missing" not in notes
    second.write_bytes(whole)
    sidecar = recover(tmp_path)
    ((begin, end, reason),) = gaps_in(sidecar.controls)
    assert reason == "damaged"
    assert not {number_of(each) for each in sidecar.records} & {*range(begin, end + 1)}
    assert not life.exists()


def test_a_life_under_another_name_is_refused_until_it_has_its_own_again(tmp_path: Path) -> None:
    life = dead_life(tmp_path, log_some)
    moved = life.rename(tmp_path / ("a" * 32))
    sidecar = recover(tmp_path)
    assert life.name in sidecar.orphans.counters.notes[0]
    counters = sidecar.orphans.counters
    assert (counters.refused, counters.unknown_version, counters.damaged) == (1, 0, 0)
    moved.rename(life)
    assert len(recover(tmp_path).records) == 30
    assert list(tmp_path.iterdir()) == []


def test_a_segment_of_another_life_does_not_hold_up_the_rest(tmp_path: Path) -> None:
    life, other = dead_life(tmp_path, log_some), dead_life(tmp_path, log_some)
    foreign = min(other.glob("segment-*")).rename(life / "segment-00000099.spool")
    sidecar = recover(tmp_path)
    assert len(sidecar.records) == 30
    assert foreign.exists()
    assert not sidecar.orphans.is_complete
