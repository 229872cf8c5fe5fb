"""Tools for tests of programs that log through logship: no socket, no sleep, no real sidecar.

`MemoryTransport` replaces the network, a `Sidecar` behind it does what the test sets, and a
`ManualClock` moves only when the test moves it:

    sidecar = Sidecar()
    async with logship.Client(settings, transport=MemoryTransport(sidecar)) as client:
        client.emit({"message": "hi"})
    assert [each.record["message"] for each in sidecar.delivered] == ["hi", ...]

No other module of this package imports these modules.
"""

from logship.testing.clock import ManualClock
from logship.testing.memory import Delivered, MemoryTransport, Sidecar

__all__ = ["Delivered", "ManualClock", "MemoryTransport", "Sidecar"]
