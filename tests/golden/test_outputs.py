"""Shows that today's entries, JSON lines and reports are the golden ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.golden import outputs
from tests.golden.auditing import AUDITED, verdicts
from tests.golden.spools import DATA
from tests.support.receiver_process import ReceiverProcess


def golden(name: str) -> Any:
    return json.loads((DATA / f"{name}.json").read_text("utf-8"))


def test_pack_record_gives_the_golden_bytes() -> None:
    assert outputs.entries() == golden("entries")


@pytest.mark.parametrize("way", outputs.WAYS)
def test_records_become_the_golden_lines(way: str, receiver: ReceiverProcess) -> None:
    assert outputs.lines_by(outputs.WAYS[way], receiver) == golden("lines")


def test_records_of_send_many_become_the_golden_lines(receiver: ReceiverProcess) -> None:
    lines, stored = outputs.lines_of_send_many(receiver), golden("lines")
    assert lines == {name: stored[name] for name in lines}


def test_log_records_become_the_golden_lines(receiver: ReceiverProcess) -> None:
    assert outputs.lines_of_handler(receiver) == golden("handler")


def test_reports_and_what_is_spilled_are_the_golden_ones(
    receiver: ReceiverProcess, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    assert outputs.reports(receiver, spool) == golden("reports")


def test_metrics_have_the_golden_names_types_labels_and_values(tmp_path: Path) -> None:
    found, stored = outputs.metrics(tmp_path), golden("metrics")
    helps = {page: [each.pop("help") for each in families] for page, families in found.items()}
    stored_helps = {
        page: [each.pop("help") for each in families] for page, families in stored.items()
    }
    assert found == stored
    assert helps == stored_helps, "if that is on purpose: python -m tests.golden.make metrics"


def test_audit_gives_the_golden_verdicts(tmp_path: Path) -> None:
    found, stored = verdicts(tmp_path), golden("audit")
    assert set(stored) == set(AUDITED)
    assert found == stored
