"""A client beside a dead sidecar is full when the plan says so."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest

from tests.plan.asking import planned
from tests.support.commands import ran_python
from tests.support.servers import ReservedPort

RATE = 1000.0
CHARACTERS = 400
LOAD = ("--rate", f"{RATE:g}", "--record-size", f"{CHARACTERS}")

PROGRAM = textwrap.dedent(f"""
    import time
    import logship

    client = logship.BackgroundClient(overflow="drop_newest", last_resort="none")
    begun, number = time.monotonic(), 0
    fields = {{"level": "INFO", "logger": "shop"}}
    while client.emit({{"message": f"{{number:0{CHARACTERS}d}}", **fields}}):
        number += 1
        time.sleep(max(0.0, begun + number / {RATE} - time.monotonic()))
    print(time.monotonic() - begun)
    client.close(timeout=0)
""")


def seconds_until_refused(environ: dict[str, str]) -> float:
    """Return how long a program logged at the rate, with no sidecar, until a record was refused."""
    port = ReservedPort()
    try:
        endpoint = {"LOGSHIP_ENDPOINTS": f"tcp://127.0.0.1:{port.number}"}
        ended = ran_python(PROGRAM, env=os.environ | endpoint | environ, timeout=600)
    finally:
        port.close()
    return float(ended.stdout)


@pytest.mark.proof
def test_a_buffer_is_full_when_the_plan_says() -> None:
    plan = planned(*LOAD, "--buffer-size", "4MiB")
    seconds = seconds_until_refused({"LOGSHIP_BUFFER_BYTES_MAX": "4MiB"})
    assert seconds == pytest.approx(plan["outage_covered_seconds"], rel=0.1)


@pytest.mark.proof
def test_a_spool_is_full_when_the_plan_says(tmp_path: Path) -> None:
    plan = planned(*LOAD, "--spool-size", "16MiB")
    environ = {"LOGSHIP_SPOOL_DIR": str(tmp_path / "spool"), "LOGSHIP_SPOOL_BYTES_MAX": "16MiB"}
    seconds = seconds_until_refused(environ)
    assert seconds == pytest.approx(plan["outage_covered_seconds"], rel=0.1)
