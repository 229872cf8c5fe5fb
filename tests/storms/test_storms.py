"""Short storms: what every logging call returned is exactly what arrived.

`make storm RECORDS=10000000` runs the full counts.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.storms.campaign import KINDS, plans, run_storm
from tests.storms.ledger import Outcome
from tests.storms.program import BEGUN, Plan
from tests.support.commands import ran
from tests.support.waiting import wait_until

RECORDS = 6_000
ATTACHED_RECORDS = 150_000
"""So many that the program still runs when the debugger has started."""


@pytest.mark.parametrize("place", range(len(KINDS)), ids=lambda place: str(KINDS[place]))
def test_a_storm_arrives_exactly_once(tmp_path: Path, place: int) -> None:
    plan = [*plans(RECORDS * len(KINDS), 20, tmp_path, RECORDS)][place]
    verdict = run_storm(plan)
    assert not verdict.faults, "\n".join(verdict.faults)
    assert verdict.arrived > RECORDS / 4
    if plan.kind == "logging":
        assert verdict.calls[Outcome.LOGGED] > RECORDS / 4


@pytest.mark.skipif(sys.version_info < (3, 14), reason="a debugger attaches by itself since 3.14")
def test_a_debugger_attaches_to_a_storm(tmp_path: Path) -> None:
    """`pdb -p` steps through the main thread while the alarm rings and others log."""
    plan = replace(next(plans(ATTACHED_RECORDS, 21, tmp_path, ATTACHED_RECORDS)), tools=False)
    verdict = run_storm(plan, beside=_attach)
    assert not verdict.faults, "\n".join(verdict.faults)
    assert (Path(plan.directory) / "attached").read_text().count("-> ") >= 10


def _attach(process: subprocess.Popen[bytes], plan: Plan) -> None:
    # Earlier, the debugger's script would find modules that are imported in part.
    wait_until((Path(plan.directory) / BEGUN).exists, "all threads log")
    commands = "step\n" * 30 + "continue\n"
    debugger = (sys.executable, "-m", "pdb", "-p", str(process.pid))
    attached = ran(*debugger, code=None, input=commands)
    (Path(plan.directory) / "attached").write_text(attached.stdout + attached.stderr)
