"""What `logship audit --watch` exports. PURE."""

from __future__ import annotations

from logship._metrics.measures import Measure, counter, gauge

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
