"""Shows what a forked child does with the spool of its parent: it leaves it, at little cost."""

from __future__ import annotations

import errno
import gc
import os
from pathlib import Path
from typing import Any

import pytest

from logship._buffer.buffer import Buffer
from logship._spool import directories, files, mapped
from logship._spool import format as layout
from logship._spool.storage import SpoolStorage
from tests.spool.recoveries import recover
from tests.spool.spools import SEGMENT_BYTES, buffer_on, offer, spooled, storage_in
from tests.support.memory import traced_memory
from tests.support.raising import raising


def forked(buffer: Buffer) -> None:
    """Do what the fork hook does in a child."""
    storage = buffer._section.chunks.storage
    assert isinstance(storage, SpoolStorage)
    storage.abandon()
    buffer.after_fork_in_child(refuses=False)


def test_a_forked_child_writes_nothing_into_its_parents_files(tmp_path: Path) -> None:
    storage, buffer = spooled(tmp_path)
    assert offer(buffer, "parent")
    before = {each: each.read_bytes() for each in tmp_path.glob("*/*")}
    forked(buffer)
    for number in range(40):
        assert offer(buffer, f"child{number}", size=300)
    assert offer(buffer, "other tag", "other")
    storage.maintain(buffer.exclusively)
    storage.close()
    assert {each: each.read_bytes() for each in tmp_path.glob("*/*")} == before
    assert recover(tmp_path).markers == ["parent"]


@pytest.mark.parametrize("function", ["pack_chunk_header", "pack_slot"])
def test_a_call_in_which_a_handler_forks_stores_nothing_there_in_the_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    """Both processes return from the handler, and go on with the call that opens a chunk."""
    _, buffer = spooled(tmp_path)
    assert offer(buffer, "parent")
    pack = getattr(layout, function)
    before: dict[Path, bytes] = {}

    def interrupted(*arguments: Any, **more: Any) -> bytes:
        before.update({each: each.read_bytes() for each in tmp_path.glob("*/*")})
        forked(buffer)
        return bytes(pack(*arguments, **more))

    monkeypatch.setattr(layout, function, interrupted)
    offer(buffer, "child", "other")
    assert before
    assert {each: each.read_bytes() for each in tmp_path.glob("*/*")} == before


def test_a_call_in_which_a_handler_forks_makes_no_file_in_the_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parent has the file as well, and may have put records into it meanwhile."""
    _, buffer = spooled(tmp_path)
    assert offer(buffer, "parent", size=SEGMENT_BYTES // 2)
    before: dict[Path, bytes] = {}

    def interrupted(name: str, directory: int) -> int:
        descriptor = create(name, directory)
        os.pwrite(descriptor, b"of the parent", 0)
        before.update({each: each.read_bytes() for each in tmp_path.glob("*/*")})
        forked(buffer)
        return descriptor

    create = files.create
    monkeypatch.setattr(directories, "create", interrupted)
    offer(buffer, "child", size=SEGMENT_BYTES // 2)
    assert b"of the parent" in before.values()
    assert {each: each.read_bytes() for each in tmp_path.glob("*/*")} == before


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


def test_a_child_without_memory_does_not_hold_its_parents_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = storage_in(tmp_path)
    assert offer(buffer_on(storage), "parent")
    no_memory = OSError(errno.ENOMEM, "Cannot allocate memory")
    monkeypatch.setattr(mapped, "private_memory", raising(no_memory))
    with pytest.raises(OSError, match="allocate memory"):
        storage.abandon()
    assert recover(tmp_path).markers == ["parent"]
