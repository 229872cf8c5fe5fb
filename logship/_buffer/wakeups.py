"""Whether the shipper must be woken: one state, set by the shipper when it rests.

| the shipper | an entry waits | a chunk is sealed |
|---|---|---|
| `AWAKE`: it will look at the buffer before it rests | - | - |
| `TIMED`: it comes when the oldest open chunk is due | - | wake, `AWAKE` |
| `ASLEEP`: it comes when it is woken | wake, `AWAKE` | wake, `AWAKE` |

While sealed chunks wait, no open one is due, and the shipper comes with the next ack. `ASLEEP`
means that no chunk is open: where one is, each section that ends wakes a shipper that is asleep.

The shipper declares first that it rests, and then looks at the buffer once more. A producer appends
first, and then looks at the state. So one of the two sees the other.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto


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

    Attributes:
        shipper: The state.
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
