"""What fails because a test wants it to: functions that raise, and an object without a text."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn


def reraise(error: BaseException) -> NoReturn:
    """Raise this: told of an error, it fails the test in the call that meets it."""
    raise error


def raising(error: BaseException | type[BaseException]) -> Callable[..., NoReturn]:
    """Return a function that raises this, whatever it is called with."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    return fail


class Unprintable:
    def __repr__(self) -> str:
        raise ValueError("no text today")
