"""The one way in which tests wait: for a condition, with a deadline, saying what did not happen."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Return when `condition` holds.

    Args:
        condition: cheap, and free of side effects.
        what: says in the failure what was waited for.
        seconds: the deadline; generous, for it is only ever reached by a fault.

    Raises:
        AssertionError: it did not hold in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"did not happen within {seconds} s: {what}"
        time.sleep(0.005)
