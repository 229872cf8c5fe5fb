"""The line from which CloudWatch makes metrics: what the specification asks for, and no more."""

from __future__ import annotations

import json

from logship._buffer.counters import DrainReport
from logship._metrics.emf import emf_line

REPORT = DrainReport("SIGTERM", 1.23456, 100, 60, 10, 20, 5, 5, 3, 2, 1, "id", 1, (), 0)


def test_every_metric_that_is_declared_is_a_number_at_the_root() -> None:
    """Specification: Embedded metric format, "EMF document structure"."""
    line = emf_line(REPORT, "batch", 1_700_000_000_000)
    document = json.loads(line)
    assert "\n" not in line
    assert document["_aws"]["Timestamp"] == 1_700_000_000_000
    (directive,) = document["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "logship"
    for dimensions in directive["Dimensions"]:
        assert all(isinstance(document[name], str) for name in dimensions)
    for metric in directive["Metrics"]:
        assert isinstance(document[metric["Name"]], int | float)
        assert metric["Unit"] in ("Count", "Seconds")


def test_its_counts_are_those_of_the_report() -> None:
    document = json.loads(emf_line(REPORT, "batch", 0))
    said = json.loads(REPORT.to_json())
    declared = [each["Name"] for each in document["_aws"]["CloudWatchMetrics"][0]["Metrics"]]
    assert {name: document[name] for name in declared} == {name: said[name] for name in declared}
    parts = ("acked", "spooled", "spilled", "dropped", "unacked")
    assert document["accepted"] == sum(document[part] for part in parts)
