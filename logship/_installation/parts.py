"""The parts that a test kit gives the client of `install`.

It imports nothing, because a test runner imports it at each start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Parts = dict[str, Any]
PartsFor = Callable[[Mapping[str, Any]], Parts]


def _no_parts(given: Mapping[str, Any]) -> Parts:
    """Return what a program outside of tests has."""
    del given
    return {}


parts_for: PartsFor = _no_parts
"""Returns parts of `BackgroundClient` from what a program gives to `install`; called with each
call of `install`, before its effect."""
