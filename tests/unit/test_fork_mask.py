"""What is blocked around a fork is let in again, whatever comes in between."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from logship._hooks import fork


@pytest.fixture
def mask() -> Iterator[set[int]]:
    """What this thread blocks, which must be the same behind the test."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield before
    after = signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert after == before
    assert fork._masks == {}


@pytest.fixture(autouse=True)
def held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fork, "_held_back", {signal.SIGTERM})


def test_what_the_application_blocks_stays_blocked() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        fork._hold_signals_back()
        fork._let_signals_in()
        assert signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.mark.parametrize("raising_call", range(3))
@pytest.mark.usefixtures("mask")
def test_a_handler_that_raises_in_between(
    raising_call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs where the interpreter looks for signals, as `pthread_sigmask` does at its end."""
    real, calls = signal.pthread_sigmask, iter(range(9))

    def interrupted(*arguments: Any) -> set[int]:
        before = real(*arguments)
        if next(calls) == raising_call:
            raise KeyboardInterrupt
        return before

    with monkeypatch.context() as patch:
        patch.setattr(signal, "pthread_sigmask", interrupted)
        for step in (fork._hold_signals_back, fork._let_signals_in):
            with contextlib.suppress(KeyboardInterrupt):  # as CPython does with such functions
                step()


@pytest.mark.usefixtures("mask")
def test_a_fork_in_the_middle_of_a_fork() -> None:
    """A signal handler may fork where the first one has just blocked."""
    fork._hold_signals_back()
    fork._hold_signals_back()
    fork._let_signals_in()
    fork._let_signals_in()
