"""Shows what a forked child does with the spool of its parent: it leaves it, at little cost."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from logship._spool.mapped import SpoolChunk
from tests.spool.recoveries import recover
from tests.spool.spools import SEGMENT_BYTES, buffer_on, offer, ship_all, spooled, storage_in
from tests.support.memory import traced_memory


def test_a_forked_child_writes_nothing_into_its_parents_files(tmp_path: Path) -> None:
    storage, buffer = spooled(tmp_path)
    assert offer(buffer, "parent")
    before = {each: each.read_bytes() for each in tmp_path.glob("*/*")}
    storage.abandon()  # what the hook does in the child
    for number in range(40):
        assert offer(buffer, f"child{number}", size=300)
    assert offer(buffer, "other tag", "other")
    ship_all(buffer)
    storage.maintain(buffer.exclusively)
    storage.close()
    assert {each: each.read_bytes() for each in tmp_path.glob("*/*")} == before
    assert recover(tmp_path).markers == ["parent"]


def test_a_child_does_not_keep_the_place_of_files_that_its_parent_removes(tmp_path: Path) -> None:
    """The frames of the parent's threads keep the storage in the child, as this variable does."""
    storage, buffer = spooled(tmp_path)
    assert offer(buffer, "open", "a")
    assert offer(buffer, "sealed", "b")
    buffer.seal_all()
    assert offer(buffer, "parent", "a")
    maps = Path("/proc/self/maps")
    assert str(tmp_path) in maps.read_text()
    gc.disable()
    try:
        storage.abandon()
        del buffer
        assert str(tmp_path) not in maps.read_text()
    finally:
        gc.enable()
    storage.close()


def test_a_fork_costs_no_more_than_what_the_open_chunks_hold(tmp_path: Path) -> None:
    storage, buffer = spooled(tmp_path, segment_bytes=64 * SEGMENT_BYTES)
    for number in range(100):
        assert offer(buffer, f"m{number}", f"tag{number}")
    with traced_memory() as memory:
        storage.abandon()
    assert memory.peak_bytes < 10 * buffer.bytes_held
    held = [bytes(chunk.data) for chunk in buffer.unsettled()]
    assert [f"m{number}".encode() in each for number, each in enumerate(held)] == [True] * 100


def test_a_child_without_memory_does_not_hold_its_parents_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = storage_in(tmp_path)
    assert offer(buffer_on(storage), "parent")

    def fail(_: SpoolChunk) -> None:
        raise MemoryError

    monkeypatch.setattr(SpoolChunk, "move_to_memory", fail)
    with pytest.raises(MemoryError):
        storage.abandon()
    assert recover(tmp_path).markers == ["parent"]
