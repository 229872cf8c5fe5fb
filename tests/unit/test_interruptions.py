"""Shows whose an exception is: an application's signal handler's, or a record's own."""

from __future__ import annotations

import functools
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

import pytest

from logship._hooks.interruptions import is_interruption


class Interruption(Exception):  # noqa: N818 - it need not be an error
    pass


@pytest.fixture(autouse=True)
def disposition() -> Iterator[None]:
    found = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, found)


def caught(call: Callable[[], object]) -> Exception:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - as logship catches it
        return error
    pytest.fail("nothing was raised")


def interrupted_by(handler: Any) -> Callable[[], object]:
    """Return a call that a handler of SIGUSR1 interrupts."""
    signal.signal(signal.SIGUSR1, handler)

    def call() -> None:
        signal.raise_signal(signal.SIGUSR1)

    return call


def named(signum: int, frame: FrameType | None) -> NoReturn:
    raise Interruption


def without_its_arguments(signum: int, frame: FrameType | None) -> NoReturn:
    del signum, frame
    raise Interruption


def through_another(signum: int, frame: FrameType | None) -> NoReturn:
    named(signum, frame)


def traced(function: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(function)
    def wrapper(*args: object, **keywords: object) -> object:
        return function(*args, **keywords)

    return wrapper


class Handler:
    def method(self, signum: int, frame: FrameType | None) -> NoReturn:
        raise Interruption

    def __call__(self, signum: int, frame: FrameType | None) -> NoReturn:
        raise Interruption


def raise_told(*_: object) -> NoReturn:
    raise Interruption


def dropping_all(*arguments: object) -> NoReturn:
    del arguments
    raise Interruption


HANDLERS = {
    "one of any arguments that drops them": dropping_all,
    "a function": named,
    "one that drops its arguments": without_its_arguments,
    "one that calls another": through_another,
    "one of any arguments": raise_told,
    "a method": Handler().method,
    "an object": Handler(),
    "a partial": functools.partial(lambda _, signum, frame: raise_told(), 1),
    "a decorated function": traced(lambda signum, frame: raise_told()),
}


@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS)
def test_what_a_handler_raises_is_the_applications(handler: Any) -> None:
    assert is_interruption(caught(interrupted_by(handler)))


@pytest.mark.parametrize(
    "handler",
    [each for each in HANDLERS.values() if each not in (without_its_arguments, dropping_all)],
)
def test_it_is_also_where_another_handler_is_set_by_then(handler: Any) -> None:
    error = caught(interrupted_by(handler))
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    assert is_interruption(error)


def test_what_a_function_raises_that_is_decorated_as_a_handler_is_is_its_own() -> None:
    """All functions of one decorator share the code of its wrapper."""
    signal.signal(signal.SIGUSR1, traced(named))
    assert not is_interruption(caught(lambda: traced(raise_told)({"message": "x"})))


def test_what_a_function_raises_that_is_given_a_frame_is_its_own() -> None:
    def describe(level: int, frame: FrameType) -> NoReturn:
        raise Interruption

    def call() -> None:
        describe(2, sys._getframe(1))

    assert not is_interruption(caught(call))
