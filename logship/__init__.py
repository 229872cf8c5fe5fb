"""Ships application logs to a Fluentd or Fluent Bit sidecar without losing records.

Importing this package registers the exit and fork hooks. All other modules are imported when they
are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from logship._hooks import exits, fork
from logship._version import __version__

if TYPE_CHECKING:
    from logship._buffer.counters import DrainReport, FlushReport
    from logship._client.background import BackgroundClient
    from logship._client.client import Client
    from logship._client.context import context
    from logship._installation.handler import Handler
    from logship._installation.installation import install, installed_handler, stopping
    from logship._settings import Settings
    from logship.errors import (
        BufferFull,
        ClientClosed,
        ConnectError,
        LogshipError,
        ProtocolError,
        SettingsError,
        UnsupportedRuntime,
    )

__all__ = [
    "BackgroundClient",
    "BufferFull",
    "Client",
    "ClientClosed",
    "ConnectError",
    "DrainReport",
    "FlushReport",
    "Handler",
    "LogshipError",
    "ProtocolError",
    "Settings",
    "SettingsError",
    "UnsupportedRuntime",
    "__version__",
    "context",
    "install",
    "installed_handler",
    "stopping",
]

_HOMES = {
    "BackgroundClient": "logship._client.background",
    "Client": "logship._client.client",
    "DrainReport": "logship._buffer.counters",
    "FlushReport": "logship._buffer.counters",
    "Handler": "logship._installation.handler",
    "Settings": "logship._settings",
    "context": "logship._client.context",
    "install": "logship._installation.installation",
    "installed_handler": "logship._installation.installation",
    "stopping": "logship._installation.installation",
}

exits.register()
fork.register()


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - lazily, as all of this

    value = getattr(import_module(_HOMES.get(name, "logship.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
