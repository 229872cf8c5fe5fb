"""Runs storms one after the other and sums up what came of them."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.storms.judge import Verdict, judge
from tests.storms.ledger import read_ledger
from tests.storms.program import Plan
from tests.storms.receiver import Receiver
from tests.storms.weather import CAN_HAVE_TOOLS

REPOSITORY = Path(__file__).parents[2]
RUN_SECONDS_MAX = 600.0
"""A hang, not a slow machine."""

_REFUSED = '{"logship":"refused"'

KINDS = (
    {"kind": "client"},
    {"kind": "client", "closes": True},
    {"kind": "client", "forks": True},
    {"kind": "client", "spool": True},
    {"kind": "client", "spool": True, "forks": True, "closes": True},
    {"kind": "client", "spool": True, "exits": True},
    {"kind": "client", "small": True},
    {"kind": "logging"},
    {"kind": "logging", "closes": True, "forks": True},
    {"kind": "logging", "spool": True, "closes": True},
    {"kind": "logging", "exits": True},
    {"kind": "asyncio"},
    {"kind": "asyncio", "spool": True},
)
"""What a campaign takes by turns."""


def run_storm(
    plan: Plan, beside: Callable[[subprocess.Popen[bytes], Plan], None] = lambda *_: None
) -> Verdict:
    """Run one storm in a process of its own, and judge it.

    Args:
        plan: Its directory is made where it is missing.
        beside: Called while it runs.
    """
    directory = Path(plan.directory)
    directory.mkdir(parents=True, exist_ok=True)
    plan_file = directory / "plan.json"
    plan_file.write_text(json.dumps(asdict(plan)))
    with Receiver() as receiver:
        with (directory / "stdout").open("wb") as out, (directory / "stderr").open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.storms.program", str(plan_file)],
                cwd=REPOSITORY,
                env={**_environment(), "LOGSHIP_ENDPOINTS": receiver.endpoint},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                start_new_session=True,
            )
            beside(process, plan)
            status = _wait(process)
        stderr = (directory / "stderr").read_text(errors="replace")
        noted = [each for path in directory.glob("*.ledger") for each in read_ledger(path)]
        verdict = judge(receiver.streams, noted, _refused(stderr))
        for fault in receiver.faults:
            verdict.fault(f"the receiver: {fault}")
    if status:  # first: what is missing may follow from it
        verdict.faults.insert(0, f"the program ended with {status}")
    for line in _complaints(stderr):
        verdict.fault(f"stderr: {line}")
    return verdict


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Return the program's exit status; one that hangs leaves the stacks of its threads."""
    try:
        return process.wait(RUN_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        try:
            return process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def _environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "PYTHONFAULTHANDLER": "1"}


def _refused(stderr: str) -> Counter[int]:
    """Return the codes of the records that stand on stderr as refused."""
    codes: Counter[int] = Counter()
    for line in stderr.splitlines():
        if line.startswith(_REFUSED):
            codes[json.loads(line)["record"]["code"]] += 1
    return codes


def _complaints(stderr: str) -> Iterator[str]:
    """Yield lines that no storm explains."""
    for line in stderr.splitlines():
        if "an error of its own" in line or "shipping has ended" in line:
            yield line[:2000]


def plans(
    records: int, seed: int, directory: Path, run_records: int, *, tools: bool = CAN_HAVE_TOOLS
) -> Iterator[Plan]:
    """Yield plans of about `records` calls in all, each kind in its turn."""
    choice = random.Random(seed)
    place = 0
    while records > 0:
        kind: dict[str, Any] = dict(KINDS[place % len(KINDS)])
        its_records = min(records, run_records)
        its_directory = directory / f"storm-{place}"
        settings: dict[str, Any] = {"buffer_bytes_max": 1 << 28, "linger_seconds": 0.01}
        if kind.pop("small", False):
            settings["buffer_bytes_max"] = 1 << 20
        if kind.pop("spool", False):
            settings["spool_dir"] = str(its_directory / "spool")
            (its_directory / "spool").mkdir(parents=True)
        yield Plan(
            records=its_records,
            seed=choice.randrange(1 << 30),
            directory=str(its_directory),
            settings=settings,
            tools=tools,
            **kind,
        )
        records -= its_records
        place += 1


def campaign(records: int, seed: int, run_records: int, *, tools: bool) -> int:
    """Run storms until so many records were logged; print figures, return how many failed."""
    failed = arrived = calls = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="storms-") as directory:
        for plan in plans(records, seed, Path(directory), run_records, tools=tools):
            run_began = time.monotonic()
            verdict = run_storm(plan)
            seconds = time.monotonic() - run_began
            failed += bool(verdict.faults)
            arrived += verdict.arrived
            calls += verdict.calls.total()
            told = (Path(plan.directory) / "stdout").read_text().strip()
            spooled = "spool" if "spool_dir" in plan.settings else "memory"
            counts = {outcome.name.lower(): n for outcome, n in sorted(verdict.calls.items())}
            print(
                f"{plan.kind} {spooled} seed {plan.seed}: {verdict.arrived:,} arrived in "
                f"{seconds:.0f} s {counts} {told} {verdict.refused_twice or ''}",
                flush=True,
            )
            for fault in verdict.faults:
                print(f"  FAULT {fault}", flush=True)
            if verdict.faults:
                print(_other_lines(Path(plan.directory) / "stderr")[-6000:], flush=True)
    seconds = time.monotonic() - began
    version = sys.version.split()[0]
    print(f"{version}: {calls:,} calls, {arrived:,} arrived, {failed} failed, {seconds:.0f} s")
    return failed


def _other_lines(stderr: Path) -> str:
    lines = stderr.read_text(errors="replace").splitlines()
    return "\n".join(line for line in lines if not line.startswith(_REFUSED))
