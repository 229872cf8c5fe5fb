"""The calls that wait for space: callbacks that are called once when bytes come free."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

Callback = Callable[[], None]


class Waiters:
    """Callbacks of calls that wait for space.

    Attributes:
        are_due: Whether bytes came free since they were last told.
    """

    def __init__(self) -> None:
        self._callbacks: list[Callback] = []
        self.are_due: bool = False

    def add(self, callback: Callback) -> Callback:
        """Arrange for a call; return what takes the arrangement back."""
        self._callbacks.append(callback)

        def take_back() -> None:
            with contextlib.suppress(ValueError):  # it was called
                self._callbacks.remove(callback)

        return take_back

    def tell(self) -> None:
        """Call all of them, outside the lock.

        Each is called first and then forgotten, so that an exception in between loses none.
        """
        self.are_due = False
        try:
            for callback in self._callbacks[:]:
                callback()
                with contextlib.suppress(ValueError):  # it was taken back
                    self._callbacks.remove(callback)
        except BaseException:
            self.are_due = True
            raise
