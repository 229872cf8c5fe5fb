"""Limits that a deployment must keep, for `lint`, `doctor` and `plan`. PURE."""

from __future__ import annotations

from logship._delivery.drain import DrainPlan, Progress
from logship._process.clock import margin_seconds
from logship._settings import BUFFER_BYTES_MIN, MIB

MEMORY_SHARE_MAX = 0.5
"""Of a container's memory, so much may be taken by the buffers of all its processes."""

MEMORY_SHARE_WANTED = 0.25

FARGATE_STOP_SECONDS_MAX = 120.0
"""The longest `stopTimeout` that Fargate takes."""

SIDECAR_BUFFER_BYTES = 1024 * MIB
"""The default of `LOGSHIP_BUFFER_SIZE`, which bounds the buffer of the Fluentd in `sidecar/`."""


def drain_budget_seconds(
    stop_timeout_seconds: float, buffer_bytes: int, *, has_spool: bool
) -> float:
    """Return the part of a stop timeout that is for sending.

    The rest is a margin before SIGKILL, and the time to write a full buffer to stderr. What is on a
    spool need not be written there.
    """
    full = Progress(None, is_hopeful=True, bytes_to_spill=0 if has_spool else buffer_bytes)
    reserve = DrainPlan.until(0.0, stop_timeout_seconds).reserve_seconds(full)
    return stop_timeout_seconds - margin_seconds(stop_timeout_seconds) - reserve


def fair_buffer_bytes(memory_bytes: int, workers: int) -> int:
    """Return a `buffer_bytes_max` for each of these processes that their memory allows."""
    return max(BUFFER_BYTES_MIN, int(memory_bytes * MEMORY_SHARE_WANTED / workers))


def size(count: float) -> str:
    """Return bytes in KiB, MiB or GiB, as settings take them."""
    if count < MIB:
        return f"{count / 1024:.4g} KiB"
    if count < 1024 * MIB:
        return f"{count / MIB:.4g} MiB"
    return f"{count / 1024 / MIB:,.4g} GiB"
