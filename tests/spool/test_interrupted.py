"""Shows a spool whose writer is interrupted by an exception wherever a signal handler may raise.

After each, the buffer must agree with its files: what a crash would leave is what it believes is
waiting, and when that is shipped, no segment stays in use.
"""

from __future__ import annotations

import contextlib
import os
import pkgutil
import shutil
import signal
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from types import FrameType

import pytest

import logship._spool
from logship._buffer.buffer import Buffer
from logship._buffer.stream import Stream
from logship._protocol.entries import unpack_entries
from logship._spool.mapped import Mapping, Words, map_file
from logship._spool.orphans import Orphans
from logship._spool.slots import read_streams
from logship._spool.storage import RETRY_SECONDS, SpoolStorage
from tests.spool.recoveries import Sidecar, dead_life, log_some, recover
from tests.spool.spools import (
    KEY,
    SEGMENT_BYTES,
    WatchedFiles,
    buffer_on,
    offer,
    read_files,
    spooled,
    storage_in,
)
from tests.spool.test_honest_recovery import PLACES
from tests.unit.interruptions import BUFFER_ROOM, Interrupter

# Since 3.15 the close of a generator is traced, and what is raised in it goes nowhere.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored while closing generator")

POINTS_MAX = 9000
STEP = 11
"""From one point to the next: a scene has thousands."""

SPOOL_ROOM = str(Path(logship._spool.__file__).parent)
SPOOL_STEP = 5


class Alarm(BaseException):
    """What a signal handler raises."""


def _alarm() -> None:
    raise Alarm


class Scene:
    """A buffer on a spool with chunks in every state."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.files = WatchedFiles()
        self.seconds = 0.0
        self.storage: SpoolStorage = storage_in(
            path, mapper=self.files.map, monotonic=lambda: self.seconds
        )
        self.buffer: Buffer = buffer_on(self.storage)
        for number in range(12):
            assert offer(self.buffer, f"m{number}", "ab"[number % 2], 300)
        self.buffer.seal_all()
        self.taken = [self.buffer.departure.take() for _ in "12"]
        for number in range(12, 15):
            assert offer(self.buffer, f"m{number}", "a", 100)
        assert self.storage._own is not None
        self.life = self.storage._own.directory.id

    def look_again(self) -> None:
        """Look for the directory, which is due."""
        self.seconds += RETRY_SECONDS
        self.storage.maintain(self.buffer.exclusively)

    def check(self) -> None:
        """Compare buffer and files, then ship all."""
        assert offer(self.buffer, "afterwards", "a") or self.buffer.intake_closed
        waiting = {
            record["message"]
            for chunk in self.buffer.unsettled()
            for _, record in unpack_entries(bytes(chunk.whole.data))
            if "pad" in record
        }
        left = read_files(self.files.segments(), self.life)
        assert left.faults == []
        slots = [each.stream for each in read_streams(self.files.streams(), self.life).streams]
        assert len(slots) == len(set(slots))
        assert set(left.markers) == waiting
        assert len(left.markers) == len(waiting)
        report = self.buffer.report("", 0.0)
        parts = report.acked + report.spooled + report.spilled + report.dropped + report.unacked
        assert report.accepted == parts
        for chunk in self.buffer.unsettled():
            self.buffer.seal_all()
            self.buffer.release(chunk)
        assert self.storage._own is not None
        assert not any(segment.live for segment in self.storage._own.segments)
        self.storage.close()


def test_a_time_limit_passes_while_files_are_made(
    tmp_path: Path, time_limit: Callable[[], None]
) -> None:
    is_due = True

    def map_late(descriptor: int, size: int) -> tuple[Mapping, Words]:
        nonlocal is_due
        if is_due:
            is_due = False
            time_limit()
        return map_file(descriptor, size)

    with pytest.raises(TimeoutError):
        storage_in(tmp_path, mapper=map_late)
    storage, buffer = spooled(tmp_path, mapper=map_late)
    is_due, numbers = True, count()

    def fill() -> None:
        while is_due:
            offer(buffer, f"m{next(numbers)}", size=900)

    with pytest.raises(TimeoutError):
        fill()
    assert offer(buffer, "afterwards")
    assert not storage.news
    assert not storage.unspooled
    storage.abandon()
    markers = [f"m{number}" for number in range(next(numbers) - 1)]
    assert recover(tmp_path).markers == [*markers, "afterwards"]


def test_a_time_limit_passes_while_a_directory_is_begun(
    tmp_path: Path, time_limit: Callable[[], None]
) -> None:
    interruptions = iter([time_limit])

    def draw(size: int) -> bytes:
        for interrupt in interruptions:
            interrupt()
        return os.urandom(size)

    with pytest.raises(TimeoutError):
        storage_in(tmp_path, random_bytes=draw)


def offer_more(scene: Scene) -> None:
    offer(scene.buffer, "more", "a")


def offer_another_tag(scene: Scene) -> None:
    offer(scene.buffer, "another", "c")


def offer_what_needs_another_segment(scene: Scene) -> None:
    offer(scene.buffer, "large", "a", SEGMENT_BYTES - 2000)


def release(scene: Scene) -> None:
    chunk = scene.taken[0]
    assert chunk is not None
    scene.buffer.release(chunk)


def split(scene: Scene) -> None:
    chunk = scene.taken[1]
    assert chunk is not None
    halves = scene.buffer.departure.split(chunk)
    assert halves is not None
    for half in halves:
        scene.buffer.release(half)


def drop(scene: Scene) -> None:
    scene.buffer.drop_oldest()


def number_and_drop(scene: Scene) -> None:
    scene.buffer.number_and_drop("a", b"")


def close(scene: Scene) -> None:
    scene.buffer.close_intake()


SCENES = [offer_more, offer_another_tag, offer_what_needs_another_segment, release, split, drop,
          number_and_drop, close]  # fmt: skip


@pytest.mark.parametrize("act", SCENES, ids=lambda act: act.__name__)
@pytest.mark.parametrize(
    ("room", "step"), [(BUFFER_ROOM, STEP), (SPOOL_ROOM, SPOOL_STEP)], ids=["buffer", "spool"]
)
def test_an_exception_anywhere_leaves_buffer_and_files_agreed(
    tmp_path: Path, act: Callable[[Scene], None], room: str, step: int
) -> None:
    for at in range(0, POINTS_MAX, step):
        scene = Scene(tmp_path / str(at))
        interrupter = Interrupter(_alarm, at, room)
        try:
            interrupter.run(lambda scene=scene: act(scene))  # type: ignore[misc]
        except Alarm:
            assert interrupter.done
        scene.check()
        if not interrupter.done:
            return
    raise AssertionError(f"more than {POINTS_MAX} points")


def test_an_exception_while_a_lost_directory_is_left_does_not_end_the_use_of_the_spool(
    tmp_path: Path,
) -> None:
    for at in range(0, POINTS_MAX, SPOOL_STEP):
        scene = Scene(tmp_path / str(at))
        for life in (tmp_path / str(at)).iterdir():
            shutil.rmtree(life)
        interrupter = Interrupter(_alarm, at, SPOOL_ROOM)
        with contextlib.suppress(Alarm):
            interrupter.run(scene.look_again)
        scene.look_again()
        scene.look_again()
        assert offer(scene.buffer, "afterwards", "z")
        *lost, afterwards = scene.buffer.unsettled()
        assert afterwards.spooled
        assert not any(chunk.spooled for chunk in lost)
        scene.storage.close()
        if not interrupter.done:
            return
    raise AssertionError(f"more than {POINTS_MAX} points")


def test_a_chunk_that_was_opened_in_vain_does_not_begin_with_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first entry would have another number than its header says, which is damage."""
    storage, buffer = spooled(tmp_path)
    stamped = Stream.stamped

    def stamped_if_small(stream: Stream, bodies: Sequence[bytes]) -> bytes:
        if any(bodies):
            raise MemoryError
        return stamped(stream, bodies)

    with monkeypatch.context() as patch:
        patch.setattr(Stream, "stamped", stamped_if_small)
        assert offer(buffer, "m0")
        assert buffer.number_and_drop("tag", b"") is not None
    assert offer(buffer, "m1")
    storage.abandon()
    recovered = recover(tmp_path)
    assert recovered.markers == ["m0", "m1"]
    assert recovered.orphans.counters.damaged == 0


@pytest.mark.parametrize("kind", [Exception, OSError])
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_what_a_signal_handler_raises_in_a_recovery_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, kind: type[Exception]
) -> None:
    class Late(kind):  # type: ignore[misc, valid-type]
        pass

    def handler(_signum: int, _frame: FrameType | None) -> None:
        raise Late

    owner, _, name = place.rpartition(".")
    real = getattr(pkgutil.resolve_name(owner), name)

    def interrupted(*arguments: object) -> object:
        patch.setattr(pkgutil.resolve_name(owner), name, real)
        signal.raise_signal(signal.SIGUSR1)
        return real(*arguments)

    lives = [dead_life(tmp_path, lambda buffer: log_some(buffer, 3)) for _ in "xy"]
    sidecar = Sidecar(Orphans(tmp_path))
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(pkgutil.resolve_name(owner), name, interrupted)
            with pytest.raises(Late):
                sidecar.take_in()
            sidecar.take_in()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert sum(life.exists() for life in lives) <= 1
    sidecar.orphans.close()
    left = recover(tmp_path)
    assert len({each[KEY] for each in [*sidecar.records, *left.records]}) == 6
    assert not any(life.exists() for life in lives)
