"""Tools for tests of programs that log through logship, without sleeps and without a real sidecar.

A `Sidecar` does what the test sets. A `MemoryTransport` connects a client to it without a socket; a
`SocketSidecar` is one on a loopback port. A `ManualClock` moves only when the test moves it:

    sidecar = Sidecar()
    async with logship.Client(settings, transport=MemoryTransport(sidecar)) as client:
        client.emit({"message": "hi"})
    assert [each.record["message"] for each in sidecar.records] == ["hi"]

`plugin` gives pytest the fixtures `logship_records` and `logship_sidecar` (see docs/testing.md).

No other part of logship imports this package. Each module is imported when it is first used,
because every run of pytest imports the plugin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logship.testing._clock import ManualClock
    from logship.testing._installing import ShippedRecords
    from logship.testing._listening import SocketSidecar
    from logship.testing._memory import MemoryTransport
    from logship.testing._sidecar import Delivered, Sidecar

__all__ = [
    "Delivered",
    "ManualClock",
    "MemoryTransport",
    "ShippedRecords",
    "Sidecar",
    "SocketSidecar",
]

_HOMES = {
    "Delivered": "logship.testing._sidecar",
    "ManualClock": "logship.testing._clock",
    "MemoryTransport": "logship.testing._memory",
    "ShippedRecords": "logship.testing._installing",
    "Sidecar": "logship.testing._sidecar",
    "SocketSidecar": "logship.testing._listening",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - lazily, as all of this

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
