"""Drain report, end records, metrics and ledger agree to the last record, whatever went wrong.

Scenarios of the loss benchmark, at their quickest, against a real sidecar: every fault with every
shipper of ours, every kind of application, and `logship run`. Four sources that know nothing of
each other: the ledger that the application writes, the sidecar's output, the report on stderr, and
the pages that a stranger reads when the application is gone. A process that is killed leaves no
report; then the other three must do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import scenario as benchmark
from benchmarks.application import WRITERS
from benchmarks.scenario import (
    APP_NAMES,
    APP_SIGKILL,
    FAULT_NAMES,
    FAULTS,
    OURS,
    SPOOLING,
    Application,
    Outcome,
    Scenario,
)
from tests.metrics.reading import metrics_in
from tests.metrics.scraping import DRAINED, KILLED, Samples
from tests.run.conftest import Runs, read_receipt, receipt, receiver, receiver_of_all, runs
from tests.run.test_clients import NOWHERE
from tests.support.programs import json_lines

__all__ = ["receipt", "receiver", "receiver_of_all", "runs"]

SECONDS = {"sidecar-restart": 4.0}
"""Longer than the sidecar is away."""


class MeasuredApplication(Application):
    """Keeps a page beside its ledger, as the recoverer does that inherits its environment."""

    def _environment(self, address: tuple[str, int]) -> dict[str, str]:
        more = {
            "LOGSHIP_METRICS_DIR": str(self.directory / "pages"),
            "LOGSHIP_EXIT_STALL_SECONDS": "2",
        }
        return super()._environment(address) | more


def records_in(outputs: tuple[Path, ...]) -> Iterator[dict[str, Any]]:
    """Yield every record of the sidecar's output, once."""
    seen = set()
    for path in outputs:
        for line in path.read_text().splitlines():
            record = json.loads(line)["record"]
            if record["logship_id"] not in seen:
                seen.add(record["logship_id"])
                yield record


def ends_in(outputs: tuple[Path, ...], kind: bool | str) -> dict[str, dict[str, Any]]:
    """Return the end records that a client wrote (True) or a recoverer, by stream."""
    return {
        record["logship_id"].partition(":")[0]: record
        for record in records_in(outputs)
        if record.get("logship_end") == kind
    }


def parts_in(metrics: Samples) -> dict[str, float]:
    """Return what became of the records that were accepted, by the report's words."""
    return {
        "acked": metrics["logship_records_acked_total"],
        "spilled": metrics["logship_records_spilled_total"],
        "spooled": metrics["logship_records_left_spooled_total"],
        "unacked": metrics["logship_records_unacked_total"],
        "dropped": sum(value for name, value in metrics.items() if "records_dropped_total" in name),
    }


def assert_metrics_are_the_report(metrics: Samples, report: dict[str, Any]) -> None:
    shown = parts_in(metrics) | {
        "accepted": metrics["logship_records_accepted_total"],
        "refused": metrics["logship_records_refused_total"],
        "truncated": metrics["logship_records_truncated_total"],
    }
    assert shown == {name: report[name] for name in shown}
    assert metrics["logship_drain_seconds"] == pytest.approx(report["seconds"], abs=0.001)
    assert metrics[KILLED] == 0
    assert metrics["logship_clients"] == 0


def assert_report_is_the_truth(outcome: Outcome, report: dict[str, Any]) -> None:
    """The ledger, the output and stderr, as the judge has read them, say the same."""
    verdict = outcome.verdict
    assert verdict.lost == 0
    # A program that is stopped between logging and noting has logged one record more.
    writers = WRITERS if outcome.scenario.app == "threads" else 1
    assert 0 <= report["accepted"] - verdict.written <= writers
    assert report["acked"] <= verdict.delivered + verdict.unwritten
    assert report["acked"] + report["spilled"] + report["spooled"] >= verdict.written


def assert_ends_are_the_report(outcome: Outcome, report: dict[str, Any]) -> None:
    """A stream whose end record arrived says there what the report says."""
    ends = ends_in(outcome.outputs, True)
    streams = {each["stream"]: each for each in report["streams"]}
    assert ends.keys() <= streams.keys()
    for stream, end in ends.items():
        assert int(end["logship_id"].partition(":")[2]) == streams[stream]["end"]
        assert end["logship_accepted"] == streams[stream]["accepted"]
        assert end["logship_refused"] <= streams[stream]["refused"]
    if report["accepted"] == report["acked"] + report["spooled"]:
        assert sum(end["logship_accepted"] for end in ends.values()) == report["accepted"]


def assert_recovery_is_in_the_metrics(outcome: Outcome, metrics: Samples) -> None:
    """The recoverer's own report, its page, and what the application says it left."""
    assert outcome.recovery is not None
    assert outcome.recovery.complete
    report = outcome.recovery.report
    names = ("lives", "lives_finished", "chunks", "chunks_acked", "records", "records_acked")
    shown = {name: metrics[f"logship_recovery_{name}_total"] for name in names}
    assert shown == {name: report[name] for name in names}
    if metrics[KILLED] == 0:
        assert report["records_acked"] == metrics["logship_records_left_spooled_total"]
    assert outcome.verdict.delivered == outcome.verdict.written


RUNS = [
    *((fault, "script", shipper) for fault in FAULTS for shipper in OURS),
    *(("sidecar-down", app, SPOOLING) for app in APP_NAMES if app != "script"),
]


@pytest.mark.parametrize(("fault", "app", "shipper"), RUNS)
def test_all_four_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, app: str, shipper: str
) -> None:
    monkeypatch.setattr(benchmark, "Application", MeasuredApplication)
    seconds = SECONDS.get(fault, 1.5)
    chosen = Scenario(
        shipper=shipper, app=app, fault=fault, seconds=seconds, stop_timeout=4.0, tail=500
    )
    outcome = benchmark.run(chosen, tmp_path)
    report, metrics = outcome.report, metrics_in(tmp_path / "pages")
    assert report is not None
    assert_metrics_are_the_report(metrics, report)
    assert_report_is_the_truth(outcome, report)
    assert_ends_are_the_report(outcome, report)
    if shipper == SPOOLING:
        assert_recovery_is_in_the_metrics(outcome, metrics)
    assert metrics[DRAINED] == 1 + (shipper == SPOOLING)


@pytest.mark.parametrize("shipper", OURS)
def test_what_a_killed_process_leaves_agrees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shipper: str
) -> None:
    """It reports nothing, and its page may be a second old: what is there is true, and adds up."""
    monkeypatch.setattr(benchmark, "Application", MeasuredApplication)
    outcome = benchmark.run(
        Scenario(shipper=shipper, fault=APP_SIGKILL, seconds=3.0, seed=3), tmp_path
    )
    verdict, metrics = outcome.verdict, metrics_in(tmp_path / "pages")
    assert outcome.report is None
    assert ends_in(outcome.outputs, True) == {}
    assert (metrics[KILLED], metrics[DRAINED]) == (1, int(shipper == SPOOLING))
    parts = parts_in(metrics)
    assert 0 < sum(parts.values()) == metrics["logship_records_accepted_total"]
    assert metrics["logship_records_accepted_total"] <= verdict.written + verdict.unwritten + 1
    assert parts["acked"] <= verdict.delivered + verdict.unwritten
    assert parts["spilled"] == parts["dropped"] == 0
    assert parts["spooled" if shipper == "logship" else "unacked"] == 0
    if shipper == SPOOLING:
        assert_recovery_is_in_the_metrics(outcome, metrics)
        (end,) = ends_in(outcome.outputs, "recovered").values()
        records = len(list(records_in(outcome.outputs)))
        assert int(end["logship_id"].partition(":")[2]) == records, "the end is its last number"
        assert records - 1 == verdict.delivered + verdict.unwritten


def test_every_fault_is_among_them() -> None:
    assert {fault for fault, *_ in RUNS} | {APP_SIGKILL} == set(FAULT_NAMES)


@pytest.mark.parametrize("reaches", [True, False])
def test_under_run_the_receipt_agrees(
    runs: Runs, receipt: Path, tmp_path: Path, reaches: bool
) -> None:
    """A command that prints and ends, its sidecar there or not."""
    lines = 300
    ended = runs.shell(
        f"for number in $(seq {lines}); do echo line $number; done",
        options=("--receipt", str(receipt)),
        LOGSHIP_METRICS_DIR=str(tmp_path / "pages"),
        LOGSHIP_EXIT_STALL_SECONDS="2",
        **({} if reaches else {"LOGSHIP_ENDPOINTS": NOWHERE}),
    )
    assert ended.returncode == 0
    report = read_receipt(receipt)
    assert_metrics_are_the_report(metrics_in(tmp_path / "pages"), report)
    assert report["accepted"] == lines
    assert len(runs.messages) == report["acked"] == (lines if reaches else 0)
    spilled = [each for each in json_lines(ended.stderr.decode()) if each["logship"] == "spilled"]
    assert len([each for each in spilled if "line " in json.dumps(each)]) == report["spilled"]
    assert report["spilled"] == lines - report["acked"]
    ends = ends_in((runs.receiver.out,), True)
    assert sum(end["logship_accepted"] for end in ends.values()) == report["acked"]
