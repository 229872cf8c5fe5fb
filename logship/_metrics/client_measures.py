"""What a client's process exports: each number's meaning, and what to do when it moves. PURE.

Everything else is made from this table: the exported names and help texts, the layout of a page in
a file, and the page of documentation.
"""

from __future__ import annotations

from logship import _reasons
from logship._delivery.counters import ACK_SECONDS_BOUNDS
from logship._metrics.measures import Kind, Measure, counter, gauge

DROP_REASONS = (*_reasons.DROPPED, "other")
"""Values of the label `reason`: few and fixed, whatever happens."""

STREAM_ENDS = ("acked", "spooled", "unproven")
"""Where a stream's end record is when its client has ended."""


def _remedies(table: dict[str, tuple[str, str]]) -> str:
    words: dict[str, list[str]] = {}
    for reason, (_, remedy) in table.items():
        words.setdefault(remedy[0].lower() + remedy[1:], []).append(reason)
    return " ".join(f"{', '.join(each)}: {remedy}" for remedy, each in words.items())


CLIENT_MEASURES: tuple[Measure, ...] = (
    counter(
        "records_accepted_total",
        "Records that were taken and numbered.",
        "Nothing to do: it is the application's own pace. A process whose number stands still "
        "while it works has lost the handler; see the warnings on its stderr.",
    ),
    counter(
        "records_acked_total",
        "Records that the sidecar acknowledged.",
        "Should follow records_accepted_total; if it lags, look at connected and ack_seconds.",
    ),
    counter(
        "records_dropped_total",
        "Records that were dropped, declared as gaps in their streams.",
        _remedies(_reasons.DROPPED),
        "reason",
        DROP_REASONS,
    ),
    counter(
        "records_withheld_total",
        "Records that were kept back on purpose, declared as gaps in their streams.",
        _remedies(_reasons.ON_PURPOSE),
        "reason",
        tuple(_reasons.ON_PURPOSE),
    ),
    counter(
        "records_spilled_total",
        "Records that were written to stderr and not acknowledged.",
        "They are JSON lines where stderr goes; find them there, and see why the sidecar was full "
        "or gone.",
    ),
    counter(
        "records_unacked_total",
        "Records that were not acknowledged, spooled, spilled or dropped when their client ended "
        "or their process was killed.",
        "The drain report on stderr names their numbers; give the task a longer stop timeout, or "
        "a spool.",
    ),
    counter(
        "records_left_spooled_total",
        "Records that were left on the spool when their client ended or their process was killed.",
        "The next process with this spool_dir ships them, or `logship recover`; "
        "recovery_records_acked_total says that it did.",
    ),
    counter(
        "records_refused_total",
        "Records that got no number, because they came after the end, or had one tag more than a "
        "full buffer can number.",
        "A logging call wrote its record to stderr, unless refused_unwritten of the drain report "
        "counts it, or did not return because the process was ending. Other calls returned False "
        "or an error. Let the application log its last records earlier.",
    ),
    counter(
        "records_truncated_total",
        "Records that were cut to the longest that may be sent.",
        "Find the code that logs megabytes: the records say in their fields what was cut off.",
    ),
    counter(
        "records_unspooled_total",
        "Records that were taken in memory because the spool could not be written.",
        "They would be lost with the process. See the warning on stderr: the volume is full, "
        "read-only or gone.",
    ),
    gauge(
        "records_waiting",
        "Records that are neither acknowledged, dropped nor spilled.",
        "Growing: the sidecar does not keep up, or is not there.",
    ),
    gauge(
        "records_spooled",
        "Those of records_waiting that lie on the spool and would outlive their process.",
        "With a spool it should be nearly records_waiting; if not, see records_unspooled_total.",
    ),
    gauge(
        "buffer_bytes",
        "Bytes of entries that wait.",
        "Near buffer_bytes_max: all buffers are about to overflow; see buffer_fullest_ratio.",
    ),
    gauge(
        "buffer_bytes_max",
        "Bytes of entries that may wait: buffer_bytes_max, with a spool spool_bytes_max.",
        "Changes with the number of processes: each has a buffer of its own.",
    ),
    Measure(
        Kind.LARGEST,
        "buffer_fullest_ratio",
        "How full the fullest buffer of all clients is, from 0 to 1.",
        "Over 0.8: that buffer is about to overflow, even if those of other processes are empty; "
        "see connected and ack_seconds.",
    ),
    gauge(
        "spool_bytes",
        "Bytes of the files that the living processes keep on the spool.",
        "Growing: the sidecar does not keep up. Files of dead processes are not among them: "
        "`logship recover --dry-run` lists those.",
    ),
    counter(
        "emit_blocked_seconds_total",
        "Seconds that senders waited for space, summed over all of them.",
        "The application is being slowed down: as for records_dropped_total, reason overflow.",
    ),
    gauge(
        "clients",
        "Clients that were started or used, and are not closed.",
        "Usually one for each process; compare it with connected.",
    ),
    gauge(
        "connected",
        "Clients that have a connection to a sidecar.",
        "Lower than clients for a minute: the sidecar does not listen there, or refuses; the "
        "warnings on stderr say why.",
    ),
    counter(
        "connects_total",
        "Attempts to connect.",
        "failed rises: no sidecar listens, or TLS or the key is wrong; stderr says which.",
        "result",
        ("ok", "failed"),
    ),
    counter(
        "connections_lost_total",
        "Connections that ended while they were wanted.",
        "The sidecar restarts, runs out of memory, or a device on the way cuts idle connections.",
    ),
    counter(
        "shipper_restarts_total",
        "Times that the shipper restarted after an internal error.",
        "Please report it: stderr has the traceback. No record is lost by it.",
    ),
    counter(
        "bytes_sent_total",
        "Bytes of chunks handed to connections, resent ones too.",
        "Nothing to do: it is the network's load.",
    ),
    counter(
        "chunks_sent_total",
        "Chunks written to connections, resent ones too.",
        "Nothing to do: compare it with chunks_resent_total.",
    ),
    counter(
        "chunks_resent_total",
        "Chunks, or their halves, written again, because no ack came.",
        "The sidecar may hold duplicates, which the stamps show; see connections_lost_total.",
    ),
    counter(
        "chunks_split_total",
        "Chunks taken apart to find a record that the sidecar does not take.",
        "See chunks_quarantined_total.",
    ),
    counter(
        "chunks_quarantined_total",
        "Single records that no server took.",
        "The warning on stderr names each: compare its size with the server's limit on a chunk.",
    ),
    gauge(
        "inflight_chunks",
        "Chunks sent on a living connection and not acknowledged yet.",
        "At inflight_chunks_max all the time: the sidecar is slower than the application.",
    ),
    Measure(
        Kind.HISTOGRAM,
        "ack_seconds",
        "Seconds from a chunk's sending to its ack.",
        "Slow: the sidecar has too little CPU, or its buffer is full and blocks.",
        "le",
        (*(f"{bound:g}" for bound in ACK_SECONDS_BOUNDS), "+Inf", "sum"),
    ),
    Measure(
        Kind.LONGEST,
        "drain_seconds",
        "How long the longest drain took so far; 0 before there was one.",
        "Near stop_timeout_seconds: raise the stop timeout, or let fewer records wait in the "
        "buffer.",
    ),
    counter(
        "drains_total",
        "Drains, by how long they took: up to half of stop_timeout_seconds, or more.",
        "over_half: a larger last burst, or a slower sidecar, will not fit; raise the stop "
        "timeout, or let fewer records wait in the buffer.",
        "result",
        ("under_half", "over_half"),
    ),
    counter(
        "stream_ends_total",
        "Streams whose client ended, by what became of their end record.",
        "spooled: the next process with this spool_dir ships it, or `logship recover`. unproven: "
        "the sidecar has not acknowledged it, so its output does not prove the stream's tail "
        "complete; what is on stderr may: the drain report, or a copy of the end record. Killed "
        "processes are in processes_ended_total.",
        "result",
        STREAM_ENDS,
    ),
    Measure(
        Kind.SHORTEST,
        "stop_timeout_seconds",
        "The setting: the seconds that are expected between SIGTERM and SIGKILL.",
        "Must not be more than the orchestrator really gives.",
    ),
    counter(
        "recovery_lives_total",
        "Dead processes whose spool was taken over.",
        "A process died and left records: find out why.",
    ),
    counter(
        "recovery_lives_finished_total",
        "Dead processes whose spool was shipped and removed.",
        "Should reach recovery_lives_total.",
    ),
    counter(
        "recovery_chunks_total",
        "Chunks of dead processes that were taken up for shipping.",
        "Nothing to do: compare it with recovery_chunks_acked_total.",
    ),
    counter(
        "recovery_chunks_acked_total",
        "Chunks of dead processes that the sidecar acknowledged.",
        "Should reach recovery_chunks_total; if not, look at connected.",
    ),
    counter(
        "recovery_records_total",
        "Records of dead processes that were taken up for shipping.",
        "Nothing to do: compare it with recovery_records_acked_total.",
    ),
    counter(
        "recovery_records_acked_total",
        "Records of dead processes that the sidecar acknowledged.",
        "Should reach recovery_records_total; if not, look at connected.",
    ),
    counter(
        "recovery_records_abandoned_total",
        "Records of dead processes written to stderr, because time was up; they stay on the spool.",
        "Start a recoverer again on that volume, or give it a longer stop timeout.",
    ),
    counter(
        "recovery_damaged_total",
        "Pieces of a spool that could not be read.",
        "They are in its directory `quarantine`; the recovery report names each. Check the disk.",
    ),
    counter(
        "recovery_quarantined_total",
        "Records of dead processes that no server took.",
        "Those of the application are in the spool's directory `quarantine`; ours, which declare "
        "gaps and ends, are sent again.",
    ),
    counter(
        "recovery_unkept_total",
        "Pieces of data that the full quarantine of a spool did not take.",
        "Look at the files in the directory `quarantine`, then remove them.",
    ),
    counter(
        "recovery_refused_total",
        "Files and directories of a spool that recovery left alone, because it cannot lock or read "
        "them.",
        "The recovery report names each and says why; nothing of them was changed.",
    ),
    gauge(
        "recovery_unknown_version",
        "Those of recovery_refused_total whose format is of an unknown version or byte order, as "
        "far as a living process found them.",
        "Run `logship recover` of the version that wrote them, then start this process again.",
    ),
    counter(
        "processes_ended_total",
        "Processes that ended, by how: drained, or killed before their drain was over.",
        "killed: OOM, SIGKILL, a crash, or a stop timeout too short; their streams have no proven "
        "end, and without a spool their last second may be lost.",
        "result",
        ("drained", "killed"),
    ),
)
"""What a client's process exports."""
