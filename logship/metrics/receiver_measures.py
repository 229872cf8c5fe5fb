"""What `logship receive` exports. PURE."""

from __future__ import annotations

from logship.metrics.measures import Kind, Measure

_COUNTER, _GAUGE = Kind.COUNTER, Kind.GAUGE

RECEIVER_MEASURES: tuple[Measure, ...] = (
    Measure(
        "receiver_records_total",
        _COUNTER,
        "Records written to the output; with --count, counted.",
        "Nothing to do: it is what the clients send.",
    ),
    Measure(
        "receiver_acks_total",
        _COUNTER,
        "Chunks acknowledged, each after all of it was written.",
        "Nothing to do; standing still while clients are connected, see "
        "receiver_output_errors_total.",
    ),
    Measure(
        "receiver_connections_total",
        _COUNTER,
        "Connections taken.",
        "Rising fast: clients reconnect; receiver_refused_total and their stderr say why.",
    ),
    Measure(
        "receiver_connections_open",
        _GAUGE,
        "Connections that are open.",
        "Lower than the number of client processes: some cannot reach it.",
    ),
    Measure(
        "receiver_refused_total",
        _COUNTER,
        "Connections closed because of what the client said: no forward protocol, or a wrong key.",
        "The lines on stderr name the peer and the fault.",
    ),
    Measure(
        "receiver_received_bytes_total",
        _COUNTER,
        "Bytes received.",
        "Nothing to do: it is the network's load.",
    ),
    Measure(
        "receiver_output_bytes_total",
        _COUNTER,
        "Bytes written to the output.",
        "Nothing to do: it is the disk's load.",
    ),
    Measure(
        "receiver_output_errors_total",
        _COUNTER,
        "Writes that failed, so that nothing was acknowledged.",
        "The disk is full, or the output's reader has gone; stderr says which. Clients keep their "
        "records and send them again.",
    ),
)
"""What `logship receive` exports."""
