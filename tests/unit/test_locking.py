"""A section lock runs one call at a time and is free again after every exception."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from logship._hooks import locking
from logship._hooks.locking import SectionLock
from tests.support.raising import raising
from tests.support.threads import Later

STORM_RAISES = 1_500
STORM_INTERVAL_SECONDS = 0.0002


class Interrupted(Exception):  # noqa: N818 - what a signal handler of an application raises
    """Raised by the alarm."""


@pytest.fixture
def lock() -> SectionLock:
    return SectionLock()


@contextmanager
def held_elsewhere(lock: SectionLock) -> Iterator[threading.Event]:
    """Hold the lock in another thread until the yielded event is set, or the block ends."""
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        release.wait()

    thread = threading.Thread(target=lambda: lock.run(hold, None))
    thread.start()
    held.wait()
    try:
        yield release
    finally:
        release.set()
        thread.join()


def is_free_for_others(lock: SectionLock) -> bool:
    """Try the lock in another thread."""
    return Later(lambda: lock.run(lambda: True, False)).join() is True


def test_it_returns_what_the_work_returns(lock: SectionLock) -> None:
    assert lock.run(lock.is_owned, False)
    assert not lock.is_owned()


def test_a_call_in_the_middle_of_another_is_refused_even_if_it_would_wait() -> None:
    lock = SectionLock()
    assert lock.run(lambda: lock.run(lambda: "inner", "refused", -1), "outer") == "refused"
    assert is_free_for_others(lock)


def test_a_call_in_the_middle_of_another_may_hold_it_too(lock: SectionLock) -> None:
    assert lock.hold(lambda: lock.hold(lambda: "inner")) == "inner"
    assert is_free_for_others(lock)


def test_a_fork_waits_for_another_thread_only_so_long(
    lock: SectionLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locking, "_FORK_WAITS_SECONDS_MAX", 0.05)
    with held_elsewhere(lock):
        lock.before_fork()
        lock.after_fork_in_parent()
    lock.before_fork()
    assert not is_free_for_others(lock)
    lock.after_fork_in_parent()
    assert is_free_for_others(lock)


def test_a_lock_of_another_thread_is_refused_at_once_or_after_the_patience() -> None:
    lock = SectionLock()
    with held_elsewhere(lock):
        assert not lock.is_owned()
        assert lock.run(lambda: "ran", "refused") == "refused"
        assert lock.run(lambda: "ran", "refused", 0.01) == "refused"
    assert lock.run(lambda: "ran", "refused") == "ran"


def test_it_waits_for_another_thread(lock: SectionLock) -> None:
    with held_elsewhere(lock) as release:
        threading.Timer(0.01, release.set).start()
        assert lock.run(lambda: "ran", "refused", -1) == "ran"


@pytest.mark.parametrize("error", [ValueError, RuntimeError, KeyboardInterrupt])
def test_what_the_work_raises_passes_and_leaves_the_lock_free(error: type[BaseException]) -> None:
    lock = SectionLock()
    with pytest.raises(error, match="of the work"):
        lock.run(raising(error("of the work")), None)
    assert is_free_for_others(lock)


def test_a_forked_child_begins_with_a_free_lock(lock: SectionLock) -> None:
    with held_elsewhere(lock):
        child = os.fork()
        if child == 0:
            lock.reset()
            os._exit(0 if lock.run(lambda: True, False) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def raises_in(caught: BaseException | None, error: type[Exception]) -> int:
    """Return how often the handler raised: a second alarm may come while the first one passes."""
    raises = 0
    while caught is not None:
        raises += isinstance(caught, error) and "handler" in str(caught)
        caught = caught.__context__
    return raises


@pytest.mark.parametrize("error", [Interrupted, RuntimeError])
@pytest.mark.parametrize("patience_seconds", [0.0, -1.0])
def test_a_handler_that_raises_at_any_moment_never_leaves_it_owned(
    lock: SectionLock, error: type[Exception], patience_seconds: float
) -> None:
    is_armed, raised, seen, left_owned = False, 0, 0, 0
    storms_on = True

    def on_alarm(number: int, frame: FrameType | None) -> None:
        nonlocal raised
        if is_armed:
            lock.run(lambda: None, None)  # as an application that logs before it raises
            exception = error("out of the handler")
            raised += 1  # no call comes between this and the raise, so no second alarm
            raise exception

    def contend() -> None:
        while storms_on:
            lock.run(lambda: None, None, 0.001)

    contender = threading.Thread(target=contend)
    gc.disable()  # what a handler raises in the middle of a gc callback reaches no caller
    before = signal.signal(signal.SIGALRM, on_alarm)
    contender.start()
    signal.setitimer(signal.ITIMER_REAL, STORM_INTERVAL_SECONDS, STORM_INTERVAL_SECONDS)
    try:
        while raised < STORM_RAISES:
            try:
                is_armed = True
                while True:
                    lock.run(lambda: None, None, patience_seconds)
            except error as caught:
                is_armed = False
                seen += raises_in(caught, error)
            left_owned += lock.is_owned()
    finally:
        is_armed = storms_on = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
        contender.join()
    assert left_owned == 0
    assert seen == raised, "each exception of the handler reached the caller"
    assert is_free_for_others(lock)


def interrupted_on_line(lock: SectionLock, count: int) -> bool:
    """Run a call with a tracer that raises on this line of it; tell whether there are so many."""
    left = count

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename != SectionLock.run.__code__.co_filename:
            return None
        left -= event == "line"
        if event == "line" and left == 0:
            raise Interrupted
        return trace

    before = sys.gettrace()
    try:
        sys.settrace(trace)
        lock.run(lambda: None, None)
    except Interrupted:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("is_free", [True, False], ids=["free", "held elsewhere"])
def test_a_tracer_that_raises_on_any_line_of_it_never_leaves_it_owned(
    lock: SectionLock, is_free: bool
) -> None:
    """A signal handler that raises inside a tracer, which a debugger may be, does the same."""
    lines = 0
    with contextlib.nullcontext() if is_free else held_elsewhere(lock):
        while interrupted_on_line(lock, lines + 1):
            assert not lock.is_owned()
            lines += 1
    assert lines > 5
    assert is_free_for_others(lock)
