"""Shows that the quarantine is bounded: the first stays, the rest is counted, named and gone."""

from __future__ import annotations

import errno
import json
import os
import struct
from pathlib import Path

import pytest

from logship._audit.audit import Audit
from logship._buffer.buffer import Buffer
from logship._protocol.entries import unpack_entries
from logship._reasons import QUARANTINED
from logship._spool import quarantine
from logship._spool.adoption import AdoptedChunk, Adoption
from logship._spool.directories import ProcessDirectory
from logship._spool.format import COMMIT_AT
from logship._spool.orphans import Orphans
from logship._spool.progress import RecoveryState
from logship._spool.quarantine import QuarantineFull
from logship.testing import ManualClock
from tests.spool.programs import spools_in
from tests.spool.recoveries import (
    STEPS_MAX,
    Sidecar,
    cannot_be_removed,
    dead_life,
    log_some,
    next_chunk,
    recover,
    ship,
)
from tests.spool.spools import KEY, a_buffer, offer, read_segment
from tests.unit.accounts import gaps_in, is_control, taken


def damage_all(life: Path, first_max: int = 1 << 32) -> int:
    """Make the commit word of every chunk nonsense; return how many chunks there are.

    Args:
        life: A process directory.
        first_max: Only of chunks that begin with at most this number.
    """
    count = 0
    for segment in life.glob("segment-*"):
        data = bytearray(segment.read_bytes())
        for chunk in read_segment(bytes(data), bytes.fromhex(life.name)).chunks:
            if chunk.identity.first <= first_max:
                struct.pack_into("=Q", data, chunk.offset + COMMIT_AT, 7 << 32 | 77)
                count += 1
        segment.write_bytes(data)
    return count


def log_in_many_chunks(buffer: Buffer) -> None:
    for number in range(12):
        log_some(buffer, 1, f"m{number}-")
        buffer.seal_all()


@pytest.fixture
def life(tmp_path: Path) -> ProcessDirectory:
    return ProcessDirectory.begin(tmp_path, os.urandom)


def kept(path: Path) -> list[str]:
    return sorted(each.name for each in (path / "quarantine").iterdir())


def test_what_came_first_stays_and_what_exceeds_the_bytes_is_not_kept(
    tmp_path: Path, life: ProcessDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "QUARANTINE_BYTES_MAX", 1000)
    life.keep("first", bytes(600))
    with pytest.raises(QuarantineFull, match=r"second \(401 bytes\) is not kept"):
        life.keep("second", bytes(401))
    life.keep("third", bytes(400))
    assert kept(tmp_path) == ["first", "third"]


def test_no_more_files_than_the_bound(
    tmp_path: Path, life: ProcessDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "QUARANTINE_FILES_MAX", 2)
    life.keep("first", b"1")
    (tmp_path / "quarantine" / "of another program").write_bytes(b"")
    with pytest.raises(QuarantineFull, match="2 files"):
        life.keep("second", b"2")
    assert kept(tmp_path) == ["first", "of another program"]


def test_a_second_recoverer_may_keep_the_same_again(
    tmp_path: Path, life: ProcessDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its predecessor died between keeping and marking: the file is replaced, not added."""
    monkeypatch.setattr(quarantine, "QUARANTINE_BYTES_MAX", 100)
    monkeypatch.setattr(quarantine, "QUARANTINE_FILES_MAX", 1)
    life.keep("first", bytes(100))
    life.keep("first", bytes(100))
    assert kept(tmp_path) == ["first"]


def test_damage_beyond_the_bound_is_counted_named_and_declared_and_the_life_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "QUARANTINE_FILES_MAX", 5)
    life = dead_life(tmp_path, log_in_many_chunks)
    chunks = damage_all(life)
    assert chunks > 10
    sidecar = recover(tmp_path)
    counters = sidecar.orphans.counters
    assert len(kept(tmp_path)) == 5
    assert counters.damaged == chunks
    assert counters.unkept == chunks - 5
    told = "\n".join(sidecar.told)
    assert told.count("is not kept: the quarantine would exceed") == chunks - 5
    assert told.count("a chunk is damaged") == chunks
    assert sidecar.records == []
    for stream in {each[KEY][:12] for each in sidecar.controls}:
        mine = [each for each in sidecar.controls if each[KEY][:12] == stream]
        gaps = gaps_in(mine)
        declared = {number for first, last, _ in gaps for number in range(first, last + 1)}
        assert declared >= set(range(1, 13))  # what a damaged word claims is declared too
        assert mine[-1]["logship_end"] == "recovered"
    assert not life.exists()


def log_three(buffer: Buffer) -> None:
    """Fill three chunks of one stream."""
    for number in range(3):
        buffer.seal_all()
        assert offer(buffer, f"m{number}")


def log_and_end(buffer: Buffer) -> None:
    """Fill three chunks of one stream; its end record is in the last one."""
    log_three(buffer)
    buffer.close_intake()


@pytest.mark.parametrize("chunks", [0, 1, 2, 3])
@pytest.mark.parametrize("is_acked", [True, False])
def test_damage_before_an_end_record_is_declared_behind_it(
    tmp_path: Path, chunks: int, *, is_acked: bool
) -> None:
    """Also where the first recoverer dies, in between or when it has declared the gap."""
    life = dead_life(tmp_path, log_and_end)
    damage_all(life, first_max=1)
    first = Sidecar(Orphans(tmp_path))
    if chunks:
        first.take_in(chunks)
    if is_acked:
        first.ack_all()
    first.orphans.close()
    second = recover(tmp_path)
    controls = [*first.controls, *second.controls]
    ends = {int(each[KEY][13:]): each["logship_end"] for each in controls if "logship_end" in each}
    assert [ends[number] for number in sorted(ends)] == [True, "recovered"]
    assert set(map(tuple, gaps_in(controls))) == {(1, 1, "damaged")}
    assert {each["message"] for each in first.records + second.records} == {"m1", "m2"}
    assert not life.exists()


@pytest.mark.parametrize("ends", [False, True])
def test_a_commit_word_that_claims_more_entries_claims_no_number_of_the_next_chunk(
    tmp_path: Path, *, ends: bool
) -> None:
    """One flipped bit: nine entries in the place of one."""
    life = dead_life(tmp_path, log_and_end if ends else log_three)
    (segment,) = life.glob("segment-*")
    data = bytearray(segment.read_bytes())
    chunk = read_segment(bytes(data), bytes.fromhex(life.name)).chunks[0]
    struct.pack_into("=Q", data, chunk.offset + COMMIT_AT, 9 << 32 | chunk.size)
    segment.write_bytes(data)
    sidecar = recover(tmp_path)
    audit = Audit()
    audit.feed([json.dumps(each).encode() for each in sidecar.records + sidecar.controls])
    (stream,) = audit.verdict().streams
    assert (stream.lost.count, stream.problems) == (0, ())
    assert gaps_in(sidecar.controls) == [[1, 1, "damaged"]]


def test_a_gap_that_was_declared_behind_an_end_record_is_not_declared_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its directory could not be removed, and what was acked says so."""
    damage_all(dead_life(tmp_path, log_and_end), first_max=1)
    with monkeypatch.context() as patch:
        patch.setattr(ProcessDirectory, "remove", cannot_be_removed)
        assert gaps_in(recover(tmp_path).controls)
    assert recover(tmp_path).controls == []


def test_a_gap_is_declared_though_the_end_record_came_before_it_was_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first recoverer had no room for a copy, and the second one died when it had made it."""
    life = dead_life(tmp_path, log_and_end)
    damage_all(life, first_max=1)
    with monkeypatch.context() as patch:
        patch.setattr(ProcessDirectory, "keep", _no_room)
        assert [each["logship_end"] for each in recover(tmp_path).controls] == [True]
    with monkeypatch.context() as patch:
        patch.setattr(Adoption, "_end_streams", lambda _: iter(()))
        patch.setattr(ProcessDirectory, "remove", cannot_be_removed)
        assert recover(tmp_path).controls == []
    assert [each for each, _, _ in gaps_in(recover(tmp_path).controls)] == [1]
    assert not life.exists()


def test_a_gap_outlives_a_kill_before_the_next_record(tmp_path: Path) -> None:
    def give_up_the_only_record(buffer: Buffer) -> None:
        assert offer(buffer, "poison")
        buffer.give_up(taken(buffer), QUARANTINED)

    dead_life(tmp_path, give_up_the_only_record)
    assert gaps_in(recover(tmp_path).controls) == [[1, 1, "quarantined"]]


def test_a_gap_is_declared_though_the_end_record_was_acked_before(tmp_path: Path) -> None:
    life = dead_life(tmp_path, log_and_end)
    sidecar, buffer = Sidecar(Orphans(tmp_path)), a_buffer()
    chunks = [next_chunk(sidecar.orphans) for _ in range(3)]
    for chunk in chunks:
        buffer.adopt(chunk)
        assert buffer.departure.take() is chunk
    buffer.release(chunks[2])
    buffer.release(chunks[1])
    buffer.give_up(chunks[0], QUARANTINED)
    sidecar.take_in()
    assert gaps_in(sidecar.controls) == [[1, 1, "quarantined"]]
    assert sidecar.controls[-1]["logship_end"] == "recovered"
    assert not life.exists()


def _no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, "no room")


def refuse_all(orphans: Orphans) -> list[str]:
    """Recover, with a server that takes our own records only; return what is said of the others."""
    said: list[str] = []
    orphans.warn = lambda _, text, **__: said.append(text)
    ship(orphans, takes=is_control)
    return said


def test_a_record_that_no_server_takes_and_that_finds_no_room_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "QUARANTINE_FILES_MAX", 0)
    life = dead_life(tmp_path, lambda buffer: log_some(buffer, 1))
    orphans = Orphans(tmp_path)
    said = refuse_all(orphans)
    (line,) = [each for each in said if "does not take record" in each]
    assert line.endswith("it is not kept")
    assert orphans.counters.quarantined == orphans.counters.unkept == 1
    assert not life.exists()


def test_a_record_that_cannot_be_kept_for_a_bug_stays_on_the_spool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a bug")

    life = dead_life(tmp_path, lambda buffer: log_some(buffer, 1))
    orphans = Orphans(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(ProcessDirectory, "keep", fail)
        said = refuse_all(orphans)
    assert f"a record recovered from {life.name} stays on the spool: a bug" in said
    orphans.close()
    assert recover(tmp_path).markers == ["m0"]


def test_each_record_of_a_chunk_that_cannot_be_sent_is_declared(tmp_path: Path) -> None:
    life = dead_life(tmp_path, lambda buffer: log_some(buffer, 9))
    orphans, controls = Orphans(tmp_path), []
    for _ in range(STEPS_MAX):
        found = orphans.step()
        if found is RecoveryState.AWAITING_ORPHANS:
            break
        if isinstance(found, AdoptedChunk):
            controls += [record for _, record in unpack_entries(found.data)]
            if found.located is None:
                a_buffer().release(found)
            else:
                a_buffer().give_up(found, QUARANTINED)
    assert gaps_in(controls) == [[1, 3, "quarantined"]] * 3
    assert len(kept(tmp_path)) == 3
    assert not life.exists()


def test_what_found_no_room_is_tried_again_when_there_is_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    life, clock, free = dead_life(tmp_path, log_some), ManualClock(0.0), [1 << 30]
    damage_all(life)
    orphans = Orphans(tmp_path, monotonic=clock)
    sidecar = Sidecar(orphans)

    def look(seconds: float) -> int:
        clock.seconds = seconds
        sidecar.take_in()
        return orphans.counters.lives

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(ProcessDirectory, "keep", full)
        patch.setattr("logship._spool.orphans.free_bytes", lambda _: free[0])
        assert [look(0.0), look(59.0), look(66.0), look(180.0)] == [1, 1, 2, 2]
        free[0] = 1
        assert look(1000.0) == 2  # not for as long as it is sure to fail
    assert life.exists()
    assert not sidecar.controls
    assert look(1006.0) == 3
    assert kept(tmp_path)
    assert [each for each in sidecar.controls if "logship_end" in each]
    assert not life.exists()


def test_a_disaster_is_not_named_for_ever(tmp_path: Path) -> None:
    def log(buffer: Buffer) -> None:
        for _ in range(60):
            log_some(buffer, 3)
            buffer.seal_all()

    damaged = damage_all(dead_life(tmp_path, log))
    sidecar = recover(tmp_path)
    assert sidecar.orphans.counters.damaged == damaged > 150
    assert len(sidecar.orphans.counters.notes) == 100
    named = [each for each in sidecar.told if each.startswith("recovery: ")]
    assert len(named) == 101
    assert "counted, and not named" in named[-1]


def test_recover_names_damage_on_stderr_and_does_not_say_that_all_is_well(tmp_path: Path) -> None:
    with spools_in(tmp_path) as spools:
        damage_all(dead_life(spools.spool, log_in_many_chunks))
        code, report = spools.recover()
        assert code == 1
        assert report["damaged"] > 10
        assert report["unkept"] == 0
        assert spools.stderr.count("logship: recovery: ") == report["damaged"]
        assert len(kept(spools.spool)) == report["damaged"]
        modes = {each.stat().st_mode & 0o777 for each in (spools.spool / "quarantine").iterdir()}
        assert modes == {0o600}
