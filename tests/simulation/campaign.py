"""Many histories, one after the other or on several processors, and what came of them."""

from __future__ import annotations

import contextlib
import functools
import gc
import multiprocessing
import signal
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import NoReturn

from tests.simulation.faults import DISK_FAULTS, FAULTS, RECOVERY_FAULTS
from tests.simulation.history import History
from tests.simulation.options import NONE_FORCED, Forced, told

SEEDS_FOR_EVERY_FAULT = 2000
"""A campaign of so many seeds must have seen every fault."""

HANG_CPU_SECONDS = 60.0
"""A history that takes so long of the processor, a thousand times the usual, never ends."""

_SHARE = 250
_HISTORIES_A_COLLECTION = 20
_NOTES_SHOWN = 60


@dataclass(slots=True)
class Tally:
    """What a campaign has seen.

    Attributes:
        events_least: In the shortest history.
        innocents: Records that were quarantined and were no poison.
        unproven: Poison that was left at the end.
        failures: What each failing seed broke.
    """

    seeds: int = 0
    events: int = 0
    events_least: int = 1 << 30
    innocents: int = 0
    unproven: int = 0
    fired: Counter[str] = field(default_factory=Counter)
    failures: dict[int, str] = field(default_factory=dict)

    def add(self, other: Tally) -> None:
        self.seeds += other.seeds
        self.events += other.events
        self.events_least = min(self.events_least, other.events_least)
        self.innocents += other.innocents
        self.unproven += other.unproven
        self.fired.update(other.fired)
        self.failures.update(other.failures)

    def never_fired(self) -> list[str]:
        return [name for name in (*FAULTS, *DISK_FAULTS, *RECOVERY_FAULTS) if not self.fired[name]]

    def lines(self) -> list[str]:
        lines = [f"{'fault':<16} {'times':>9}  what it is"]
        for name, what in (FAULTS | DISK_FAULTS | RECOVERY_FAULTS).items():
            lines.append(f"{name:<16} {self.fired[name]:>9}  {what}")
        lines.append(
            f"{self.seeds} seeds, {self.events} events, "
            f"at least {self.events_least} in a history; "
            f"{self.innocents} records quarantined that were no poison, "
            f"{self.unproven} poison ones left unproven at the end"
        )
        return lines


def run_seed(seed: int, forced: Forced, tally: Tally) -> None:
    history = History(seed, forced)
    try:
        with _ended_after(HANG_CPU_SECONDS):
            history.run()
    except Exception as error:  # noqa: BLE001 - whatever escapes is a finding
        tally.failures[seed] = f"{type(error).__name__}: {error}"
    tally.events += history.clock.events
    tally.events_least = min(tally.events_least, history.clock.events)
    tally.seeds += 1
    tally.innocents += history.judge.innocents
    tally.unproven += history.judge.unproven
    tally.fired.update(history.fired)


@contextlib.contextmanager
def _ended_after(cpu_seconds: float) -> Iterator[None]:
    """Raise in a loop inside one event, which the bound on events does not end."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        raise TimeoutError(number, frame)

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)


def run_seeds(seeds: Iterable[int], forced: Forced = NONE_FORCED) -> Tally:
    """Let these histories happen; a failing one ends none of the others."""
    tally = Tally()
    with _rare_collections():
        for seed in seeds:
            run_seed(seed, forced, tally)
            if seed % _HISTORIES_A_COLLECTION == 0:
                gc.collect()
    return tally


@contextlib.contextmanager
def _rare_collections() -> Iterator[None]:
    """Collect garbage now and then only: a history is small, and its cycles end with it."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def run_campaign(seeds: Sequence[int], workers: int, forced: Forced) -> Iterator[Tally]:
    """Let these histories happen on so many processors; yield what each share of them saw."""
    shares = [seeds[start : start + _SHARE] for start in range(0, len(seeds), _SHARE)]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap(functools.partial(run_seeds, forced=forced), shares)


def replay(seed: int, forced: Forced = NONE_FORCED) -> tuple[History, list[str]]:
    """Let a history happen again, and tell it."""
    history = History(seed, forced, noted=True)
    lines = [f"seed {seed}", "options:", *told(history.options)]
    if history.disk is not None:
        lines += told(history.disk.options, "disk.")
        lines += told(history.disk.faults.options, "recovery.") if history.disk.faults else []
    try:
        history.run()
        verdict = ["it is well"]
    except Exception as error:  # noqa: BLE001 - whatever escapes is a finding
        verdict = [f"FAILED: {type(error).__name__}: {error}"]
        trace = traceback.format_exception(error)
        verdict += ["".join(trace[-3:]).rstrip()]
    lines += ["the last that happened:", *history.notes[-_NOTES_SHOWN:]]
    lines.append(f"{history.clock.events} events, {history.clock.now:.3f} virtual seconds")
    return history, [*lines, *verdict]
