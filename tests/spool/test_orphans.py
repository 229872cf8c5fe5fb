"""Shows what a recoverer makes of a dead life: everything once, in order, and its end proved."""

from __future__ import annotations

import contextlib
import errno
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from logship._buffer.buffer import Buffer
from logship._reasons import QUARANTINED
from logship._spool import adoption
from logship._spool.adoption import AdoptedChunk
from logship._spool.directories import process_directories
from logship._spool.inspection import inspect_spool
from logship._spool.orphans import Orphans
from logship._spool.progress import RecoveryState
from logship._spool.segments import find_chunks
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
from tests.unit.accounts import taken


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


def test_a_recoverer_gets_the_lock_of_what_is_being_inspected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would take the process for alive, and call its own search complete."""
    dead_life(tmp_path, lambda buffer: log_some(buffer, 3))
    recovered: list[str] = []

    def find(*arguments: Any) -> Any:
        recovered.extend(recover(tmp_path).markers)
        return find_chunks(*arguments)

    monkeypatch.setattr("logship._spool.inspection.find_chunks", find)
    (found,) = inspect_spool(tmp_path)
    assert recovered == ["m0", "m1", "m2"]
    assert found["state"] != "refused"


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


def test_the_copy_of_a_segment_is_shipped_behind_the_acks_of_the_first_one(tmp_path: Path) -> None:
    """As after a backup was restored. Two chunks on their way must not have one id."""
    life = dead_life(tmp_path, log_some)
    shutil.copy(life / "segment-00000001.spool", life / "segment-00000094.spool")
    markers = [each["message"] for each in ship(Orphans(tmp_path)) if "pad" in each]
    assert sorted(markers) == sorted([f"m{number}" for number in range(30)] * 2)
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
        patch.setattr(adoption, "FileBytes", lambda *_: _raise(errors.pop(0)))
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
