"""What `logship receive` and `logship audit --watch` export. PURE."""

from __future__ import annotations

from logship._metrics.measures import Measure, counter, gauge

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
        "Connections closed because of what the client said: no forward protocol, or a wrong key.",
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
