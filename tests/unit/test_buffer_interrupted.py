"""The buffer interrupted at every bytecode: by its own thread logging, and by an exception.

A signal handler and a `__del__` may log in the middle of any call; nothing of that may be lost,
doubled or wait for itself. A signal handler may raise, or close; the buffer must be whole
afterwards and go on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from logship.buffer import buffer as buffer_module
from logship.buffer.buffer import OVERFLOW_REASON, Buffer, Outcome
from logship.buffer.chunk import ChunkState
from logship.protocol.bodies import Bodies
from logship.testing import ManualClock
from tests.unit.accounts import Sink, Wakes, a_buffer, body, check, check_declared, entries_of
from tests.unit.interruptions import every_point

INNER = 777
Scene = Callable[[Buffer, Sink], Callable[[], object]]


def offer_first(buffer: Buffer, _: Sink) -> Callable[[], object]:
    return lambda: buffer.offer("new", body(50))


def offer_next(buffer: Buffer, _: Sink) -> Callable[[], object]:
    return lambda: buffer.offer("open", body(50))


def offer_that_seals(buffer: Buffer, _: Sink) -> Callable[[], object]:
    return lambda: buffer.offer("open", body(50, 400))


def offer_after_gaps(buffer: Buffer, _: Sink) -> Callable[[], object]:
    buffer.burn("open", body(48), OVERFLOW_REASON)
    buffer.offer("other", body(49))
    buffer.drop_oldest()
    return lambda: buffer.offer("open", body(50))


def offer_that_ends_a_stream(buffer: Buffer, _: Sink) -> Callable[[], object]:
    buffer.offer("third", body(49))
    return lambda: buffer.offer("one tag more", body(50))


def offer_to_a_full_buffer(buffer: Buffer, _: Sink) -> Callable[[], object]:
    buffer.bytes_max = buffer.bytes_held
    return lambda: buffer.offer("open", body(50))


def offer_to_a_closed_buffer(buffer: Buffer, _: Sink) -> Callable[[], object]:
    buffer.close_intake()
    return lambda: buffer.offer("open", body(50))


def offer_several(buffer: Buffer, _: Sink) -> Callable[[], object]:
    bodies = Bodies.of([body(50), body(51, 400), body(52)])
    return lambda: buffer.offer_many("open", bodies)


def burn(buffer: Buffer, _: Sink) -> Callable[[], object]:
    return lambda: buffer.burn("open", body(50), OVERFLOW_REASON)


def spill_burned(buffer: Buffer, _: Sink) -> Callable[[], object]:
    burned = [buffer.burn("open", body(n), OVERFLOW_REASON) for n in (48, 49, 50)][1]
    assert burned is not None
    return lambda: buffer.burned_was_spilled(burned, OVERFLOW_REASON)


def drop_sealed(buffer: Buffer, _: Sink) -> Callable[[], object]:
    buffer.seal_all()
    return buffer.drop_oldest


def drop_open(buffer: Buffer, sink: Sink) -> Callable[[], object]:
    sink.take_all()
    return buffer.drop_oldest


def take(buffer: Buffer, _: Sink) -> Callable[[], object]:
    buffer.seal_all()
    return buffer.take


def release(buffer: Buffer, sink: Sink) -> Callable[[], object]:
    buffer.when_space(lambda: None)
    sink.take_all()
    chunk = sink.taken[0]
    return lambda: buffer.release(chunk)


def split(buffer: Buffer, sink: Sink) -> Callable[[], object]:
    buffer.seal_all()
    sink.take_all()
    chunk = next(each for each in sink.taken if each.entries > 1)
    return lambda: buffer.split(chunk)


def quarantine(buffer: Buffer, sink: Sink) -> Callable[[], object]:
    sink.take_all()
    chunk = next(each for each in sink.taken if each.entries == 1)
    return lambda: buffer.quarantine(chunk, spilled=False)


def seal_due(buffer: Buffer, _: Sink) -> Callable[[], object]:
    return lambda: buffer.seal_due(1e9)


def seal_all(buffer: Buffer, _: Sink) -> Callable[[], object]:
    return buffer.seal_all


def next_deadline(buffer: Buffer, _: Sink) -> Callable[[], object]:
    return buffer.next_deadline_seconds


def when_space(buffer: Buffer, _: Sink) -> Callable[[], object]:
    def arrange_and_take_back() -> None:
        buffer.when_space(lambda: None)()

    return arrange_and_take_back


def close(buffer: Buffer, _: Sink) -> Callable[[], object]:
    buffer.burn("open", body(50), OVERFLOW_REASON)
    return buffer.close_intake


def report(buffer: Buffer, _: Sink) -> Callable[[], object]:
    return lambda: buffer.report("", 0.0)


SCENES = [
    offer_first, offer_next, offer_that_seals, offer_after_gaps, offer_that_ends_a_stream,
    offer_several, offer_to_a_full_buffer, offer_to_a_closed_buffer, burn, spill_burned,
    drop_sealed, drop_open, take, release, split, quarantine, seal_due, seal_all, next_deadline,
    when_space, close, report,
]  # fmt: skip
OFFERS = SCENES[:6]


@pytest.fixture(autouse=True)
def few_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer_module, "STREAMS_MAX", 3)


def a_busy_buffer() -> tuple[Buffer, Sink]:
    """Return a buffer with sealed chunks, one of them of a single entry, and two open ones."""
    buffer = a_buffer(chunk_bytes_max=400)
    buffer.offer("open", body(1, 500))
    for number in range(2, 5):
        buffer.offer("open", body(number))
    buffer.offer("other", body(5))
    return buffer, Sink(buffer)


def numbers_of(sink: Sink) -> list[int]:
    return sorted(record["n"] for record in sink.acked if "n" in record)


class Stage:
    """A scene, set up; knows what was accepted and judges what came of it."""

    def __init__(self, scene: Scene) -> None:
        self.buffer, self.sink = a_busy_buffer()
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
        self.settle()
        check(self.buffer, self.sink.acked)
        self.buffer.bytes_max = 10**6
        was_closed = self.buffer.intake_closed
        outcome = self.buffer.offer("open", body(900))
        assert outcome is (Outcome.CLOSED if was_closed else Outcome.ACCEPTED)
        self.buffer.close_intake()
        self.sink.drain()
        check(self.buffer, self.sink.acked)
        assert not self.buffer.unsettled()
        assert self.buffer.bytes_held == 0
        assert numbers_of(self.sink).count(900) == (not was_closed)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_a_call_interrupted_by_its_own_thread_loses_and_doubles_nothing(scene: Scene) -> None:
    """At every bytecode of an offer, also where only a garbage collection could interrupt."""
    stages: list[Stage] = []

    def prepare() -> tuple[Callable[[], object], Callable[[], object]]:
        stages.append(Stage(scene))
        return stages[-1].call, stages[-1].log

    for run in every_point(prepare, step=1 if scene in OFFERS else 7):
        run()
        stage = stages[-1]
        stage.go_on()
        if stage.inner:
            refused = stage.inner == [Outcome.CLOSED]
            full = stage.inner == [Outcome.FULL]
            assert numbers_of(stage.sink).count(INNER) == (not refused and not full)
        if scene is not quarantine:
            check_declared(stage.buffer, stage.sink.acked)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_a_call_interrupted_by_an_exception_leaves_the_buffer_whole(scene: Scene) -> None:
    stages: list[Stage] = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    def prepare() -> tuple[Callable[[], object], Callable[[], object]]:
        stages.append(Stage(scene))
        return stages[-1].call, interrupt

    for run in every_point(prepare, at_signal_points=True):
        with contextlib.suppress(KeyboardInterrupt):
            run()
        stage = stages[-1]
        stage.go_on()
        assert numbers_of(stage.sink).count(50) <= 1
        if scene is not quarantine:
            check_declared(stage.buffer, stage.sink.acked)


@pytest.mark.parametrize("scene", OFFERS, ids=lambda scene: scene.__name__)
def test_a_handler_that_logs_and_then_raises_loses_nothing(scene: Scene) -> None:
    """What the handler logged was promised a place, though the call it interrupted is over."""
    stages: list[Stage] = []

    def prepare() -> tuple[Callable[[], object], Callable[[], object]]:
        stage = Stage(scene)
        stages.append(stage)

        def log_and_raise() -> None:
            stage.log()
            raise SystemExit(143)

        return stage.call, log_and_raise

    for run in every_point(prepare, at_signal_points=True):
        with contextlib.suppress(SystemExit):
            run()
        stage = stages[-1]
        stage.go_on()
        assert numbers_of(stage.sink).count(INNER) == len(stage.inner)


def test_what_a_handler_logged_is_taken_once_though_exceptions_follow() -> None:
    """It waits in the deferred list; wherever the exception strikes, it gets one number."""
    stages: list[Stage] = []

    def prepare() -> tuple[Callable[[], object], Callable[[], object]]:
        stage = Stage(offer_first)
        stages.append(stage)
        monotonic = stage.buffer._monotonic

        def interrupted_clock() -> float:  # read in the middle of an offer that opens a chunk
            stage.buffer._monotonic = monotonic
            stage.log()
            return monotonic()

        stage.buffer._monotonic = interrupted_clock
        return stage.call, _interrupt

    for run in every_point(prepare, at_signal_points=True):
        with contextlib.suppress(KeyboardInterrupt):
            run()
        stage = stages[-1]
        stage.buffer._monotonic = ManualClock()
        stage.go_on()
        assert len(stage.inner) <= numbers_of(stage.sink).count(INNER) <= 1


def test_what_a_handler_logged_before_it_raised_is_taken_by_the_close_that_follows() -> None:
    stages: list[Stage] = []

    def prepare() -> tuple[Callable[[], object], Callable[[], object]]:
        stage = Stage(offer_first)
        stages.append(stage)

        def log_and_raise() -> None:
            stage.log()
            raise SystemExit(143)

        return stage.call, log_and_raise

    for run in every_point(prepare, at_signal_points=True):
        with contextlib.suppress(SystemExit):
            run()
        stage = stages[-1]
        stage.buffer.close_intake()
        stage.sink.drain()
        check(stage.buffer, stage.sink.acked)
        check_declared(stage.buffer, stage.sink.acked)
        assert numbers_of(stage.sink).count(INNER) == len(stage.inner)


@pytest.mark.parametrize("scene", OFFERS, ids=lambda scene: scene.__name__)
def test_a_second_exception_during_the_repair_does_no_harm(scene: Scene) -> None:
    """The repair is itself interrupted, at every point of it."""

    def torn_stage() -> Stage:
        stage = Stage(scene)
        points = every_point(lambda: (stage.call, _interrupt), at_signal_points=True)
        for _ in range(12):  # somewhere in the middle
            run = next(points)
            try:
                run()
            except KeyboardInterrupt:
                if stage.buffer._torn:
                    return stage
            stage.__init__(scene)  # type: ignore[misc]
        return stage

    stages: list[Stage] = []

    def prepare() -> tuple[Callable[[], object], Callable[[], object]]:
        stages.append(torn_stage())
        assert stages[-1].buffer._torn
        return stages[-1].buffer.unsettled, _interrupt

    for run in every_point(prepare, at_signal_points=True):
        with contextlib.suppress(KeyboardInterrupt):
            run()
        stages[-1].go_on()


def _interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("scene", OFFERS, ids=lambda scene: scene.__name__)
def test_a_handler_that_closes_in_the_middle_of_a_call_loses_nothing(scene: Scene) -> None:
    stages: list[Stage] = []

    def prepare() -> tuple[Callable[[], object], Callable[[], object]]:
        stages.append(Stage(scene))
        return stages[-1].call, stages[-1].buffer.close_intake

    for run in every_point(prepare, step=5):
        run()
        stage = stages[-1]
        check(stage.buffer, stage.sink.acked)
        stage.go_on()
        check_declared(stage.buffer, stage.sink.acked)


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("scene", [offer_first, next_deadline, take], ids=lambda s: s.__name__)
def test_an_interruption_loses_no_wake_up(scene: Scene, raises: bool) -> None:
    """After it, a sleeping shipper was woken or has a timer for all there is."""
    stages: list[Stage] = []

    def prepare() -> tuple[Callable[[], object], Callable[[], object]]:
        stage = Stage(scene)
        stages.append(stage)
        stage.sink.drain()
        stage.buffer.next_deadline_seconds()
        wakes = stage.buffer.wake
        assert isinstance(wakes, Wakes)
        wakes.count = 0

        def interrupt() -> None:
            stage.log()
            if raises:
                raise KeyboardInterrupt

        return stage.call, interrupt

    for run in every_point(prepare, at_signal_points=True):
        with contextlib.suppress(KeyboardInterrupt):
            run()
        buffer = stages[-1].buffer
        assert isinstance(buffer.wake, Wakes)
        if buffer.unsettled() or stages[-1].inner:
            assert buffer.wake.count >= 1
