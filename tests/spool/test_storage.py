"""Shows the storage behind a buffer: its bounds, its account, its files and descriptors."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from logship._audit.audit import Audit
from logship._audit.verdict import Outcome
from logship._buffer.stream import Stream
from logship._reasons import QUARANTINED
from logship._spool.directories import ProcessDirectory
from logship._spool.files import close, closing
from logship._spool.format import STREAMS_BYTES
from logship._spool.mapped import UnspooledChunk
from logship._spool.orphans import Orphans
from tests.spool.recoveries import dead_life, descriptors_left, log_some, next_chunk, recover
from tests.spool.spools import (
    KEY,
    SEGMENT_BYTES,
    a_buffer,
    books_balance,
    buffer_on,
    files,
    offer,
    ship_all,
    spooled,
    storage_in,
)
from tests.unit.accounts import split, taken


@pytest.mark.parametrize("time_ns", [-1, -(10**20), 10**20])
def test_a_clock_far_from_the_truth_is_no_obstacle(tmp_path: Path, time_ns: int) -> None:
    storage, buffer = spooled(tmp_path, time_ns=lambda: time_ns)
    assert offer(buffer, "m")
    assert storage.unspooled == 0
    storage.close()
    assert recover(tmp_path).markers == ["m"]


@contextlib.contextmanager
def descriptors_replaced(spool: Path, path: Path) -> Iterator[list[int]]:
    """Have each descriptor of a spool's files lead to `path`, as if a daemon had closed all."""
    links = {each: os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()}
    numbers = [int(each.name) for each, target in links.items() if target.startswith(str(spool))]
    with closing(os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)) as descriptor:
        for number in numbers:
            os.dup2(descriptor, number)
    yield numbers
    close(*numbers)


def an_orphan(tmp_path: Path) -> tuple[Path, Orphans]:
    """Leave a dead life on a spool; return the spool, and what recovers it."""
    spool = tmp_path / "spool"
    spool.mkdir()
    dead_life(spool, lambda buffer: log_some(buffer, 3))
    gc.collect()  # a mapping closes its descriptor before Python 3.13
    return spool, Orphans(spool)


def test_a_clean_end_neither_removes_nor_closes_anything_of_the_programs(
    tmp_path: Path,
) -> None:
    spool, own = tmp_path / "spool", tmp_path / "own"
    own.mkdir()
    (own / "lock").touch()
    storage = storage_in(spool)
    with descriptors_replaced(spool, own) as numbers:
        storage.close()
        if sys.version_info >= (3, 13):  # before, a mapping closes its descriptor
            assert all(os.path.sameopenfile(each, numbers[0]) for each in numbers)
    assert len(numbers) >= 3
    assert (own / "lock").exists()


@pytest.mark.parametrize("steps", [3, 1000], ids=["reads", "awaits acks"])
def test_a_recovery_that_ends_closes_no_descriptors_that_are_the_programs(
    tmp_path: Path, steps: int
) -> None:
    """It holds those of the spool, process directory and lock."""
    spool, orphans = an_orphan(tmp_path)
    for _ in range(steps):
        orphans.step()
    with descriptors_replaced(spool, tmp_path) as numbers:
        orphans.close()
        assert len(numbers) == 3
        assert all(os.path.sameopenfile(each, numbers[0]) for each in numbers)


def test_files_stay_few_while_records_are_acked(tmp_path: Path) -> None:
    storage, buffer = spooled(tmp_path)
    for number in range(3000):
        assert offer(buffer, f"m{number}", "abc"[number % 3], 300)
        if number % 20 == 19:
            ship_all(buffer)
            storage.maintain(buffer.exclusively)
            assert len(files(tmp_path)) <= 3
            assert storage.bytes_on_disk == STREAMS_BYTES + SEGMENT_BYTES * len(files(tmp_path))
    storage.close()


def test_an_ack_writes_nothing_into_a_file_of_the_programs(tmp_path: Path) -> None:
    spool, orphans = an_orphan(tmp_path)
    own = tmp_path / "own"
    own.touch()
    chunk = next_chunk(orphans)
    with descriptors_replaced(spool, own):
        a_buffer().release(chunk)
        assert own.read_bytes() == b""
        orphans.close()


def test_a_recovery_removes_nothing_through_descriptors_that_are_the_programs(
    tmp_path: Path,
) -> None:
    spool, orphans = an_orphan(tmp_path)
    own = tmp_path / "own"
    own.mkdir()
    (own / "lock").touch()
    for _ in range(2):  # the records, and the end of their stream
        chunk = next_chunk(orphans)
        a_buffer().release(chunk)
    with descriptors_replaced(spool, own):
        while not orphans.is_idle:
            orphans.step()
        assert (own / "lock").exists()
    assert list(spool.iterdir())
    assert orphans.counters.refused == 1


def test_a_spare_is_made_outside_the_section_and_comes_into_use_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A producer that allocates at the same moment replaces the list that the spare goes into."""
    storage, buffer = spooled(tmp_path)
    assert offer(buffer, "m", size=SEGMENT_BYTES // 2)
    assert storage._own is not None
    held: list[tuple[str, bool]] = []
    real = ProcessDirectory.allocate

    class Segments(list[Any]):
        def append(self, segment: Any) -> None:
            held.append(("comes into use", buffer.is_held_here))
            super().append(segment)

    def allocate(life: ProcessDirectory, name: str, size: int) -> int:
        held.append(("is made", buffer.is_held_here))
        return real(life, name, size)

    monkeypatch.setattr(ProcessDirectory, "allocate", allocate)
    storage._own.segments = Segments(storage._own.segments)
    storage.maintain(buffer.exclusively)
    assert held == [("is made", False), ("comes into use", True)]
    storage.abandon()


def test_the_bound_holds_and_the_policy_decides(tmp_path: Path) -> None:
    bound = STREAMS_BYTES + 8 * SEGMENT_BYTES
    storage, buffer = spooled(tmp_path, bytes_max=bound)
    accepted = 0
    while offer(buffer, f"m{accepted}", size=300):
        accepted += 1
        assert storage.bytes_on_disk <= bound
    assert storage.bytes_on_disk == bound
    assert storage.unspooled == 0
    assert not storage.news  # it is full, not broken
    assert buffer.drop_oldest()
    while not offer(buffer, "late", size=300):
        assert buffer.drop_oldest()
    assert storage.bytes_on_disk <= bound
    assert books_balance(buffer)
    storage.abandon()
    assert recover(tmp_path).markers[-1] == "late"


def test_gaps_are_declared_even_when_the_spool_is_full(tmp_path: Path) -> None:
    storage, buffer = spooled(tmp_path, bytes_max=STREAMS_BYTES + 2 * SEGMENT_BYTES)
    number = 0
    while offer(buffer, f"m{number}", size=300):
        number += 1
    buffer.number_and_drop("tag", b"")
    assert not offer(buffer, "no room", size=300)
    buffer.close_intake()  # the gap and end records may exceed the bound
    report = buffer.report("test", 0.0)
    assert report.streams[0].end is not None
    assert books_balance(buffer)
    storage.close()


def test_what_a_full_spool_gives_up_brings_nothing_into_memory(tmp_path: Path) -> None:
    """A gap record in memory would take later records with it, and a kill all of them."""
    storage, buffer = spooled(tmp_path, bytes_max=STREAMS_BYTES + 8 * SEGMENT_BYTES)
    tags = [f"tag{number}" for number in range(20)]
    accepted = [f"{tag}:{number}" for tag in tags for number in range(2)]
    assert all(offer(buffer, marker, marker.partition(":")[0]) for marker in accepted)
    buffer.seal_all()
    for size in (300, 0):
        for number in range(1000):
            if offer(buffer, f"{size}:{number}", tags[number % 20], size):
                accepted.append(f"{size}:{number}")
    for _ in tags:
        buffer.give_up(split(buffer, taken(buffer))[0], QUARANTINED)
    assert not any(offer(buffer, "late", tag) for tag in tags)
    assert all(chunk.spooled for chunk in buffer.unsettled())
    storage.abandon()
    assert set(recover(tmp_path).markers) == set(accepted)


def test_what_a_full_spool_keeps_in_memory_all_the_same_is_one_entry(tmp_path: Path) -> None:
    """It is not broken: a control record, or what many of them leave no place for, goes there."""
    storage = storage_in(tmp_path, bytes_max=STREAMS_BYTES + 2 * SEGMENT_BYTES)
    stream = Stream("tag", KEY, os.urandom)
    while not isinstance(chunk := storage.open_chunk(stream, 1, 64), UnspooledChunk):
        storage.link(chunk)
    assert chunk.capacity == 64
    assert not storage.news
    storage.close()


def test_end_records_that_a_full_spool_has_no_place_for_use_up_no_numbers(tmp_path: Path) -> None:
    """They are in memory. After a kill the recoverer writes its own, with the same numbers."""
    storage, buffer = spooled(tmp_path, bytes_max=STREAMS_BYTES + 8 * SEGMENT_BYTES)
    for size in (300, 0):
        for number in range(1000):
            offer(buffer, f"{size}:{number}", f"tag{number % 20}", size)
    buffer.close_intake()
    assert not all(chunk.spooled for chunk in buffer.unsettled())
    storage.abandon()
    sidecar = recover(tmp_path)
    audit = Audit()
    audit.feed([json.dumps(each).encode() for each in sidecar.records + sidecar.controls])
    assert audit.verdict().outcome is Outcome.COMPLETE


def test_a_record_larger_than_a_segment_gets_a_file_of_its_own(tmp_path: Path) -> None:
    storage, buffer = spooled(tmp_path)
    assert offer(buffer, "large", size=5 * SEGMENT_BYTES)
    assert offer(buffer, "small")
    sizes = {each.stat().st_size for each in files(tmp_path)}
    assert len(sizes) == 2
    storage.abandon()
    assert sorted(recover(tmp_path).markers) == ["large", "small"]


def test_a_file_of_its_own_goes_when_it_is_acked(tmp_path: Path) -> None:
    storage, buffer = spooled(tmp_path)
    assert offer(buffer, "large", size=5 * SEGMENT_BYTES)
    ship_all(buffer)
    for number in range(600):  # it is used as any other until it is full
        assert offer(buffer, f"{number}", size=300)
    storage.maintain(buffer.exclusively)
    ship_all(buffer)
    storage.maintain(buffer.exclusively)
    assert {each.stat().st_size for each in files(tmp_path)} == {SEGMENT_BYTES}
    storage.close()


def test_a_large_record_finds_room_though_spares_have_taken_it(tmp_path: Path) -> None:
    bound = STREAMS_BYTES + 9 * SEGMENT_BYTES
    storage, buffer = spooled(tmp_path, bytes_max=bound)
    for number in range(300):
        offer(buffer, f"{number}", size=300)
    ship_all(buffer)
    storage.maintain(buffer.exclusively)
    assert len(files(tmp_path)) == 3
    assert offer(buffer, "large", size=7 * SEGMENT_BYTES)
    assert storage.bytes_on_disk <= bound
    assert storage.unspooled == 0
    storage.close()


def test_many_tags_share_a_segment(tmp_path: Path) -> None:
    storage = storage_in(tmp_path, segment_bytes=64 * SEGMENT_BYTES)
    buffer = buffer_on(storage, chunk_bytes_max=32 * 1024)
    for number in range(400):
        assert offer(buffer, f"m{number}", f"tag{number % 40}", 20)
    assert len(files(tmp_path)) == 1
    storage.abandon()
    assert len(recover(tmp_path).markers) == 400


@pytest.mark.skipif(sys.version_info < (3, 13), reason="a mapping keeps a descriptor")
def test_segments_take_no_descriptors_from_the_program(tmp_path: Path) -> None:
    storage, buffer = spooled(tmp_path)
    with descriptors_left(6):
        for number in range(200):
            assert offer(buffer, f"m{number}", size=1500)
    assert len(files(tmp_path)) > 20
    assert storage.unspooled == 0
    storage.abandon()


def test_a_small_entry_of_any_tag_finds_a_place_where_the_storage_says_so(tmp_path: Path) -> None:
    storage, buffer = spooled(tmp_path, bytes_max=STREAMS_BYTES + 4 * SEGMENT_BYTES)
    said: list[bool] = []
    for number in range(1000):
        said.append(storage.has_place)
        size = storage.small_bytes - 100  # with its fields and its stamp as large as a small one is
        is_in = offer(buffer, f"m{number}", f"tag {number}" if number % 3 else "tag", size=size)
        assert is_in or not said[-1]
        assert storage.unspooled == 0
        if not is_in:
            break
    assert {*said} == {True, False}
    assert not said[-1]


def test_records_with_tags_that_no_header_holds_are_in_memory_and_told_of_once(
    tmp_path: Path,
) -> None:
    storage, buffer = spooled(tmp_path)
    for tag in ("é" * 127, "x" * 255, "é" * 128, "x" * 256):
        assert offer(buffer, "m", tag)
    assert storage.unspooled == 2
    assert [chunk.spooled for chunk in buffer.unsettled()] == [True, True, False, False]
    ((_, news),) = storage.news
    assert "tags of more than 255 bytes" in news


# -- what a server may do --------------------------------------------------------------


def test_a_split_chunk_stays_until_both_halves_are_acked(tmp_path: Path) -> None:
    storage, buffer = spooled(tmp_path)
    for number in range(4):
        assert offer(buffer, f"m{number}")
    whole = taken(buffer)
    halves = split(buffer, whole)
    assert all(half.spooled for half in halves)
    assert buffer.report("test", 0.0).spooled == 4
    buffer.release(halves[0])
    own = storage._own
    assert own is not None
    assert [segment.live for segment in own.segments if segment.live] == [{whole}]
    quarter = split(buffer, halves[1])
    buffer.release(quarter[0])
    buffer.give_up(quarter[1], QUARANTINED)
    gap = taken(buffer)
    assert [segment.live for segment in own.segments if segment.live] == [{gap}]
    buffer.release(gap)
    assert not any(segment.live for segment in own.segments)
    assert books_balance(buffer)
    storage.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("last", [0, 1, 2])
def test_a_whole_stays_until_the_last_quarter_is_acked(tmp_path: Path, last: int) -> None:
    """A half that was split again is not done: with its ack alone missing, all is still there."""
    storage, buffer = spooled(tmp_path)
    for number in range(4):
        assert offer(buffer, f"m{number}")
    whole = taken(buffer)
    halves = split(buffer, whole)
    quarters = split(buffer, halves[1])
    parts = [halves[0], *quarters]
    for part in (*parts[:last], *parts[last + 1 :]):
        buffer.release(part)
    storage.abandon()
    assert recover(tmp_path).markers == ["m0", "m1", "m2", "m3"]
