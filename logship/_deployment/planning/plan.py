"""Whether a deployment fits its load, and settings with which it does. PURE."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from logship._deployment.limits import (
    FARGATE_STOP_SECONDS_MAX,
    MEMORY_SHARE_MAX,
    MEMORY_SHARE_WANTED,
    fair_buffer_bytes,
    size,
)
from logship._deployment.planning.arithmetic import (
    QUARTER,
    RESERVE,
    Calculation,
    Deployment,
    duration,
)
from logship._settings import MIB, SPOOL_BYTES_MIN
from logship._spool.storage import SEGMENT_BYTES

HEADROOM = 2.0
"""A sidecar has CPU for so many times its load, so that a backlog shrinks."""


class Verdict(NamedTuple):
    """One question about a deployment, and the answer.

    Attributes:
        name: The question, in a word.
        fits: The answer.
        text: The answer in a sentence.
    """

    name: str
    fits: bool
    text: str


def verdicts(calculation: Calculation) -> list[Verdict]:
    """Return all answers."""
    return [
        *_judge_outage(calculation),
        *_judge_stop(calculation),
        *_judge_memory(calculation),
        *_judge_sidecar(calculation),
    ]


def fits(calculation: Calculation) -> bool:
    """Tell whether all answers are that it fits."""
    return all(each.fits for each in verdicts(calculation))


def _judge_outage(calculation: Calculation) -> Iterator[Verdict]:
    covered, wanted = calculation.covered_seconds, calculation.deployment.outage_seconds
    text = f"A sidecar outage of up to {duration(covered)} loses nothing"
    is_covered = wanted is None or wanted <= covered
    if wanted is not None:
        text += f"; {duration(wanted)} {'are' if is_covered else 'were'} wanted"
    yield Verdict("outage", is_covered, f"{text}.")


def _judge_stop(calculation: Calculation) -> Iterator[Verdict]:
    drain, budget = calculation.drain_seconds, calculation.drain_budget_seconds
    has_spool = calculation.deployment.spool_bytes_max is not None
    timeout = duration(calculation.deployment.stop_timeout_seconds)
    text = (
        f"At a stop a full {'spool' if has_spool else 'buffer'} drains in {duration(drain)}; of "
        f"the stop timeout of {timeout}, {duration(budget)} are left for it"
    )
    if drain > budget:
        rest = "stays on the spool for a recoverer" if has_spool else "goes to stderr"
        text += f". The rest {rest}"
    yield Verdict("stop", drain <= budget or has_spool, f"{text}.")


def _judge_memory(calculation: Calculation) -> Iterator[Verdict]:
    deployment = calculation.deployment
    if deployment.memory_bytes is not None:
        share = _share_of_memory(deployment, deployment.buffer_bytes)
        text = f"Full buffers take {share:.0%} of the application's {size(deployment.memory_bytes)}"
        too_much = "" if share <= MEMORY_SHARE_MAX else f", and may take {MEMORY_SHARE_MAX:.0%}"
        yield Verdict("memory", not too_much, f"{text}{too_much}.")


def _judge_sidecar(calculation: Calculation) -> Iterator[Verdict]:
    headroom, cores = calculation.headroom, calculation.deployment.cores
    times = f"{headroom:,.0f}" if headroom >= 10 else f"{headroom:.1f}"
    text = f"With {cores:g} vCPU the sidecar can pass on {times} times the load"
    is_enough = headroom >= HEADROOM
    yield Verdict("sidecar", is_enough, f"{text}{'' if is_enough else f'; plan {HEADROOM:g}'}.")
    given, needed = calculation.deployment.sidecar_memory_bytes, calculation.sidecar_memory_bytes
    if given is not None:
        text = f"The sidecar has {size(given)} of memory, and needs {size(needed)}"
        yield Verdict("sidecar-memory", given >= needed, f"{text}.")


def improved(calculation: Calculation) -> Calculation:
    """Return the same deployment with settings that fit, as far as settings can help."""
    if fits(calculation):
        return calculation
    better = _with_memory(_with_cores(calculation))
    return _in_memory(better) or _on_a_spool(better)


def _with_cores(calculation: Calculation) -> Calculation:
    """Return it with the least quarters of a core that suffice, or one core if none do."""
    while (cores := calculation.deployment.cores) < 1 and calculation.headroom < HEADROOM:
        calculation = calculation.having(
            cores=min(1.0, (math.floor(cores / QUARTER) + 1) * QUARTER)
        )
    return calculation


def _with_memory(calculation: Calculation) -> Calculation:
    """Return it with enough memory for the sidecar, and with buffers that the memory allows.

    No buffer becomes so small that records are cut off.
    """
    deployment = calculation.deployment
    memory = max(deployment.sidecar_memory_bytes or 0, calculation.sidecar_memory_bytes)
    calculation = calculation.having(sidecar_memory_bytes=memory)
    if _share_of_memory(deployment, deployment.buffer_bytes) > MEMORY_SHARE_MAX:
        assert deployment.memory_bytes is not None
        fair = fair_buffer_bytes(deployment.memory_bytes, deployment.workers)
        least = min(calculation.least_buffer_bytes, deployment.buffer_bytes)
        calculation = calculation.having(buffer_bytes_max=max(fair, least))
    return calculation


def _share_of_memory(deployment: Deployment, buffer_bytes: int) -> float:
    """Return the share of the memory that full buffers take; 0 if there is no limit."""
    if deployment.memory_bytes is None:
        return 0.0
    return deployment.workers * buffer_bytes / deployment.memory_bytes


def _wanted_bytes(calculation: Calculation) -> int:
    """Return what each process must hold in the wanted outage, in whole MiB; no less than now."""
    deployment = calculation.deployment
    wanted = deployment.outage_seconds or 0.0
    needed = RESERVE * wanted * calculation.bytes_per_second / deployment.workers
    return math.ceil(max(needed, deployment.buffer_bytes) / MIB) * MIB


def _in_memory(calculation: Calculation) -> Calculation | None:
    """Return it with a buffer for the wanted outage; None if memory or the stop forbid it."""
    deployment = calculation.deployment
    if deployment.spool_bytes_max is not None:
        return None
    if calculation.covered_seconds < (deployment.outage_seconds or 0.0):
        buffer_bytes = _wanted_bytes(calculation)
        if _share_of_memory(deployment, buffer_bytes) > MEMORY_SHARE_WANTED:
            return None
        calculation = calculation.having(buffer_bytes_max=buffer_bytes)
    return _with_stop_timeout(calculation)


def _with_stop_timeout(calculation: Calculation) -> Calculation | None:
    """Return it with the least stop timeout that suffices; None if Fargate does not give it."""
    while calculation.drain_seconds > calculation.drain_budget_seconds:
        longer = math.floor(calculation.deployment.stop_timeout_seconds) + 1.0
        if longer > FARGATE_STOP_SECONDS_MAX:
            return None
        calculation = calculation.having(stop_timeout_seconds=longer)
    return calculation


def _on_a_spool(calculation: Calculation) -> Calculation:
    """Return it with a spool for the wanted outage."""
    segments = math.ceil(_wanted_bytes(calculation) / SEGMENT_BYTES) + 1
    given = calculation.deployment.spool_bytes_max or 0
    return calculation.having(spool_bytes_max=max(SPOOL_BYTES_MIN, segments * SEGMENT_BYTES, given))
