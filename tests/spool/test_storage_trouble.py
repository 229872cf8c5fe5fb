"""Shows the storage behind a buffer on a volume that fails, fills up or does not sync."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logship._buffer.buffer import Buffer
from logship._buffer.chunk import Chunk
from logship._reasons import OVERFLOW, QUARANTINED
from logship._spool.directories import ProcessDirectory, process_directories
from logship._spool.format import STREAMS_BYTES
from logship._spool.storage import RETRY_SECONDS
from logship.testing import ManualClock
from tests.spool.recoveries import recover
from tests.spool.spools import (
    CHUNK_BYTES,
    SEGMENT_BYTES,
    Disk,
    books_balance,
    buffer_on,
    offer,
    ship_all,
    spooled,
    storage_in,
)
from tests.unit.accounts import gaps_in, split, taken


def a_chunk_on_its_way_and_a_full_disk(storage: Any, buffer: Buffer, disk: Disk) -> Chunk:
    """Log a record whose chunk is taken, then others until one is in memory alone."""
    assert offer(buffer, "first")
    chunk = taken(buffer)
    disk.error = errno.ENOSPC
    while storage.unspooled == 0:
        assert offer(buffer, "more", size=300)
    buffer.seal_all()
    return chunk


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


CODES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)


@pytest.mark.parametrize("code", CODES, ids=[errno.errorcode[code] for code in CODES])
def test_a_volume_that_fails_is_replaced_by_memory_and_comes_back(
    tmp_path: Path, disk: Disk, code: int
) -> None:
    clock = ManualClock()
    storage = storage_in(tmp_path, monotonic=clock)
    buffer = buffer_on(storage, monotonic=clock)
    disk.error = code
    number = 0
    while storage.unspooled == 0:
        assert offer(buffer, f"m{number}", size=300)
        number += 1
    calls = disk.calls
    for _ in range(50):
        assert offer(buffer, f"m{number}", size=300)
        number += 1
    assert disk.calls == calls, "producers ask a broken disk again and again"
    (news,) = storage.news
    assert os.strerror(code) in news[1]
    assert (f"user {os.geteuid()} must be able to write" in news[1]) is (code == errno.EACCES)
    assert books_balance(buffer)
    report = buffer.report("test", 0.0)
    assert report.spooled + report.unacked == number
    assert report.unacked == storage.unspooled > 50
    storage.news.clear()
    storage.maintain(buffer.exclusively)
    clock.advance(RETRY_SECONDS + 1)
    storage.maintain(buffer.exclusively)
    assert not storage.news  # it still fails, and that has been said
    disk.error = None
    clock.advance(RETRY_SECONDS + 1)
    storage.maintain(buffer.exclusively)
    assert "can be written again" in storage.news.popleft()[1]
    before = storage.unspooled
    assert offer(buffer, "back")
    assert storage.unspooled == before
    storage.abandon()
    assert "back" in recover(tmp_path).markers


def test_a_gap_that_would_be_in_memory_alone_waits_for_the_next_record(
    tmp_path: Path, disk: Disk
) -> None:
    """Else its number would be in no chunk on the spool, and a segment would seem to be missing."""
    clock = ManualClock()
    storage, buffer = spooled(tmp_path, monotonic=clock)
    chunk = a_chunk_on_its_way_and_a_full_disk(storage, buffer, disk)
    buffer.give_up(chunk, QUARANTINED)
    disk.error = None
    clock.advance(RETRY_SECONDS + 1)
    storage.maintain(buffer.exclusively)
    assert offer(buffer, "last")
    storage.abandon()
    sidecar = recover(tmp_path)
    assert sidecar.orphans.counters.notes == []
    assert gaps_in(sidecar.controls) == [[1, 1, QUARANTINED]]


def test_no_number_is_used_again_of_an_acked_half_that_was_in_memory_alone(
    tmp_path: Path, disk: Disk
) -> None:
    storage, buffer = spooled(tmp_path)
    chunk = a_chunk_on_its_way_and_a_full_disk(storage, buffer, disk)
    while buffer.departure.take() is not None:
        pass
    buffer.give_up(chunk, QUARANTINED)
    buffer.close_intake()
    gap, end = split(buffer, taken(buffer))
    buffer.release(gap)
    assert (gap.entries, end.entries) == (1, 1)
    storage.abandon()
    disk.error = None
    controls = recover(tmp_path).controls
    assert controls[-1]["logship_end"] == "recovered"
    assert min(int(each["logship_id"].rpartition(":")[2]) for each in controls) == gap.last + 1


@pytest.mark.parametrize("filler_bytes", range(800, 1200, 50))
def test_a_gap_record_lies_where_the_record_behind_it_does(
    tmp_path: Path, disk: Disk, filler_bytes: int
) -> None:
    """The segment has room for both, for the record alone, or for none. Both exceed a chunk.

    With the record on the spool and the gap in memory, a segment would seem to be missing.
    """
    storage = storage_in(tmp_path, chunk_bytes_max=512, segment_bytes=8192)
    buffer = buffer_on(storage, chunk_bytes_max=512)
    disk.error = errno.ENOSPC
    assert offer(buffer, "dropped", size=300)
    buffer.seal_all()
    for size in (*[400] * 9, 5000, filler_bytes):
        assert offer(buffer, "another", "filler", size=size)
    assert storage.unspooled == 1
    assert buffer.drop_oldest()
    assert offer(buffer, "last", size=430)
    storage.abandon()
    sidecar = recover(tmp_path)
    assert sidecar.orphans.counters.notes == []
    declared = [[1, 1, OVERFLOW]] if "last" in sidecar.markers else []
    assert gaps_in(sidecar.controls) == declared


def test_a_lost_directory_has_no_place(tmp_path: Path) -> None:
    clock = ManualClock()
    storage, buffer = spooled(tmp_path, monotonic=clock)
    assert offer(buffer, "m")
    assert storage.has_place
    shutil.rmtree(next(tmp_path.iterdir()))
    clock.advance(RETRY_SECONDS + 1)
    storage.maintain(buffer.exclusively)
    assert not storage.has_place


@pytest.mark.parametrize("tags", [1, 5, 50])
def test_memory_has_its_own_bound(tmp_path: Path, disk: Disk, tags: int) -> None:
    """It is the same for any number of tags."""
    disk.error = errno.ENOSPC
    storage, buffer = spooled(tmp_path, memory_bytes_max=10 * CHUNK_BYTES)
    number = 0
    while offer(buffer, f"m{number}", f"tag{number % tags}", size=300):
        number += 1
    assert 9 * CHUNK_BYTES < buffer.bytes_held <= 10 * CHUNK_BYTES
    assert storage.unspooled == number
    assert list(tmp_path.iterdir()) == []
    assert ship_all(buffer) > 0
    assert offer(buffer, "again", size=300)


def test_numbers_given_out_in_memory_are_noted_on_the_spool(tmp_path: Path, disk: Disk) -> None:
    """Else recovery would end the stream with a number that is taken."""
    storage, buffer = spooled(tmp_path)
    assert offer(buffer, "first")
    disk.error = errno.ENOSPC
    while storage.unspooled < 5:
        assert offer(buffer, "more", size=300)
    for _ in range(3):  # no section of the buffer follows them
        assert offer(buffer, "last")
    assert storage.unspooled == 8
    number = buffer.report("", 0.0).streams[0].last
    storage.abandon()
    disk.error = None
    (end,) = recover(tmp_path).controls
    assert int(end["logship_id"][13:]) == number + 1


@pytest.mark.parametrize("how", ["missing", "a file", "foreign"])
def test_a_directory_that_cannot_be_used_is_said_once(tmp_path: Path, how: str) -> None:
    path = tmp_path / "spool"
    if how == "missing":
        path = tmp_path / "parent" / "spool"
    elif how == "a file":
        path.touch()
    elif how == "foreign":
        if os.geteuid() != 0:
            pytest.skip("only root can give directories to other users")
        path.mkdir()
        os.chown(path, 12345, 12345)
    clock = ManualClock()
    storage, buffer = spooled(path, monotonic=clock)
    assert offer(buffer, "m")
    assert storage.unspooled == 1
    assert len(storage.news) == 1
    assert str(path) in storage.news[0][1]
    if how == "missing":
        path.parent.mkdir()
        clock.advance(RETRY_SECONDS + 1)
        storage.maintain(buffer.exclusively)
        assert offer(buffer, "n")
        assert storage.unspooled == 1
    storage.close()


def test_the_floor_of_the_volume_is_left_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [10 * SEGMENT_BYTES + STREAMS_BYTES]
    real = ProcessDirectory.allocate

    def allocate(life: ProcessDirectory, name: str, size: int) -> int:
        free[0] -= size
        return real(life, name, size)

    monkeypatch.setattr(ProcessDirectory, "allocate", allocate)
    monkeypatch.setattr(ProcessDirectory, "free_bytes", lambda life: free[0])
    storage, buffer = spooled(tmp_path)
    while storage.unspooled == 0:
        assert offer(buffer, "m", size=300)
    assert free[0] >= 0
    assert "nearly full" in storage.news[0][1]
    storage.abandon()


def test_the_floor_is_a_share_of_the_volume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = ProcessDirectory.begin(tmp_path, os.urandom)
    mib = 1024 * 1024

    def volume(total: int, available: int) -> Callable[[int], Any]:
        fields = (4096, 4096, total // 4096, 0, available // 4096, 0, 0, 0, 0, 255)
        return lambda _: os.statvfs_result(fields)

    sizes = ((4, 1), (64, 16), (1000, 50), (1 << 20, 1024))
    for total, floor in ((total * mib, floor * mib) for total, floor in sizes):
        monkeypatch.setattr(os, "fstatvfs", volume(total, 8192 * mib))
        assert life.free_bytes() == pytest.approx(8192 * mib - floor, abs=mib / 10)
    monkeypatch.undo()
    life.remove()


def test_files_are_synced_while_a_thread_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = threading.Semaphore(0)
    real = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        real(descriptor)
        synced.release()

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    monkeypatch.setattr("logship._spool.own_directory.SYNC_SECONDS", 0.01)
    storage, buffer = spooled(tmp_path, syncs=True)
    for number in range(10):
        assert offer(buffer, f"{number}")
        assert synced.acquire(timeout=20)
    ship_all(buffer)
    assert storage._own is not None
    thread = storage._own.sync_thread
    assert thread is not None
    storage.close()
    thread.join(20)
    assert not thread.is_alive()


class FailingSync:
    """What the disk says to each sync."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: int | None = None
        self.tried: threading.Semaphore = threading.Semaphore(0)
        real = os.fdatasync

        def fdatasync(descriptor: int) -> None:
            self.tried.release()
            if self.error is not None:
                raise OSError(self.error, os.strerror(self.error))
            real(descriptor)

        monkeypatch.setattr(os, "fdatasync", fdatasync)
        monkeypatch.setattr("logship._spool.own_directory.SYNC_SECONDS", 0.01)

    def wait_for_two(self) -> None:
        """Wait for two syncs: the error of the first is noted when the second is tried."""
        while self.tried.acquire(blocking=False):
            pass
        for _ in range(2):
            assert self.tried.acquire(timeout=20)


def test_a_disk_that_does_not_take_what_is_synced_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, clock = FailingSync(monkeypatch), ManualClock()
    storage, buffer = spooled(tmp_path, syncs=True, monotonic=clock)
    assert offer(buffer, "m")
    sync.error = errno.EDQUOT
    for _ in range(2):
        sync.wait_for_two()
        clock.advance(RETRY_SECONDS)
        storage.maintain(buffer.exclusively)
    ((_, text),) = storage.news
    assert os.strerror(errno.EDQUOT) in text
    assert buffer.report("", 0.0).spooled == 1
    storage.abandon()


def test_what_a_failing_disk_has_not_taken_does_not_count_as_spooled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, clock = FailingSync(monkeypatch), ManualClock()
    storage, buffer = spooled(tmp_path, syncs=True, monotonic=clock)
    assert offer(buffer, "m")
    sync.error = errno.EIO
    sync.wait_for_two()
    for _ in range(3):
        clock.advance(RETRY_SECONDS)
        storage.maintain(buffer.exclusively)
        ((_, text),) = storage.news
        assert os.strerror(errno.EIO) in text
        assert buffer.report("", 0.0).unacked == 1
        assert len(process_directories(tmp_path)) == 1, "one begins after the other"
    storage.news.clear()
    sync.error = None
    clock.advance(RETRY_SECONDS)
    storage.maintain(buffer.exclusively)
    assert "can be written again" in storage.news.popleft()[1]
    assert offer(buffer, "n")
    assert buffer.report("", 0.0).spooled == 1
    storage.abandon()


@pytest.mark.parametrize("code", [errno.EROFS, errno.EIO])
def test_a_volume_that_takes_no_more_writes_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """The kernel makes it read-only after an error; stores into mapped files go on."""
    clock, real = ManualClock(), os.open

    def read_only(path: str | Path, flags: int, *rest: int, **more: int) -> int:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise OSError(code, os.strerror(code))
        return real(path, flags, *rest, **more)

    storage, buffer = spooled(tmp_path, monotonic=clock)
    assert offer(buffer, "m")
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", read_only)
        for _ in range(3):
            clock.advance(RETRY_SECONDS)
            storage.maintain(buffer.exclusively)
            ((_, text),) = storage.news
            assert os.strerror(code) in text
        assert offer(buffer, "n")
    assert buffer.report("", 0.0).unacked == 2
    assert ship_all(buffer) == 2
    storage.close()


def test_nothing_is_synced_by_default(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    assert storage._own is not None
    assert storage._own.sync_thread is None
    storage.close()
