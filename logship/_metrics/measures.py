"""What a measure is, and those of commands: clients have a table in a module of its own. PURE."""

import functools
from enum import Enum
from typing import NamedTuple


class Kind(Enum):
    """How a measure of several processes adds up."""

    COUNTER = "counter"  # the sum, of the dead too
    HISTOGRAM = "histogram"  # the same, for each bucket
    GAUGE = "gauge"  # the sum over the living
    LARGEST = "gauge, largest"  # the largest of the living
    LONGEST = "gauge, longest"  # the largest, of the dead too
    SHORTEST = "gauge, shortest"  # the smallest of the living that is not 0


class Measure(NamedTuple):
    """One exported metric.

    Attributes:
        kind: How it adds up.
        name: Without the prefix `logship_`; a counter's ends in `_total`.
        meaning: What it counts.
        remedy: What to do when it moves.
        label: The name of its label, or nothing.
        values: Every value that label can have.
    """

    kind: Kind
    name: str
    meaning: str
    remedy: str
    label: str = ""
    values: tuple[str, ...] = ("",)

    @property
    def help(self) -> str:
        """The text that is exported with it."""
        return f"{self.meaning} {self.remedy}"

    @property
    def type(self) -> str:
        """The type in the exposition formats."""
        return self.kind.value.partition(",")[0]


counter = functools.partial(Measure, Kind.COUNTER)
gauge = functools.partial(Measure, Kind.GAUGE)

PAGES_REFUSED = gauge(
    "metrics_pages_refused",
    "Files among the processes' pages that could not be read, so that a process is not counted.",
    "Another version of logship runs in the same container, or another program writes there.",
)
"""Known only to a reader of the pages."""

BUILD = gauge(
    "build_info",
    "Always 1; its labels `version` and `python` say what runs.",
    "Nothing to do: it shows a rollout.",
)
"""Exported by clients and receivers."""

RECEIVER_MEASURES: tuple[Measure, ...] = (
    counter(
        "receiver_records_total",
        "Records written to the output; with --count, counted.",
        "Nothing to do: it is what the clients send.",
    ),
    counter(
        "receiver_acks_total",
        "Chunks acknowledged, each after all of it was written.",
        "Nothing to do; standing still while clients are connected, see "
        "receiver_output_errors_total.",
    ),
    counter(
        "receiver_connections_total",
        "Connections taken.",
        "Rising fast: clients reconnect; receiver_refused_total and their stderr say why.",
    ),
    gauge(
        "receiver_connections_open",
        "Connections that are open.",
        "Lower than the number of client processes: some cannot reach it.",
    ),
    counter(
        "receiver_refused_total",
        "Connections closed because of what the client did: no protocol, a wrong key, too slow.",
        "The lines on stderr name the peer and the fault.",
    ),
    counter(
        "receiver_received_bytes_total",
        "Bytes received.",
        "Nothing to do: it is the network's load.",
    ),
    counter(
        "receiver_output_bytes_total",
        "Bytes written to the output.",
        "Nothing to do: it is the disk's load.",
    ),
    counter(
        "receiver_output_errors_total",
        "Writes that failed, so that nothing was acknowledged.",
        "The disk is full, or the output's reader has gone; stderr says which. Clients keep their "
        "records and send them again.",
    ),
)
"""What `logship receive` exports."""

AUDIT_MEASURES: tuple[Measure, ...] = (
    gauge(
        "audit_records_proved",
        "Records of applications that are in the outputs, each counted once.",
        "Falling: an output was removed or cut; see audit_records_missing.",
    ),
    gauge(
        "audit_records_missing",
        "Numbers that are in no output, and that nothing declares.",
        "Nothing to do while it falls again: records are on their way; see audit_records_overdue.",
    ),
    gauge(
        "audit_records_overdue",
        "Those of audit_records_missing that have been missing for longer than --overdue.",
        "They are lost, or an output is not followed; stderr names the stream and the first "
        "number, and `logship audit` names all of them.",
    ),
    gauge(
        "audit_records_duplicated",
        "Lines that repeat a number.",
        "Rising: a sidecar was sent records again, or an output is copied; see "
        "chunks_resent_total.",
    ),
    gauge(
        "audit_streams_unended",
        "Streams whose end nothing proves.",
        "About one for each tag of a living process. More: processes are killed.",
    ),
    gauge(
        "audit_streams_inconsistent",
        "Streams that contradict themselves.",
        "Run `logship audit` over the outputs: its lines INCONSISTENT say how.",
    ),
    gauge(
        "audit_oldest_missing_seconds",
        "How long the longest missing number has been missing; 0 if none is.",
        "Over --overdue: see audit_records_overdue.",
    ),
    gauge(
        "audit_parts",
        "Files and other parts of the outputs that are there.",
        "0: nothing is judged. Correct the names of the outputs.",
    ),
    counter(
        "audit_read_failures_total",
        "How often an output or a part of it could not be listed or read.",
        "Rising: what is new there is not judged; stderr says why.",
    ),
    gauge(
        "audit_looked_timestamp_seconds",
        "When the outputs were last judged, in seconds since 1970.",
        "If it does not change, the audit hangs, and all its other numbers are old.",
    ),
)
"""What `logship audit --watch` exports."""
