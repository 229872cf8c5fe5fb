"""The drain report's counts as CloudWatch metrics, for programs too short to be scraped. PURE.

A batch of twenty seconds is never scraped; its report on stderr says everything, but no alarm looks
on it. CloudWatch makes metrics of log lines in its embedded metric format, where the log driver
says that they are in it (`awslogs-format: json/emf`), so one more line is all that it takes. See
"Specification: Embedded metric format" in CloudWatch's user guide.
"""

from __future__ import annotations

import json

from logship.buffer.counters import DrainReport

NAMESPACE = "logship"

_COUNTS = (
    "accepted",
    "acked",
    "spooled",
    "spilled",
    "dropped",
    "unacked",
    "refused",
    "truncated",
)


def emf_line(report: DrainReport, program: str, time_ms: int) -> str:
    """Return the line; its counts are those of the report.

    Args:
        report: What became of every record.
        program: The only dimension: one series a program and count, whatever the records' tags.
        time_ms: When it was over, milliseconds since the epoch.
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
