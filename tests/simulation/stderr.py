"""Standard error as a simulation has it: it may stall, and tear a line."""

from __future__ import annotations

import json
from random import Random
from typing import Any


class SimulatedStderr:
    """What a `LastResort` writes to.

    Args:
        draw: Where chance comes from.
        stall_rate: How often a write is not taken, or not wholly.
    """

    descriptor = -1

    def __init__(self, draw: Random, stall_rate: float) -> None:
        self.stalls = 0
        self._stall_rate = stall_rate
        self._draw = draw
        self._written = bytearray()

    def __call__(self, data: bytes) -> int:
        """Take bytes; return how many."""
        taken = len(data)
        if self._stall_rate and self._draw.random() < self._stall_rate:
            self.stalls += 1
            taken = self._draw.choice((0, 0, self._draw.randint(0, taken)))
        self._written += data[:taken]
        return taken

    def heal(self) -> None:
        """Take everything from now on."""
        self._stall_rate = 0.0

    def lines(self, pending: bytes) -> list[dict[str, Any]]:
        """Return the lines that are JSON.

        Args:
            pending: What is still to be written of the last line, before any other.
        """
        whole = (bytes(self._written) + pending).rpartition(b"\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line.startswith(b"{")]
