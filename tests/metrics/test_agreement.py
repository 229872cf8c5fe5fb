"""Drain report, end records, metrics and ledger agree to the last record, whatever went wrong.

Each scenario of the loss benchmark, at its quickest, against a real sidecar. Four sources that
know nothing of each other: the ledger that the application writes, the sidecar's output, the
report on stderr, and the pages that a stranger reads when the application is gone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from benchmarks import scenario as benchmark
from benchmarks.scenario import FAULTS, Application, Outcome, Scenario
from logship.metrics import LogshipCollector
from tests.metrics.scraping import Samples, parsed

SECONDS = {"sidecar-restart": 4.0}
"""Longer than the sidecar is away."""


class MeasuredApplication(Application):
    """Keeps a page beside its ledger."""

    def _environment(self, address: tuple[str, int]) -> dict[str, str]:
        more = {
            "LOGSHIP_METRICS_DIR": str(self.directory / "pages"),
            "LOGSHIP_EXIT_STALL_SECONDS": "2",
        }
        return super()._environment(address) | more


def metrics_of(outcome: Outcome) -> Samples:
    """Return what the pages say."""
    registry = CollectorRegistry()
    registry.register(LogshipCollector(outcome.directory / "pages"))
    return parsed(generate_latest(registry).decode())


def records_in(outputs: tuple[Path, ...]) -> Iterator[dict[str, Any]]:
    """Yield every record of the sidecar's output, once."""
    seen = set()
    for path in outputs:
        for line in path.read_text().splitlines():
            record = json.loads(line)["record"]
            if record["logship_id"] not in seen:
                seen.add(record["logship_id"])
                yield record


def assert_metrics_are_the_report(metrics: Samples, report: dict[str, Any]) -> None:
    dropped = sum(value for name, value in metrics.items() if "records_dropped_total" in name)
    shown = {
        "accepted": metrics["logship_records_accepted_total"],
        "acked": metrics["logship_records_acked_total"],
        "spilled": metrics["logship_records_spilled_total"],
        "spooled": metrics["logship_records_left_spooled_total"],
        "unacked": metrics["logship_records_unacked_total"],
        "refused": metrics["logship_records_refused_total"],
        "truncated": metrics["logship_records_truncated_total"],
        "dropped": dropped,
    }
    assert shown == {name: report[name] for name in shown}
    assert metrics["logship_drain_seconds"] == pytest.approx(report["seconds"], abs=0.001)
    assert metrics['logship_processes_ended_total{result="drained"}'] == 1
    assert metrics["logship_clients"] == 0


def assert_report_is_the_truth(outcome: Outcome, report: dict[str, Any]) -> None:
    """The ledger, the output and stderr, as the judge has read them, say the same."""
    verdict = outcome.verdict
    assert verdict.lost == 0
    # Whoever is stopped between logging and noting has logged one record more.
    assert 0 <= report["accepted"] - verdict.written <= 1
    assert report["acked"] <= verdict.delivered + verdict.unwritten
    assert report["acked"] + report["spilled"] >= verdict.written


def assert_ends_are_the_report(outcome: Outcome, report: dict[str, Any]) -> None:
    """A stream whose end record arrived says there what the report says."""
    ends = {
        record["logship_id"].partition(":")[0]: record
        for record in records_in(outcome.outputs)
        if record.get("logship_end") is True
    }
    streams = {each["stream"]: each for each in report["streams"]}
    assert ends.keys() <= streams.keys()
    for stream, end in ends.items():
        assert int(end["logship_id"].partition(":")[2]) == streams[stream]["end"]
        assert end["logship_accepted"] == streams[stream]["accepted"]
        assert end["logship_refused"] <= streams[stream]["refused"]
    if report["accepted"] == report["acked"]:
        assert sum(end["logship_accepted"] for end in ends.values()) == report["accepted"]


RUNS = [*((fault, "script") for fault in FAULTS), ("none", "batch"), ("sidecar-down", "batch")]


@pytest.mark.parametrize(("fault", "app"), RUNS)
def test_all_four_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, app: str
) -> None:
    monkeypatch.setattr(benchmark, "Application", MeasuredApplication)
    seconds = SECONDS.get(fault, 1.5)
    chosen = Scenario(app=app, fault=fault, seconds=seconds, stop_timeout=4.0, tail=500)
    outcome = benchmark.run(chosen, tmp_path)
    report = outcome.report
    assert report is not None
    assert_metrics_are_the_report(metrics_of(outcome), report)
    assert_report_is_the_truth(outcome, report)
    assert_ends_are_the_report(outcome, report)
