"""How slow this machine is at this moment, for tests that bound the CPU time of hostile input.

Such a bound is a few times what was measured. A machine that others use, or another interpreter,
may be as many times slower by itself.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable

_TRACED = 3.0
"""So many times longer each line of the product takes while `make coverage` traces it."""

_SECONDS_WHERE_BOUNDS_WERE_MEASURED = 0.03


def slowness() -> float:
    """Return how many times longer work takes than where the bounds were measured; 1 or more."""
    began = time.process_time()
    found: dict[int, int] = {}
    for number in range(100_000):
        found[number % 1000] = found.get(number % 997, 0) + len(str(number))
    slower = max(1.0, (time.process_time() - began) / _SECONDS_WHERE_BOUNDS_WERE_MEASURED)
    return slower if sys.gettrace() is None else slower * _TRACED


def costs_less(seconds: float, work: Callable[[], object]) -> bool:
    """Tell whether work takes less CPU time than so, where the bounds were measured.

    A busy machine only adds to it, and seldom three times in a row. The garbage collector adds what
    the objects of other tests cost, so it has to wait.

    Args:
        seconds: The bound; longer where everything takes longer.
        work: What is measured, up to three times.
    """
    return any(_cpu_seconds(work) < seconds * slowness() for _ in range(3))


def _cpu_seconds(work: Callable[[], object]) -> float:
    gc.disable()
    try:
        began = time.process_time()
        work()
        return time.process_time() - began
    finally:
        gc.enable()
