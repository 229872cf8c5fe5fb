"""Ships application logs to a Fluentd or Fluent Bit sidecar, and loses none.

Importing this registers the exit and fork hooks and imports nothing large: everything else is
imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from logship.hooks import exits, fork
from logship.version import __version__

if TYPE_CHECKING:
    from logship.buffer.counters import DrainReport, FlushReport
    from logship.client.background import BackgroundClient
    from logship.client.client import Client
    from logship.client.context import context
    from logship.errors import (
        BufferFull,
        ClientClosed,
        ConnectError,
        LogshipError,
        ProtocolError,
        SettingsError,
        UnsupportedRuntime,
    )
    from logship.installation.handler import Handler
    from logship.installation.installation import install, installed_handler, stopping
    from logship.settings import Settings

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
    "BackgroundClient": "logship.client.background",
    "Client": "logship.client.client",
    "DrainReport": "logship.buffer.counters",
    "FlushReport": "logship.buffer.counters",
    "Handler": "logship.installation.handler",
    "Settings": "logship.settings",
    "context": "logship.client.context",
    "install": "logship.installation.installation",
    "installed_handler": "logship.installation.installation",
    "stopping": "logship.installation.installation",
}

exits.register()
fork.register()


def __getattr__(name: str) -> Any:
    """Import what is asked for, the first time it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - lazily, as all of this

    value = getattr(import_module(_HOMES.get(name, "logship.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
