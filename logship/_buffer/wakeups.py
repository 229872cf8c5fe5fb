"""What wakes the shipper, and the calls that wait for space.

Whether the shipper must be woken is one state, which the shipper sets when it rests.

| the shipper | an entry waits | a chunk is sealed |
|---|---|---|
| `AWAKE`: it will look at the buffer before it rests | - | - |
| `TIMED`: it comes when the oldest open chunk is due | - | wake, `AWAKE` |
| `ASLEEP`: it comes when it is woken | wake, `AWAKE` | wake, `AWAKE` |

While sealed chunks wait, an open one is due only if it was opened before the first of them. Else
the shipper comes with the next ack. `ASLEEP` means that no chunk is open: where one is, each
section that ends wakes a shipper that is asleep.

The shipper declares first that it rests, and then looks at the buffer once more. A producer appends
first, and then looks at the state. So one of the two sees the other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from enum import Enum, auto

Callback = Callable[[], None]


class ShipperState(Enum):
    """What the shipper does at this moment."""

    AWAKE = auto()
    TIMED = auto()
    ASLEEP = auto()


class Wakeups:
    """Wakes the shipper when the table says so, and once.

    Args:
        wake: Called outside the lock, by any thread and from signal handlers, so it must neither
            block nor raise. If it returns False, nothing was woken, and the next entry tries again.
    """

    def __init__(self, wake: Callable[[], object]) -> None:
        self.shipper: ShipperState = ShipperState.ASLEEP
        self.wake: Callable[[], object] = wake

    def entry_waits(self) -> None:
        """Note that an entry waits for its number."""
        if self.shipper is ShipperState.ASLEEP:
            self.wake_now()

    def chunk_sealed(self) -> None:
        """Note that a chunk can be sent."""
        if self.shipper is not ShipperState.AWAKE:
            self.wake_now()

    def wake_now(self) -> None:
        """Wake the shipper whatever the state is: it may have changed since the caller looked."""
        try:
            self.shipper = ShipperState.AWAKE
            if self.wake() is False:
                self.shipper = ShipperState.ASLEEP
        except BaseException as error:
            self.shipper = ShipperState.ASLEEP  # the next entry wakes it
            if not isinstance(error, MemoryError):
                raise


class Waiters:
    """Callbacks of calls that wait for space; each is called once, when bytes come free.

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
