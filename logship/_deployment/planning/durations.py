"""Seconds and bytes as a person reads them. PURE."""

from __future__ import annotations

import math

from logship._settings import MIB

_STEPS = ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


def duration(seconds: float) -> str:
    """Return seconds as `0.02 s`, `45 s`, `3 min 34 s`, `2 h 5 min` or `3 d 4 h`.

    What is longer than two minutes is rounded down.
    """
    if math.isinf(seconds):
        return "for ever"
    if seconds < 120:
        return f"{seconds:.3g} s"
    length, unit, part, part_unit = next(each for each in _STEPS if seconds >= each[0])
    whole, rest = divmod(int(seconds), length)
    parts = f" {rest // part} {part_unit}" if rest // part else ""
    return f"{whole:,} {unit}{parts}"


def size(count: float) -> str:
    """Return bytes in KiB, MiB or GiB, as settings take them."""
    if count < MIB:
        return f"{count / 1024:.4g} KiB"
    if count < 1024 * MIB:
        return f"{count / MIB:.4g} MiB"
    return f"{count / 1024 / MIB:,.4g} GiB"
