"""Shows that what a process left before it knew its tag goes by the best one that is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from logship._buffer.buffer import Buffer
from logship._protocol.entries import unpack_entries
from logship._spool.adoption import AdoptedChunk
from logship._spool.orphans import Orphans
from logship._spool.progress import RecoveryState
from logship._spool.slots import read_streams
from tests.spool.spools import WatchedFiles, a_buffer, buffer_on, offer, storage_in

TAG = "app-firelens-5f0c"
OTHER = "other-firelens-5f0c"
PROVISIONAL = "program"


def leave(path: Path, fill: Callable[[Buffer], None]) -> None:
    """Leave on a spool what a process that is killed after `fill` leaves."""
    storage = storage_in(path)
    fill(buffer_on(storage, awaited_tag=PROVISIONAL))
    storage.abandon()  # gives up the lock, and nothing else, as death does


def log(buffer: Buffer, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        assert offer(buffer, f"m{number}", None, 100)


def shipped(orphans: Orphans) -> list[tuple[str, str]]:
    """Ship all of it; return each record's tag and marker."""
    found: list[tuple[str, str]] = []
    unacked: list[AdoptedChunk] = []
    while (step := orphans.step()) is not RecoveryState.AWAITING_ORPHANS:
        if isinstance(step, AdoptedChunk):
            unacked.append(step)
            records = [record for _, record in unpack_entries(step.data)]
            found += [(step.stream.tag, record["message"]) for record in records]
        elif step is RecoveryState.AWAITING_ACKS:
            a_buffer().release(unacked.pop(0))
    return found


def all_of(tag: str, count: int) -> list[tuple[str, str]]:
    records = [(tag, f"m{number}") for number in range(count)]
    return [*records, (tag, "logship: stream closed")]


@pytest.mark.parametrize(
    ("before", "answers", "after", "tag"),
    [
        pytest.param(50, [], 0, OTHER, id="never known: the one that routes here"),
        pytest.param(30, [TAG], 20, TAG, id="known on the way"),
        pytest.param(30, [TAG], 0, TAG, id="known, and nothing logged under it"),
        pytest.param(30, [None], 20, OTHER, id="the provisional one: it may be routed after all"),
    ],
)
def test_what_was_left_goes_by_the_best_tag_that_is_known(
    tmp_path: Path, before: int, answers: list[str | None], after: int, tag: str
) -> None:
    def fill(buffer: Buffer) -> None:
        log(buffer, before)
        for each in answers:
            buffer.resolve_tag(each)
        log(buffer, after, first=before)

    leave(tmp_path, fill)
    orphans = Orphans(tmp_path, default_tag=lambda: OTHER)
    assert shipped(orphans) == all_of(tag, before + after)
    assert orphans.counters.notes == []
    assert list(tmp_path.iterdir()) == []


def test_where_the_file_of_streams_is_gone_a_later_chunk_tells_it(tmp_path: Path) -> None:
    def fill(buffer: Buffer) -> None:
        log(buffer, 30)
        buffer.resolve_tag(TAG)
        buffer.seal_all()
        log(buffer, 20, first=30)

    leave(tmp_path, fill)
    (life,) = tmp_path.iterdir()
    (life / "streams").unlink()
    assert shipped(Orphans(tmp_path, default_tag=lambda: OTHER)) == all_of(TAG, 50)


def test_a_tag_of_ones_own_stays(tmp_path: Path) -> None:
    def fill(buffer: Buffer) -> None:
        for number in range(9):
            assert offer(buffer, f"m{number}", "web")

    leave(tmp_path, fill)
    assert shipped(Orphans(tmp_path, default_tag=lambda: OTHER)) == all_of("web", 9)


@pytest.mark.parametrize("others", [0, 3])
def test_a_crash_at_any_store_while_it_is_noted(tmp_path: Path, others: int) -> None:
    files = WatchedFiles()
    storage = storage_in(tmp_path, mapper=files.map)
    buffer = buffer_on(storage, awaited_tag=PROVISIONAL)
    log(buffer, 30)
    for number in range(others):
        assert offer(buffer, "other", f"tag{number}")
    assert storage._own is not None
    life, seen = storage._own.directory.id, []

    def crash() -> None:
        contents = read_streams(files.streams(), life)
        assert contents.damages == []
        slots = [each for each in contents.streams if each.tag in (b"program", TAG.encode())]
        assert slots, "the stream is nowhere"
        assert all((each.tag == b"program") is each.is_provisional for each in slots)
        seen.append(tuple(each.tag for each in slots))

    files.after_store = crash
    buffer.resolve_tag(TAG)
    assert (b"program",) in seen
    assert seen[-1] == (TAG.encode(),)
    stores = len(seen)
    buffer.resolve_tag(TAG)
    assert len(seen) == stores, "done again, it changes nothing"
    storage.close()
