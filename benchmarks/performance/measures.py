"""The measures by name, and what a reader is told about each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.performance import (
    drain,
    handler,
    latencies,
    leaving,
    light,
    losses,
    memory,
    shapes,
    start,
    threads,
    throughput,
    variants,
    wire,
)
from benchmarks.performance.job import Job
from benchmarks.performance.results import Key, Measured


@dataclass(frozen=True)
class Measure:
    """One of them.

    Attributes:
        title: Above its table.
        run: Measures.
        reference: Subject and case that the others are compared with, in the same turn.
    """

    title: str
    run: Callable[[Job], Measured]
    reference: tuple[str, str] | None = None

    def reference_of(self, key: Key) -> Key | None:
        """Return the reference by which a value is divided, so that machines compare; or None."""
        if self.reference is None:
            return None
        subject, case = self.reference
        return Key(key.figure, subject, case or key.case)


MEASURES = {
    "throughput": Measure(
        "Throughput, to the last ack",
        throughput.measure,
        (throughput.ENCODING, throughput.NOWHERE),
    ),
    "handler": Measure("A logging call", handler.measure, (handler.NOTHING, "")),
    "shapes": Measure("A call of emit, by shape", shapes.measure, (shapes.MSGPACK, "")),
    "emit": Measure("A call of emit, by settings", variants.measure, (variants.MEMORY, "")),
    "threads": Measure("emit from two threads", threads.measure),
    "start": Measure("Start", start.measure, (start.BASE, "")),
    "leaving": Measure("Leaving at SIGTERM", leaving.measure),
    "drain": Measure("Drain of a full buffer", drain.measure, (throughput.PREPARED, "")),
    "memory": Measure("Memory", memory.measure),
    "wire": Measure("On the wire", wire.measure),
    "light": Measure("CPU at 300 lines/s", light.measure),
    "latency": Measure("A call of emit", latencies.measure),
    "loss": Measure("Loss", losses.measure),
}
"""In the order in which they run."""

SHOWN = ("loss", *(name for name in MEASURES if name != "loss"))
"""In the order in which they are shown: what the program is for comes first."""

OURS = ("logship", throughput.MANY, "logship-spool", "thread", "loop", start.UNDER_RUN)
"""Subjects that are logship; a change of the others is not a regression."""
