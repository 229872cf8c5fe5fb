"""Shows what a long run does not keep: deleted files, and names of directories that are gone."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from logship._buffer.buffer import Buffer
from logship._protocol.entries import unpack_entries
from logship._spool.format import SLOTS, STREAMS_BYTES
from logship._spool.storage import RETRY_SECONDS, SpoolStorage
from logship.testing import ManualClock
from tests.spool.recoveries import dead_life, log_some, recover
from tests.spool.spools import (
    KEY,
    SEGMENT_BYTES,
    buffer_on,
    files,
    offer,
    ship_all,
    spooled,
    storage_in,
)

TAGS = 20


@pytest.fixture
def _no_collections() -> Iterator[None]:
    """Collect no cycles; a program may go without it for hours."""
    gc.disable()
    yield
    gc.enable()


def begun(path: Path, marker: str) -> tuple[ManualClock, SpoolStorage, Buffer]:
    """Return a client's buffer with one record on a new spool, and the clock of both."""
    clock = ManualClock()
    storage = storage_in(path, monotonic=clock)
    buffer = buffer_on(storage, monotonic=clock)
    assert offer(buffer, marker)
    return clock, storage, buffer


def deleted_mappings(path: Path) -> list[str]:
    """Return what this process has mapped of deleted files: their blocks are still on the disk."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return [each for each in lines if str(path) in each and each.endswith("(deleted)")]


@pytest.mark.usefixtures("_no_collections")
def test_after_an_outage_of_many_streams_no_deleted_file_is_mapped(tmp_path: Path) -> None:
    """Each tag logs for a while and then no more, as jobs and tenants do."""
    storage, buffer = spooled(tmp_path)
    for tag in range(TAGS):
        for number in range(2 * SEGMENT_BYTES // 1500):
            assert offer(buffer, f"m{number}", f"job{tag}", 1500)
    assert len(files(tmp_path)) > TAGS
    ship_all(buffer)
    storage.maintain(buffer.exclusively)
    assert len(files(tmp_path)) <= 3
    assert deleted_mappings(tmp_path) == []
    assert offer(buffer, "last")
    ship_all(buffer)
    storage.close()
    assert deleted_mappings(tmp_path) == [], "a program may end one client and begin another"


def test_a_removed_directory_is_made_anew_and_does_not_stay_mapped(
    tmp_path: Path,
) -> None:
    clock, storage, buffer = begun(tmp_path, "gone")
    (life,) = tmp_path.iterdir()
    shutil.rmtree(life)
    clock.advance(RETRY_SECONDS + 1)
    storage.maintain(buffer.exclusively)
    assert [kind for kind, _ in storage.news] == ["spool", "spool"]
    assert deleted_mappings(tmp_path)  # the record is still to be shipped
    ship_all(buffer)
    gc.collect()
    assert deleted_mappings(tmp_path) == []
    assert offer(buffer, "new")
    assert buffer.report("test", 0.0).spooled == 1
    storage.abandon()
    assert recover(tmp_path).markers == ["new"]


@pytest.mark.parametrize("how", ["moved", "replaced by a copy"])
def test_a_directory_that_is_lost_and_recovered_brings_no_number_twice(
    tmp_path: Path, how: str
) -> None:
    """A recoverer ends its streams with numbers that the process would have given out."""
    spool, aside = tmp_path / "spool", tmp_path / "aside"
    spool.mkdir()
    clock, storage, buffer = begun(spool, "before")
    (life,) = spool.iterdir()
    if how == "moved":
        life.rename(aside)
    else:
        shutil.copytree(life, aside)
        shutil.rmtree(life)
        aside.rename(life)
    clock.advance(RETRY_SECONDS + 1)
    storage.maintain(buffer.exclusively)
    assert offer(buffer, "behind")
    storage.abandon()
    if how == "moved":
        aside.rename(life)
    sidecar = recover(spool)
    assert sorted(sidecar.markers) == ["before", "behind"]
    stamps = [each[KEY] for each in (*sidecar.records, *sidecar.controls)]
    assert len(stamps) == len(set(stamps))


def test_a_process_whose_lock_is_replaced_does_not_go_on_where_others_recover(
    tmp_path: Path,
) -> None:
    clock, storage, buffer = begun(tmp_path, "before")
    (lock,) = tmp_path.glob("*/lock")
    lock.unlink()
    lock.touch()
    clock.advance(RETRY_SECONDS + 1)
    storage.maintain(buffer.exclusively)
    first = recover(tmp_path)
    assert offer(buffer, "behind")
    storage.abandon()
    second = recover(tmp_path)
    assert (first.markers, second.markers) == (["before"], ["behind"])
    records = [*first.records, *first.controls, *second.records, *second.controls]
    assert len({each[KEY] for each in records}) == len(records)


def test_a_stream_that_has_ended_is_not_ended_again_when_another_one_has_its_slot(
    tmp_path: Path,
) -> None:
    """Acked chunks of it lie in a segment that was needed in an outage and is free since then."""
    stamps: list[str] = []

    def ship(buffer: Buffer) -> None:
        buffer.seal_all()
        for chunk in iter(buffer.departure.take, None):
            stamps.extend(record[KEY] for _, record in unpack_entries(chunk.data))
            buffer.release(chunk)

    def log(buffer: Buffer) -> None:
        for number in range(2 * SEGMENT_BYTES // 1500):
            assert offer(buffer, f"m{number}", "first", 1500)
        ship(buffer)
        for number in range(SLOTS):
            assert offer(buffer, "m", f"job{number}")
            ship(buffer)

    dead_life(tmp_path, log)
    stamps += [each[KEY] for each in recover(tmp_path).controls]
    assert len(stamps) == len(set(stamps)), "a number is given out twice"


def test_a_recoverer_remembers_the_last_directories_that_it_has_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor asks for them when they are gone; one client may find millions."""
    monkeypatch.setattr("logship._spool.orphans.NAMES_MAX", 2)
    sidecar, names = recover(tmp_path), []
    for _ in range(4):
        names.append(dead_life(tmp_path, log_some).name)
        sidecar.orphans.scan_now()
        sidecar.take_in()
    known = [sidecar.orphans.has_shipped_from(each) for each in names]
    assert known == [False, False, True, True]
    assert len(sidecar.records) == len(set(sidecar.markers)) * 4
    assert list(tmp_path.iterdir()) == []


def test_a_small_spool_keeps_the_newest_records_of_any_size(tmp_path: Path) -> None:
    """An outage in which the oldest are dropped, again and again; some are longer than a chunk."""
    storage, buffer = spooled(tmp_path, bytes_max=STREAMS_BYTES + 4 * SEGMENT_BYTES)
    sizes = (300, 300, 300, 3000, 1900, 300, 5000)
    for number in range(2000):
        tag, size = f"tag{number % 4}", sizes[number % len(sizes)]
        while not offer(buffer, f"m{number}", tag, size):
            assert buffer.drop_oldest()
    assert storage.unspooled == 0
    storage.abandon()
    markers = recover(tmp_path).markers
    assert f"m{number}" in markers
    assert len(markers) > 10
