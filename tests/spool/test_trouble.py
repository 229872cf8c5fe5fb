"""Shows what a failing disk must not do: outlive a client, or free a lock.

Nor may what keeps a recovery from its files for a moment end it for good.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from logship._cli import main
from logship._spool.orphans import Orphans
from logship._spool.progress import RecoveryState
from logship._spool.storage import RETRY_SECONDS
from logship.testing import ManualClock
from tests.spool.recoveries import Sidecar, dead_life, descriptors_left, log_some, recover
from tests.spool.spools import (
    SEGMENT_BYTES,
    Disk,
    buffer_on,
    offer,
    spooled,
    storage_in,
)
from tests.unit.accounts import split


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk(monkeypatch)
    disk.error = errno.ENOSPC
    return disk


def test_a_record_that_comes_just_when_the_spool_works_again_is_on_it(
    tmp_path: Path, disk: Disk
) -> None:
    clock = ManualClock()
    storage = storage_in(tmp_path, monotonic=clock)
    buffer = buffer_on(storage)
    assert offer(buffer, "in memory")
    unspooled = []

    def locked(work: Callable[[], object]) -> object:
        done = buffer.exclusively(work)
        assert offer(buffer, "larger than a segment", size=SEGMENT_BYTES)
        unspooled.append(storage.unspooled)
        return done

    disk.error = None
    clock.advance(RETRY_SECONDS + 1)
    storage.maintain(locked)
    assert set(unspooled) == {1}


def test_an_end_that_dies_in_memory_is_not_taken_for_acked(tmp_path: Path, disk: Disk) -> None:
    """Its chunk was split, and its process died before the part with the end was acked."""
    disk.error = None
    storage, buffer = spooled(tmp_path)
    assert offer(buffer, "on the spool", size=300)
    disk.error = errno.ENOSPC
    while not buffer.unspooled:
        assert offer(buffer, "more", size=300)
    buffer.close_intake()
    taken = [chunk for _ in buffer.unsettled() if (chunk := buffer.departure.take()) is not None]
    for chunk in taken[:-1]:
        buffer.release(chunk)
    first, _ = split(buffer, taken[-1])
    buffer.release(first)
    storage.abandon()
    assert [each.get("logship_end") for each in recover(tmp_path).controls] == ["recovered"]


def test_gap_records_that_die_in_memory_are_no_damage(tmp_path: Path, disk: Disk) -> None:
    """One of them found a place on the spool, behind some that did not."""
    disk.error = None
    storage, buffer = spooled(tmp_path, memory_bytes_max=1000)
    disk.error = errno.ENOSPC
    assert offer(buffer, "on the spool", size=400)
    while offer(buffer, "in memory", "other", size=400):
        pass
    for _ in range(8):
        numbered = buffer.number_and_drop("tag", b"")
        assert numbered is not None
        buffer.dropped_was_spilled(numbered)
        buffer.number_and_drop("tag", b"")
    buffer.close_intake()
    gaps = [each.spooled for each in buffer.unsettled() if each.gaps]
    assert gaps.index(True) > gaps.index(False)
    storage.abandon()
    assert recover(tmp_path).orphans.is_complete


def test_upkeep_after_the_end_begins_nothing(tmp_path: Path, disk: Disk) -> None:
    clock = ManualClock()
    storage = storage_in(tmp_path, monotonic=clock)
    storage.close()
    disk.error = None
    clock.advance(RETRY_SECONDS + 1)
    storage.maintain(lambda work: work())
    assert storage.retry_deadline_seconds() is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE, errno.EBADF])
def test_an_error_of_a_look_at_the_life_does_not_give_its_lock_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A recoverer would end the stream with a number that this process gives out as well."""
    clock = ManualClock()
    storage, buffer = spooled(tmp_path, monotonic=clock)
    assert offer(buffer, "before")
    clock.advance(RETRY_SECONDS + 1)

    def failing_stat(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", failing_stat)
        storage.maintain(buffer.exclusively)
    assert recover(tmp_path).markers == []
    assert offer(buffer, "after")
    assert buffer.report("", 0.0).spooled == 2
    storage.abandon()
    assert recover(tmp_path).markers == ["before", "after"]


@pytest.mark.parametrize("call", ["fstat", "listdir"])
def test_a_spool_that_its_disk_does_not_show_is_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fails)
        ended = CliRunner().invoke(main, ["recover", "--dry-run", "--spool", str(tmp_path)])
    assert ended.exit_code == 2, ended.output
    assert f"{tmp_path}: {os.strerror(errno.ESTALE)}" in ended.output


@pytest.mark.parametrize("chunks", [0, 1, 3], ids=["its streams", "a chunk", "its marks"])
def test_a_recovery_that_lacked_a_descriptor_is_made_again_later(
    tmp_path: Path, chunks: int
) -> None:
    """Another process, which would tell the ends, may never come."""
    life, clock = dead_life(tmp_path, log_some), ManualClock(0.0)
    sidecar = Sidecar(Orphans(tmp_path, monotonic=clock))
    if chunks:
        sidecar.take_in(chunks)
    else:
        assert sidecar.orphans.step() is RecoveryState.WORKING  # it has the lock
    with descriptors_left(1), Path(os.devnull).open():
        if chunks == 3:
            sidecar.ack_all()
        else:
            sidecar.orphans.step()
    for clock.seconds in (1.0, 61.0):
        assert life.exists()
        sidecar.take_in()
    assert not life.exists()
    assert {*sidecar.markers} == {f"m{number}" for number in range(30)}
    assert len(sidecar.markers) == 30 or chunks == 3, "what cannot be marked is not sent either"
    assert [each["logship_end"] for each in sidecar.controls] == ["recovered"] * 3


@pytest.mark.parametrize("returns", [False, True])
def test_streams_whose_directory_is_removed_while_they_are_sent_are_ended(
    tmp_path: Path, *, returns: bool
) -> None:
    """No other recoverer can do it; a copy that comes back is not the directory that we locked."""
    life = dead_life(tmp_path, log_some)
    shutil.copytree(life, copy := tmp_path / "copy")
    sidecar = Sidecar(Orphans(tmp_path))
    sidecar.take_in(3)
    shutil.rmtree(life)
    if returns:
        copy.rename(life)
    sidecar.ack_all()
    sidecar.take_in(3)
    assert [each["logship_end"] for each in sidecar.controls] == ["recovered"] * 3
    sidecar.ack_all()
    sidecar.take_in()
    assert len(sidecar.records) == (60 if returns else 30)
    assert sidecar.orphans.is_complete
    assert not life.exists()
