"""Each field that a report, a receipt, a dry run or an audit prints stands on its page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import logship
from logship._audit.text import verdict_as_json
from logship._recover import RecoveryReport
from logship._run.receipt import Outcome
from logship._spool.inspection import inspect_spool
from logship._spool.progress import RecoveryCounters
from logship.testing import MemoryTransport, Sidecar
from tests.audit import lines
from tests.audit.asking import judged
from tests.support.programs import REPOSITORY

FILES, AUDIT = (REPOSITORY / "docs" / name for name in ("files.md", "audit.md"))
RECOVERY = RecoveryReport(RecoveryCounters(), 0.0, complete=True)
KILLED = """
import os, sys, logship
client = logship.BackgroundClient(spool_dir=sys.argv[1], endpoints="unix:///nowhere")
client.emit({"message": "hi"})
os.kill(os.getpid(), 9)
"""


def fields_of(value: Any) -> Iterator[str]:
    """Yield the names in a document, and in the mappings inside it."""
    if isinstance(value, dict):
        yield from value
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, dict | list):
            yield from fields_of(each)


def missing_on(page: Path, heading: str, document: Any) -> set[str]:
    """Return the fields of a document that the section under a heading does not mark as code."""
    [section] = re.findall(
        rf"^## {heading}\n(.*?)(?=^## |\Z)", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    return set(fields_of(document)) - {"logship"} - set(re.findall(r"`(\w+)`", section))


@pytest.fixture
def drained() -> logship.DrainReport:
    with logship.BackgroundClient(transport=MemoryTransport(Sidecar())) as client:
        client.emit({"message": "hi"})
    assert client.report is not None
    return client.report


def test_the_drain_report(drained: logship.DrainReport, capfd: pytest.CaptureFixture[str]) -> None:
    with logship.BackgroundClient(transport=MemoryTransport(Sidecar()), report=True) as client:
        client.emit({"message": "hi"})
    printed = json.loads(capfd.readouterr().err)
    assert printed.keys() > json.loads(drained.to_json()).keys()
    assert missing_on(FILES, "Drain report", printed) == set()


def test_the_receipt(drained: logship.DrainReport) -> None:
    receipt = json.loads(Outcome(("true",), 0, 0.0, drained, RECOVERY, is_cut_off=False).to_json())
    own = receipt.keys() - json.loads(drained.to_json()).keys()
    assert missing_on(FILES, "Receipt", dict.fromkeys(own)) == set()
    assert receipt["recovery"].keys() < json.loads(RECOVERY.to_json()).keys()


def test_the_recovery_report() -> None:
    assert missing_on(FILES, "Recovery report", json.loads(RECOVERY.to_json())) == set()


def test_the_lines_of_a_dry_run(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    [dead] = inspect_spool(tmp_path)
    assert dead["streams"]
    assert missing_on(FILES, "Recovery report", dead) == set()


def test_the_audits_json() -> None:
    late = lines.report(lines.stream_report(1, 1), refused_id=lines.LIFE)
    verdict = judged(lines.delivered(1, 1), late, b'{"torn')
    document = json.loads(verdict_as_json(verdict, []))
    assert all(document[name] for name in ("streams", "refusals", "unreadable_places"))
    assert missing_on(AUDIT, "Each line of the output", document) == set()
