"""What `logship receive` exports. PURE."""

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
