"""Shows what a recoverer makes of a dead life: everything once, in order, and its end proved."""

from __future__ import annotations

import contextlib
import errno
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logship._buffer.buffer import Buffer
from logship._reasons import OVERFLOW, QUARANTINED
from logship._spool import adoption
from logship._spool.adoption import AdoptedChunk
from logship._spool.directories import ProcessDirectory, process_directories
from logship._spool.format import COMMIT_AT, SLOT_CHECKSUM_AT, slot_at
from logship._spool.inspection import inspect_spool
from logship._spool.orphans import Orphans
from logship._spool.progress import RecoveryState
from logship.testing import ManualClock
from tests.spool.recoveries import (
    STEPS_MAX,
    Sidecar,
    dead_life,
    descriptors_left,
    log_some,
    next_chunk,
    recover,
    ship,
)
from tests.spool.spools import KEY, a_buffer, buffer_on, offer, read_segment, storage_in
from tests.support.packing import pack_record
from tests.unit.accounts import gaps_in, taken


def test_everything_comes_in_order_and_nothing_is_left(tmp_path: Path) -> None:
    dead_life(tmp_path, log_some)
    sidecar = recover(tmp_path)
    for tag in range(3):
        mine = [f"m{number}" for number in range(tag, 30, 3)]
        assert [each for each in sidecar.markers if each in mine] == mine
    assert len(sidecar.markers) == 30
    assert list(tmp_path.iterdir()) == []
    counters = sidecar.orphans.counters
    assert (counters.lives, counters.lives_finished, counters.damaged) == (1, 1, 0)
    assert (counters.records, counters.records_acked) == (30, 30)


def test_an_inspection_counts_the_chunks_of_a_stream_together(tmp_path: Path) -> None:
    dead_life(tmp_path, lambda buffer: log_some(buffer, 90))
    (found,) = inspect_spool(tmp_path)
    assert isinstance(found["streams"], list)
    counts = [(each["tag"], each["first"], each["entries"]) for each in found["streams"]]
    assert counts == [("a", 1, 30), ("b", 1, 30), ("c", 1, 30)]
    assert found["entries"] == 90
    assert found["chunks"] == sum(each["chunks"] for each in found["streams"])


def test_the_oldest_life_comes_first(tmp_path: Path) -> None:
    for born, name in ((3, "third"), (1, "first"), (2, "second")):
        dead_life(
            tmp_path,
            lambda buffer, name=name: log_some(buffer, 1, name),  # type: ignore[misc]
            time_ns=lambda born=born: born,
        )
    assert recover(tmp_path).markers == ["first0", "second0", "third0"]


def test_many_orphans_are_found_by_few_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def look(parent: int) -> list[str]:
        looks.append(parent)
        return process_directories(parent)

    for number in range(20):
        dead_life(tmp_path, lambda buffer, name=f"m{number}-": log_some(buffer, 1, name))  # type: ignore[misc]
    monkeypatch.setattr("logship._spool.orphans.process_directories", look)
    assert len(recover(tmp_path).records) == 20
    assert len(looks) < 5


def test_a_process_that_dies_after_a_look_is_found_by_the_next(tmp_path: Path) -> None:
    for name in "ab":
        dead_life(tmp_path, lambda buffer, name=name: log_some(buffer, 1, name))  # type: ignore[misc]
    alive = storage_in(tmp_path)
    assert offer(buffer_on(alive), "last", "a")
    sidecar = Sidecar(Orphans(tmp_path))
    sidecar.take_in(1)
    alive.abandon()
    sidecar.take_in()
    assert sorted(sidecar.markers) == ["a0", "b0", "last"]
    assert sidecar.orphans.is_complete


def test_orphans_that_are_recovered_together_are_told_of_in_one_line(tmp_path: Path) -> None:
    lives = [dead_life(tmp_path, log_some, time_ns=lambda n=n: n) for n in range(3)]
    sidecar = Sidecar(Orphans(tmp_path, owner_of=lambda name: f"<{name}>", monotonic=lambda: 7.0))
    sidecar.take_in(chunks=9)  # one of each tag, which are all
    sidecar.ack_all()
    sidecar.take_in(chunks=8)  # of the nine that end their streams
    assert not sidecar.told
    sidecar.take_in()
    shipped = "; ".join(f"30 records that <{each.name}> left (took 0.0 s)" for each in lives)
    assert sidecar.told == [f"shipped {shipped}"]


def test_a_forked_child_does_not_tell_what_its_parent_has_shipped(tmp_path: Path) -> None:
    for _ in range(2):
        dead_life(tmp_path, log_some)
    sidecar = Sidecar(Orphans(tmp_path))
    sidecar.take_in(chunks=6)  # those of both
    sidecar.ack_all()
    while not sidecar.orphans.counters.lives_finished:
        sidecar.take_in(chunks=1)
        sidecar.ack_all()
    assert not sidecar.orphans.is_idle
    sidecar.orphans.abandon()
    assert not sidecar.told


def test_a_stream_whose_records_are_all_acked_is_ended_too(tmp_path: Path) -> None:
    def all_acked(buffer: Buffer) -> None:
        log_some(buffer)
        buffer.seal_all()
        while (chunk := buffer.departure.take()) is not None:
            buffer.release(chunk)
        assert offer(buffer, "last", "other")  # begins the segment anew: the headers are gone

    dead_life(tmp_path, all_acked)
    sidecar = recover(tmp_path)
    assert sidecar.markers == ["last"]
    assert sorted(int(each[KEY][13:]) for each in sidecar.controls) == [2, 11, 11, 11]


def test_numbers_that_are_nowhere_on_the_spool_are_not_given_out_again(tmp_path: Path) -> None:
    """Records dropped, or taken in memory, have numbers as well."""

    def burns(buffer: Buffer) -> None:
        assert offer(buffer, "m", "a")
        for _ in range(5):
            buffer.number_and_drop("a", b"")

    dead_life(tmp_path, burns)
    (end,) = recover(tmp_path).controls
    assert end[KEY][13:] == "0000000007"


def test_a_stream_whose_end_record_is_acked_is_not_ended_again(tmp_path: Path) -> None:
    def closes(buffer: Buffer) -> None:
        log_some(buffer, 3)
        buffer.close_intake()
        chunk = taken(buffer)
        buffer.release(chunk)

    dead_life(tmp_path, closes)
    sidecar = recover(tmp_path)
    assert len(sidecar.records) == 2
    assert len(sidecar.controls) == 2


@pytest.mark.parametrize("damaged", [range(0), range(16, 17), range(10_000)])
@pytest.mark.parametrize("seed", range(20))
def test_recoverers_that_die_anywhere_lose_nothing_and_end_each_stream_once(
    tmp_path: Path, seed: int, damaged: range
) -> None:
    """What the next one sends again is the same: ids, stamps, the numbers of the end records."""
    dice = random.Random(seed)
    life = dead_life(tmp_path, lambda buffer: log_some(buffer, 60))
    streams = bytearray((life / "streams").read_bytes())
    for at in damaged:  # the stamps' key is not known then, or no stream
        streams[at] ^= 0x55
    (life / "streams").write_bytes(streams)
    records: dict[str, set[str]] = {}
    ends: dict[str, set[str]] = {}
    for _ in range(200):
        sidecar = Sidecar(Orphans(tmp_path))
        sidecar.take_in(dice.randrange(1, 9))
        if dice.random() < 0.5:
            sidecar.ack_all()
        sidecar.orphans.close()  # as death does
        for each in sidecar.records:
            records.setdefault(each["message"], set()).add(each[KEY])
        for each in sidecar.controls:
            ends.setdefault(each[KEY][:12], set()).add(each[KEY])
        if not list(tmp_path.iterdir()):
            break
    assert list(tmp_path.iterdir()) == []
    assert len(records) == 60
    assert all(len(stamps) == 1 for stamps in records.values())
    assert len(ends) == 3
    assert all(len(stamps) == 1 for stamps in ends.values())


def test_what_one_recoverer_had_acked_the_next_does_not_ship(tmp_path: Path) -> None:
    dead_life(tmp_path, lambda buffer: log_some(buffer, 60))
    first = Sidecar(Orphans(tmp_path))
    first.take_in(5)
    first.ack_all()
    first.orphans.close()
    second = recover(tmp_path)
    assert len(first.ids) == 5
    assert set(first.ids).isdisjoint(second.ids)
    assert len(first.records) + len(second.records) == 60


def test_an_ack_that_comes_after_the_lock_was_given_up_touches_nothing(tmp_path: Path) -> None:
    life = dead_life(tmp_path, log_some)
    first = Sidecar(Orphans(tmp_path))
    first.take_in(2)
    first.orphans.close()
    innocent = tmp_path / "innocent"
    innocent.write_bytes(bytes(100_000))
    with contextlib.ExitStack() as stack:  # they get the numbers of the descriptors that are closed
        for _ in range(20):
            stack.enter_context(innocent.open("r+b"))
        before = {each: each.read_bytes() for each in life.iterdir()}
        first.ack_all()
    assert innocent.read_bytes() == bytes(100_000)
    assert {each: each.read_bytes() for each in life.iterdir()} == before


def test_a_life_may_have_more_segments_than_a_program_has_descriptors(tmp_path: Path) -> None:
    def log(buffer: Buffer) -> None:
        for number in range(300):
            assert offer(buffer, f"m{number}", "a", 1500)

    life = dead_life(tmp_path, log)
    assert len(list(life.glob("segment-*"))) > 30
    with descriptors_left(12):
        sidecar = recover(tmp_path)
    assert sidecar.orphans.is_complete
    assert sidecar.markers == [f"m{number}" for number in range(300)]
    assert not life.exists()


def test_a_segment_goes_when_its_chunks_are_acked(tmp_path: Path) -> None:
    life = dead_life(tmp_path, lambda buffer: log_some(buffer, 300))
    files = len(list(life.glob("segment-*")))
    assert files > 3
    sidecar = Sidecar(Orphans(tmp_path))
    left = set()
    for _ in range(STEPS_MAX):
        sidecar.take_in(1)
        sidecar.ack_all()
        if not life.exists():
            break
        left.add(len(list(life.glob("segment-*"))))
    assert {1, 2, 3} <= left


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


def test_a_refused_record_s_chunk_is_shipped_again_where_the_directory_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the same chunk. Its stream is ended behind the gap, and not once more."""

    def fill(buffer: Buffer) -> None:
        assert offer(buffer, "poison")
        assert offer(buffer, "good")
        buffer.close_intake()

    life = dead_life(tmp_path, fill)
    orphans = Orphans(tmp_path)
    with monkeypatch.context() as context:
        context.setattr(ProcessDirectory, "remove", _cannot_be_removed)
        first = ship(orphans, takes=lambda record: record["message"] != "poison")
    orphans.close()
    assert life.exists()
    sidecar = recover(tmp_path)
    assert sidecar.markers == ["poison", "good"]
    *shipped, gap, end = first
    assert (gap["logship_gap"], end["logship_end"]) == ([1, 1, "quarantined"], "recovered")
    assert [*sidecar.records[1:], *sidecar.controls] == shipped
    assert not life.exists()


def test_an_ack_closes_no_segment_that_a_step_reads(tmp_path: Path) -> None:
    def log(buffer: Buffer) -> None:
        assert offer(buffer, "whole", "a")
        assert offer(buffer, "torn", "b")

    life = dead_life(tmp_path, log)
    (segment,) = (each for each in life.glob("segment-*") if b"torn" in each.read_bytes())
    data = bytearray(segment.read_bytes())
    torn = read_segment(bytes(data), bytes.fromhex(life.name)).chunks[1]
    data[torn.payload_at] = 0xC1  # no msgpack begins so
    segment.write_bytes(data)
    sidecar = Sidecar(Orphans(tmp_path))
    sidecar.take_in(1)
    assert sidecar.orphans.step() is RecoveryState.WORKING  # the damaged chunk is named
    sidecar.ack_all()
    sidecar.take_in()
    (kept,) = (tmp_path / "quarantine").iterdir()
    assert b"torn" in kept.read_bytes()
    assert not life.exists()


def test_a_stream_without_a_slot_is_ended_by_each_recoverer_with_one_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing stores that it has ended, so the gap of the refused record is declared again."""
    life = dead_life(tmp_path, lambda buffer: log_some(buffer, 4))
    streams = life / "streams"
    data = bytearray(streams.read_bytes())
    data[slot_at(0) + SLOT_CHECKSUM_AT] ^= 1
    streams.write_bytes(data)
    ends = []
    for _ in range(2):
        orphans = Orphans(tmp_path)
        with monkeypatch.context() as context:
            context.setattr(ProcessDirectory, "remove", _cannot_be_removed)
            taken = ship(orphans, takes=lambda record: record["message"] != "m3")
        orphans.close()
        ends.append([each[KEY] for each in taken if "logship_end" in each])
    assert len(ends[0]) == 3
    assert set(ends[1]) <= set(ends[0])


def _cannot_be_removed(directory: ProcessDirectory) -> None:
    directory.leave()
    raise OSError(errno.EROFS, "read-only file system")


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
    """Whoever dies before it could tell anybody leaves it to be named again."""
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


def test_a_record_that_no_server_takes_is_quarantined(tmp_path: Path) -> None:
    life = dead_life(tmp_path, lambda buffer: log_some(buffer, 3))
    taken = ship(Orphans(tmp_path), takes=lambda record: record["message"] != "m0")
    assert gaps_in(taken) == [[1, 1, "quarantined"]]
    assert len(list((tmp_path / "quarantine").glob("*.entry"))) == 1
    assert not life.exists()


def takes_every_second(record: dict[str, Any]) -> bool:
    return "logship_id" not in record or is_ours(record) or number_of(record) % 2 == 0


def is_ours(record: dict[str, Any]) -> bool:
    return "logship_end" in record or "logship_gap" in record


def number_of(record: dict[str, Any]) -> int:
    return int(record[KEY][13:])


def test_gaps_that_are_too_many_for_one_chunk_are_told_in_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adoption, "_CONTROLS_MAX", 2)
    life = dead_life(tmp_path, log_some)
    taken = ship(Orphans(tmp_path), takes=takes_every_second)
    assert not life.exists()
    for stream in {each[KEY][:12] for each in taken}:
        told = [each for each in taken if each[KEY][:12] == stream and is_ours(each)]
        gaps = [each["logship_gap"][0] for each in told if "logship_gap" in each]
        assert gaps == [1, 3, 5, 7, 9]
        assert [each for each in told if "logship_end" in each] == told[-1:]
        assert [number_of(each) for each in told] == [*range(11, 17)]


def test_an_end_is_not_told_before_all_gaps_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adoption, "_CONTROLS_MAX", 2)
    life = dead_life(tmp_path, log_some)

    def takes_not_all_gaps(record: dict[str, Any]) -> bool:
        return takes_every_second(record) and record.get("logship_gap") != [7, 7, QUARANTINED]

    first = Orphans(tmp_path)
    early = ship(first, takes=takes_not_all_gaps)
    first.close()
    assert not [each for each in early if "logship_end" in each]
    assert life.exists()
    late = ship(Orphans(tmp_path), takes=takes_every_second)
    assert len([each for each in late if "logship_end" in each]) == 3
    assert not life.exists()


def drops_one_and_closes(buffer: Buffer) -> None:
    assert offer(buffer, "m0")
    chunk = taken(buffer)
    buffer.give_up(chunk, QUARANTINED)
    assert offer(buffer, "m2")
    buffer.close_intake()


LAST_WORDS = {
    "an end that a recoverer tells": (log_some, "logship_end"),
    "a gap that a recoverer tells": (log_some, "logship_gap"),
    "an end that the stream told itself": (drops_one_and_closes, "logship_end"),
    "a gap that the stream told itself": (drops_one_and_closes, "logship_gap"),
}


@pytest.mark.parametrize(("fill", "field"), LAST_WORDS.values(), ids=LAST_WORDS)
def test_a_gap_or_an_end_that_no_server_takes_is_told_by_the_next_recoverer(
    tmp_path: Path, fill: Callable[[Buffer], None], field: str
) -> None:
    """As a sidecar that fails for a while may not take it, though it takes everything else."""
    life = dead_life(tmp_path, fill)
    poison = {"m1"}  # so that a recoverer has a gap to tell

    def takes_no_word(record: dict[str, Any]) -> bool:
        return field not in record and record["message"] not in poison

    first = Orphans(tmp_path)
    early = ship(first, takes=takes_no_word)
    first.close()
    assert not [each for each in early if field in each]
    assert life.exists()
    late = ship(Orphans(tmp_path), takes=lambda record: record["message"] not in poison)
    assert not life.exists()
    quarantined = list(tmp_path.glob("quarantine/*"))
    assert len(quarantined) == (fill is log_some)  # no word of ours, whoever did not take it
    for stream in {each[KEY][:12] for each in early + late}:
        mine = [each for each in early + late if each[KEY][:12] == stream]
        arrived = {int(each[KEY][13:]) for each in mine}
        gaps = gaps_in(mine)
        declared = {number for begin, last, _ in gaps for number in range(begin, last + 1)}
        (end,) = {int(each[KEY][13:]) for each in mine if "logship_end" in each}
        assert arrived | declared == set(range(1, end + 1))


def test_the_same_process_tells_an_end_again_after_a_while(tmp_path: Path) -> None:
    life, clock = dead_life(tmp_path, log_some), ManualClock(0.0)
    orphans = Orphans(tmp_path, monotonic=clock)
    assert len(ship(orphans, takes=lambda record: "logship_end" not in record)) == 30
    for clock.seconds, lives in ((59.0, 1), (66.0, 2), (130.0, 2), (190.0, 3)):
        taken = ship(orphans, takes=lambda _: clock() > 180)
        assert orphans.counters.lives == lives
    assert [each["logship_end"] for each in taken] == ["recovered"] * 3
    assert not life.exists()


def test_no_chunk_is_handed_out_again_while_it_is_on_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its recovery fails for want of a descriptor, and then for another reason."""
    life, clock = dead_life(tmp_path, log_some), ManualClock(0.0)
    orphans = Orphans(tmp_path, monotonic=clock)
    sidecar = Sidecar(orphans)
    sidecar.take_in(1)
    errors: list[Exception] = [OSError(errno.EMFILE, "too many open files"), ValueError("a bug")]
    with monkeypatch.context() as patch:
        patch.setattr(adoption, "read_payload", lambda *_: _raise(errors.pop(0)))
        while errors:
            orphans.step()
    clock.seconds = 3600.0
    for _ in range(1000):
        assert not isinstance(orphans.step(), AdoptedChunk)
    sidecar.ack_all()
    orphans.close()
    assert len(recover(tmp_path).records) == 30
    assert not life.exists()


def _raise(error: Exception) -> None:
    raise error


def test_garbage_in_the_place_of_files_is_counted_and_moved_out_of_the_way(tmp_path: Path) -> None:
    life = dead_life(tmp_path, log_some)
    segment = min(life.glob("segment-*"))
    segment.write_bytes(random.Random(1).randbytes(5000))
    (life / "streams").write_bytes(b"nonsense")
    sidecar = recover(tmp_path)
    assert sidecar.orphans.counters.damaged >= 2
    assert list((tmp_path / "quarantine").iterdir())


def test_an_empty_life_is_removed(tmp_path: Path) -> None:
    dead_life(tmp_path, lambda buffer: None)
    sidecar = recover(tmp_path)
    assert (sidecar.records, sidecar.controls) == ([], [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", range(5))
def test_a_process_killed_while_it_makes_its_files_is_no_damage(tmp_path: Path, step: int) -> None:
    """Between any two steps of beginning a life, and of preparing a segment."""
    life = dead_life(tmp_path, log_some if step >= 3 else lambda buffer: None)
    (segment,) = life.glob("segment-*1.spool")
    if step < 3:
        segment.unlink()
        (life / "streams").write_bytes(b"" if step == 1 else bytes(1000))
    if step == 2:
        (life / "streams").unlink()
    if step >= 3:
        (life / "segment-00000099.spool").write_bytes(bytes(5000) if step == 3 else b"")
    sidecar = recover(tmp_path)
    assert sidecar.orphans.counters.notes == []
    assert len(sidecar.records) == (30 if step >= 3 else 0)
    assert list(tmp_path.iterdir()) == []


def test_a_recoverer_killed_at_its_last_step_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / ("a" * 32)).mkdir()
    recover(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_there_yields_nothing(tmp_path: Path) -> None:
    assert Orphans(tmp_path / "nowhere").step() is RecoveryState.AWAITING_ORPHANS


# -- a chunk that is given up ----------------------------------------------------------------------


def test_what_a_chunk_declared_is_declared_again_where_it_is_given_up(tmp_path: Path) -> None:
    def log(buffer: Buffer) -> None:
        assert offer(buffer, "m0", "a")
        buffer.seal_all()
        first = buffer.departure.take()
        assert first is not None
        buffer.give_up(first, OVERFLOW)
        log_some(buffer, 1)
        log_some(buffer, 1)

    dead_life(tmp_path, log)
    sidecar = Sidecar(Orphans(tmp_path))
    chunk = next_chunk(sidecar.orphans)
    assert [*chunk.gaps] == [(1, 1, OVERFLOW)]
    a_buffer().give_up(chunk, QUARANTINED)
    sidecar.take_in()
    assert gaps_in(sidecar.controls) == [[1, 1, OVERFLOW], [2, 4, QUARANTINED]]
    assert list(tmp_path.iterdir()) == [tmp_path / "quarantine"]


def test_what_is_given_up_for_another_reason_is_declared_and_not_quarantined(
    tmp_path: Path,
) -> None:
    dead_life(tmp_path, lambda buffer: log_some(buffer, 1))
    first, second = Sidecar(Orphans(tmp_path)), Sidecar(Orphans(tmp_path))
    a_buffer().give_up(next_chunk(first.orphans), OVERFLOW)
    first.orphans.close()
    chunk = next_chunk(second.orphans)  # it has no mark
    assert chunk.may_be_dropped
    a_buffer().give_up(chunk, OVERFLOW)
    second.take_in()
    assert gaps_in(second.controls) == [[1, 1, OVERFLOW]]
    assert second.orphans.counters.notes == []
    assert list(tmp_path.iterdir()) == []


def test_a_chunk_and_its_halves_are_as_old_as_its_header_says(tmp_path: Path) -> None:
    dead_life(tmp_path, lambda buffer: log_some(buffer, 6), time_ns=lambda: 5 * 10**9)
    orphans = Orphans(tmp_path, monotonic=lambda: 100.0, time_ns=lambda: 35 * 10**9)
    chunk = next_chunk(orphans)
    halves = a_buffer().departure.split(chunk)
    assert halves is not None
    assert {each.opened_seconds for each in (chunk, *halves)} == {70.0}


def test_what_ends_after_the_locks_were_given_up_is_for_the_next_recoverer(tmp_path: Path) -> None:
    life = dead_life(tmp_path, lambda buffer: log_some(buffer, 1))
    orphans = Orphans(tmp_path)
    chunk = next_chunk(orphans)
    orphans.close()
    a_buffer().give_up(chunk, QUARANTINED)
    assert orphans.counters.quarantined == 0
    assert orphans.counters.notes == []
    assert recover(tmp_path).markers == ["m0"]
    assert not life.exists()
