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
        reference: The subject that the others are compared with, in the same turn; or nothing.
        reference_case: Returns the case in which the reference was measured for another case.
    """

    title: str
    run: Callable[[Job], Measured]
    reference: str = ""
    reference_case: Callable[[str], str] = str

    def reference_of(self, key: Key) -> Key | None:
        """Return the reference by which a value is divided, so that machines compare; or None."""
        if not self.reference:
            return None
        return Key(key.figure, self.reference, self.reference_case(key.case))


MEASURES = {
    "throughput": Measure(
        "Throughput, to the last ack",
        throughput.measure,
        throughput.ENCODING,
        throughput.ceiling_case,
    ),
    "handler": Measure("A logging call", handler.measure, handler.NOTHING),
    "shapes": Measure("A call of emit, by shape", shapes.measure, shapes.MSGPACK),
    "emit": Measure("A call of emit, by settings", variants.measure, variants.MEMORY),
    "threads": Measure("emit from two threads", threads.measure),
    "start": Measure("Start", start.measure, start.BASE),
    "leaving": Measure("Leaving at SIGTERM", leaving.measure),
    "drain": Measure("Drain of a full buffer", drain.measure, throughput.PREPARED),
    "memory": Measure("Memory", memory.measure),
    "wire": Measure("On the wire", wire.measure),
    "light": Measure("CPU at 300 lines/s", light.measure),
    "latency": Measure("A call of emit", latencies.measure),
    "loss": Measure("Loss", losses.measure),
}
"""In the order in which they run."""

SHOWN = ("loss", *(name for name in MEASURES if name != "loss"))
"""In the order in which they are shown: what the program is for comes first."""

CEILINGS = (
    *(throughput.ENCODING, throughput.PREPARED, shapes.MSGPACK),
    *(handler.NOTHING, start.BASE, start.ALONE),
)
"""Subjects that ship nothing: what logship is compared with."""


def is_ours(subject: str) -> bool:
    """Return whether a subject is logship; a change of the others is not a regression."""
    return subject not in (*CEILINGS, *throughput.PEERS, throughput.AIOFLUENT)
