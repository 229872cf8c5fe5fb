"""Tools for tests of programs that log through logship: no socket, no sleep, no real sidecar.

`MemoryTransport` takes the place of the network, a `Sidecar` stands behind it and does what the
test says, and a `ManualClock` stands still until it is told to move:

    sidecar = Sidecar()
    async with logship.Client(settings, transport=MemoryTransport(sidecar)) as client:
        client.emit({"message": "hi"})
    assert [each.record["message"] for each in sidecar.delivered] == ["hi", ...]

Nothing else in this package imports these modules.
"""

from logship.testing.clock import ManualClock
from logship.testing.memory import Delivered, MemoryTransport, Sidecar

__all__ = ["Delivered", "ManualClock", "MemoryTransport", "Sidecar"]
