"""The buffer interrupted at its bytecodes: by its own thread logging, and by an exception.

`-m proof` takes every bytecode in turn, and every other run some of them.

A signal handler and a `__del__` may log in the middle of any call; nothing of that may be lost,
doubled or wait for itself. A signal handler may raise, or close; the buffer must be whole
afterwards and go on.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator

import pytest

from logship._buffer import stream
from logship._buffer.buffer import Buffer
from logship._buffer.chunk import ChunkState
from logship._buffer.entrance import Outcome
from logship._reasons import QUARANTINED
from tests.unit.accounts import Sink, Wakes, a_buffer, body, check, check_declared, entries_of
from tests.unit.interruptions import (
    Interrupter,
    Interruption,
    every_point,
    interrupted_by_a_handler,
)

# Since 3.15 a generator that is closed runs a bytecode, and CPython swallows what is raised there.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored while closing generator")

INNER = 777
COMBINE_AT = 16
"""Entries of two tags, and of more than one chunk of each."""

Scene = Callable[[Buffer, Sink], Callable[[], object]]


def offer_first(buffer: Buffer, _: Sink) -> Callable[[], object]:
    return lambda: buffer.offer("new", body(50))


def offer_next(buffer: Buffer, _: Sink) -> Callable[[], object]:
    return lambda: buffer.offer("open", body(50))


def offer_that_seals(buffer: Buffer, _: Sink) -> Callable[[], object]:
    return lambda: buffer.offer("open", body(50, 400))


def offer_after_gaps(buffer: Buffer, _: Sink) -> Callable[[], object]:
    buffer.number_and_drop("open", body(48))
    buffer.offer("other", body(49))
    buffer.drop_oldest()
    return lambda: buffer.offer("open", body(50))


def offer_that_ends_a_stream(buffer: Buffer, _: Sink) -> Callable[[], object]:
    buffer.offer("third", body(49))
    return lambda: buffer.offer("one tag more", body(50))


def offer_to_a_full_buffer(buffer: Buffer, _: Sink) -> Callable[[], object]:
    buffer._entrance.bytes_max = buffer.bytes_held
    return lambda: buffer.offer("open", body(50))


def offer_to_a_closed_buffer(buffer: Buffer, _: Sink) -> Callable[[], object]:
    buffer.close_intake()
    return lambda: buffer.offer("open", body(50))


def offer_that_combines(buffer: Buffer, _: Sink) -> Callable[[], object]:
    """The last of so many that they are combined, of two tags and in more than one chunk."""
    for number in range(1000, 1000 + COMBINE_AT - len(buffer._section.inbox) - 1):
        buffer.offer("ab"[number % 2], body(number))
    return lambda: buffer.offer("open", body(50))


def number_and_drop(buffer: Buffer, _: Sink) -> Callable[[], object]:
    return lambda: buffer.number_and_drop("open", body(50))


def spill_dropped(buffer: Buffer, _: Sink) -> Callable[[], object]:
    dropped = [buffer.number_and_drop("open", body(n)) for n in (48, 49, 50)][1]
    assert dropped is not None
    return lambda: buffer.dropped_was_spilled(dropped)


def drop_sealed(buffer: Buffer, _: Sink) -> Callable[[], object]:
    buffer.seal_all()
    return buffer.drop_oldest


def drop_open(buffer: Buffer, sink: Sink) -> Callable[[], object]:
    sink.take_all()
    return buffer.drop_oldest


def take(buffer: Buffer, _: Sink) -> Callable[[], object]:
    buffer.seal_all()
    return buffer.departure.take


def release(buffer: Buffer, sink: Sink) -> Callable[[], object]:
    buffer.when_space(lambda: None)
    sink.take_all()
    chunk = sink.taken[0]
    return lambda: buffer.release(chunk)


def split(buffer: Buffer, sink: Sink) -> Callable[[], object]:
    buffer.seal_all()
    sink.take_all()
    chunk = next(each for each in sink.taken if each.entries > 1)
    return lambda: buffer.departure.split(chunk)


def quarantine(buffer: Buffer, sink: Sink) -> Callable[[], object]:
    sink.take_all()
    chunk = next(each for each in sink.taken if each.entries == 1)
    return lambda: buffer.give_up(chunk, QUARANTINED)


def seal_due(buffer: Buffer, _: Sink) -> Callable[[], object]:
    return lambda: buffer.departure.seal_due(1e9)


def seal_all(buffer: Buffer, _: Sink) -> Callable[[], object]:
    return buffer.seal_all


def next_deadline(buffer: Buffer, _: Sink) -> Callable[[], object]:
    return buffer.departure.next_deadline_seconds


def when_space(buffer: Buffer, _: Sink) -> Callable[[], object]:
    def arrange_and_take_back() -> None:
        buffer.when_space(lambda: None)()

    return arrange_and_take_back


def close(buffer: Buffer, _: Sink) -> Callable[[], object]:
    buffer.number_and_drop("open", body(50))
    return buffer.close_intake


def report(buffer: Buffer, _: Sink) -> Callable[[], object]:
    return lambda: buffer.report("", 0.0)


SCENES = [
    offer_first, offer_next, offer_that_seals, offer_after_gaps, offer_that_ends_a_stream,
    offer_that_combines, offer_to_a_full_buffer, offer_to_a_closed_buffer, number_and_drop,
    spill_dropped, drop_sealed, drop_open, take, release, split, quarantine, seal_due, seal_all,
    next_deadline, when_space, close, report,
]  # fmt: skip
OFFERS = SCENES[:6]
STEP = 23
"""A run takes some of the bytecodes; `-m proof` takes all."""


@pytest.fixture(autouse=True)
def few_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "STREAMS_MAX", 3)


@pytest.fixture(params=[100_000, 1 << 24], ids=["with care", "through the inbox"])
def bytes_max(request: pytest.FixtureRequest) -> int:
    """A bound near which each entry is looked at, and one that leaves entries in the inbox."""
    return int(request.param)


@pytest.fixture(params=[STEP, pytest.param(1, marks=pytest.mark.proof)])
def step(request: pytest.FixtureRequest) -> int:
    """From one bytecode that is interrupted to the next."""
    return int(request.param)


def a_busy_buffer(bytes_max: int) -> tuple[Buffer, Sink]:
    """Return a buffer with sealed chunks, one of them of a single entry, and two open ones."""
    buffer = a_buffer(chunk_bytes_max=400, bytes_max=bytes_max, combine_at=COMBINE_AT)
    buffer.offer("open", body(1, 500))
    for number in range(2, 5):
        buffer.offer("open", body(number))
    buffer.offer("other", body(5))
    return buffer, Sink(buffer)


def numbers_of(sink: Sink) -> list[int]:
    return sorted(record["n"] for record in sink.acked if "n" in record)


class Stage:
    """A scene, set up; knows what was accepted and judges what came of it."""

    def __init__(self, scene: Scene, bytes_max: int) -> None:
        self.buffer, self.sink = a_busy_buffer(bytes_max)
        self.call = scene(self.buffer, self.sink)
        self.payloads = {each.id: bytes(each.data) for each in self.buffer.unsettled()}
        self.is_release = scene is release
        self.inner: list[Outcome] = []

    def log(self) -> None:
        """What a signal handler does: log."""
        self.inner.append(self.buffer.offer("inner", body(INNER)))

    def settle(self) -> None:
        """Note what the scene's call released itself."""
        if self.is_release:
            for chunk in [c for c in self.sink.taken if c.state is ChunkState.SETTLED]:
                self.sink.taken.remove(chunk)
                self.sink.acked += entries_of(self.payloads[chunk.id])

    def go_on(self) -> None:
        """Log once more, close, deliver; check at each step."""
        self.buffer.unsettled()  # which finishes what was interrupted
        self.settle()
        check(self.buffer, self.sink.acked)
        self.buffer._entrance.bytes_max = 1 << 24
        was_closed = self.buffer.intake_closed
        outcome = self.buffer.offer("open", body(900))
        assert outcome is (Outcome.REFUSED if was_closed else Outcome.ACCEPTED)
        self.buffer.close_intake()
        self.sink.drain()
        check(self.buffer, self.sink.acked)
        assert not self.buffer.unsettled()
        assert self.buffer.bytes_held == 0
        assert numbers_of(self.sink).count(900) == (not was_closed)


def every_interruption(
    scene: Scene, bytes_max: int, act: Callable[[Stage], object], step: int
) -> Iterator[Stage]:
    """Yield each stage after its call was interrupted at one point, and the exception passed.

    Args:
        scene: What is called.
        bytes_max: Of the buffer.
        act: What interrupts it; it may raise `Interruption`.
        step: From one such point to the next.
    """
    stages: list[Stage] = []

    def prepare() -> tuple[Callable[[], object], Callable[[], object]]:
        stage = Stage(scene, bytes_max)
        stages.append(stage)
        return stage.call, lambda: act(stage)

    for run in every_point(prepare, step=step):
        with contextlib.suppress(Interruption):
            run()
        yield stages[-1]


def raise_as_a_bug(_: Stage) -> None:
    raise Interruption


def log_and_raise(stage: Stage) -> None:
    stage.log()
    interrupted_by_a_handler()


def is_in(outcome: Outcome) -> bool:
    return outcome is Outcome.ACCEPTED


each_scene = pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
each_offer = pytest.mark.parametrize("scene", OFFERS, ids=lambda scene: scene.__name__)


@each_scene
def test_a_call_interrupted_by_its_own_thread_loses_and_doubles_nothing(
    scene: Scene, bytes_max: int, step: int
) -> None:
    """At bytecodes, also where only a garbage collection could interrupt."""
    for stage in every_interruption(scene, bytes_max, Stage.log, step):
        stage.go_on()
        assert numbers_of(stage.sink).count(INNER) == sum(map(is_in, stage.inner))
        if scene is not quarantine:
            check_declared(stage.buffer, stage.sink.acked)


@each_scene
@pytest.mark.parametrize("act", [interrupted_by_a_handler, raise_as_a_bug])
def test_a_call_interrupted_by_an_exception_leaves_the_buffer_whole(
    scene: Scene, bytes_max: int, act: Callable[[Stage], object], step: int
) -> None:
    for stage in every_interruption(scene, bytes_max, act, step):
        stage.go_on()
        assert numbers_of(stage.sink).count(50) <= 1
        if scene is not quarantine:
            check_declared(stage.buffer, stage.sink.acked)


@each_offer
def test_a_handler_that_logs_and_then_raises_loses_nothing(
    scene: Scene, bytes_max: int, step: int
) -> None:
    """What the handler logged was promised a place, though the call it interrupted is over."""
    for stage in every_interruption(scene, bytes_max, log_and_raise, step):
        stage.go_on()
        assert numbers_of(stage.sink).count(INNER) == len(stage.inner)


def test_a_second_exception_while_a_change_is_finished_does_no_harm() -> None:
    """The first comes between a change's commit and its end, the second in the finishing."""

    def interrupted_stage(at: int) -> Stage:
        stage = Stage(offer_next, 100_000)
        with contextlib.suppress(Interruption):
            Interrupter(interrupted_by_a_handler, at).run(stage.call)
        return stage

    def is_torn(at: int) -> bool:
        return interrupted_stage(at).buffer._section.accumulator.changes.pending is not None

    first_torn = next(filter(is_torn, itertools.count()))

    stages: list[Stage] = []

    def prepare() -> tuple[Callable[[], object], Callable[[], object]]:
        stage = interrupted_stage(first_torn)
        stages.append(stage)
        return stage.buffer.unsettled, interrupted_by_a_handler

    for run in every_point(prepare):
        with contextlib.suppress(Interruption):
            run()
        stages[-1].go_on()
        assert numbers_of(stages[-1].sink).count(50) == 1


@each_offer
def test_a_handler_that_closes_and_logs_is_told_the_truth(
    scene: Scene, bytes_max: int, step: int
) -> None:
    def close_and_log(stage: Stage) -> None:
        stage.buffer.close_intake()
        stage.log()

    for stage in every_interruption(scene, bytes_max, close_and_log, step):
        stage.go_on()
        assert numbers_of(stage.sink).count(INNER) == sum(map(is_in, stage.inner))


@each_offer
def test_a_call_is_told_the_truth_while_a_handler_closes(
    scene: Scene, bytes_max: int, step: int
) -> None:
    answers: list[Outcome] = []

    def told(buffer: Buffer, sink: Sink) -> Callable[[], object]:
        call = scene(buffer, sink)
        return lambda: answers.append(call())  # type: ignore[arg-type]

    for stage in every_interruption(told, bytes_max, lambda s: s.buffer.close_intake(), step):
        check(stage.buffer, stage.sink.acked)
        stage.go_on()
        check_declared(stage.buffer, stage.sink.acked)
        assert numbers_of(stage.sink).count(50) == is_in(answers[-1])


@pytest.mark.parametrize("act", [Stage.log, log_and_raise], ids=["logs", "logs and raises"])
@pytest.mark.parametrize("scene", [offer_first, next_deadline, take], ids=lambda s: s.__name__)
def test_an_interruption_loses_no_wake_up(
    scene: Scene, act: Callable[[Stage], object], bytes_max: int, step: int
) -> None:
    """After it, a sleeping shipper was woken or has a timer for all there is."""
    timers: list[object] = []

    def rested(buffer: Buffer, sink: Sink) -> Callable[[], object]:
        call = scene(buffer, sink)
        timers.clear()
        sink.drain()
        buffer.departure.next_deadline_seconds()
        wakes = buffer._section.wakeups.wake
        assert isinstance(wakes, Wakes)
        wakes.count = 0
        return lambda: timers.append(call())

    for stage in every_interruption(rested, bytes_max, act, step):
        buffer = stage.buffer
        wakes = buffer._section.wakeups.wake
        assert isinstance(wakes, Wakes)
        if buffer._section.inbox or buffer._section.accumulator.chunks.unsettled:
            has_timer = scene is next_deadline and timers not in ([], [None])
            assert wakes.count >= 1 or has_timer
