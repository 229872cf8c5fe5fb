"""The drain report's counts as CloudWatch metrics, for programs too short to be scraped. PURE.

A batch of twenty seconds is never scraped. Its report on stderr says everything, but no alarm reads
it. CloudWatch makes metrics from log lines in its embedded metric format if the log driver declares
it (`awslogs-format: json/emf`), so one more line is enough. See "Specification: Embedded metric
format" in CloudWatch's user guide.
"""

from __future__ import annotations

import json

from logship._buffer.counters import DrainReport

NAMESPACE = "logship"

_COUNTS = (
    "accepted",
    "acked",
    "spooled",
    "spilled",
    "dropped",
    "unacked",
    "withheld",
    "refused",
    "truncated",
)


def emf_line(report: DrainReport, program: str, time_ms: int) -> str:
    """Return the line; its counts are those of the report.

    Args:
        report: What became of every record.
        program: The only dimension, so that each program has one series for each count.
        time_ms: When the drain ended, milliseconds since the epoch.
    """
    metrics = [{"Name": name, "Unit": "Count"} for name in _COUNTS]
    metrics.append({"Name": "seconds", "Unit": "Seconds"})
    fields = {
        "_aws": {
            "Timestamp": time_ms,
            "CloudWatchMetrics": [
                {"Namespace": NAMESPACE, "Dimensions": [["program"]], "Metrics": metrics}
            ],
        },
        "logship": "metrics",
        "program": program,
        "reason": report.reason,
        **{name: getattr(report, name) for name in _COUNTS},
        "seconds": round(report.seconds, 3),
    }
    return json.dumps(fields, separators=(", ", ": "))
