"""What a piece of code takes of the interpreter's memory."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass
class Memory:
    """What was traced.

    Attributes:
        kept_bytes: What is still held of it at the end.
        peak_bytes: The most that was held at a time.
    """

    kept_bytes: int = 0
    peak_bytes: int = 0


@contextlib.contextmanager
def traced_memory() -> Iterator[Memory]:
    """Trace what is allocated; the figures are there behind the block."""
    memory = Memory()
    tracemalloc.start()
    try:
        yield memory
        memory.kept_bytes, memory.peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
