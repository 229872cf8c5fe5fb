"""What is counted, seen from outside: a client's numbers, a process's page, a container's sum.

The names below need prometheus_client, which costs an application's start more than all the rest
of logship. So they are imported when they are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logship.metrics.collectors import LogshipCollector
    from logship.metrics.prometheus import CountsCollector, Endpoint, serve

__all__ = ["CountsCollector", "Endpoint", "LogshipCollector", "serve"]

_HOMES = {
    "CountsCollector": "logship.metrics.prometheus",
    "Endpoint": "logship.metrics.prometheus",
    "LogshipCollector": "logship.metrics.collectors",
    "serve": "logship.metrics.prometheus",
}


def __getattr__(name: str) -> Any:
    """Import a name of `__all__` when it is used.

    Raises:
        AttributeError: There is no such name.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
