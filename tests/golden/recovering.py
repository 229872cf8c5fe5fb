"""Runs the programs and `logship recover`, and says what came of it in plain data."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner, Result

from logship._cli.recover import command as recover_command
from tests.golden.programs import NOWHERE, POISON
from tests.support.commands import LOGSHIP, ran
from tests.support.receiver_process import ReceiverProcess

HERE = Path(__file__).parents[2]
PROGRAMS = Path(__file__).with_name("programs.py")
TEXT_CHARACTERS_MAX = 200

CLOSED = ("closed", "one_ended")
"""Programs that end by themselves; all others are killed."""

QUICK = {"LOGSHIP_BACKOFF_SECONDS_BASE": "0.01", "LOGSHIP_BACKOFF_SECONDS_MAX": "0.05"}
"""Settings of clients with quick retries."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)

_STAMP = re.compile(r"([\w-]{12}):\d{10}")

Lines = list[dict[str, Any]]
"""JSON lines of the receiver, decoded."""


def environ(**more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(HERE),
        "PYTHONHASHSEED": "0",
        **QUICK,
        **more,
    }


def run_program(case: str, directory: Path) -> str:
    """Run a case of `programs.py`; it leaves `spool` and `ledger` in `directory`.

    Returns:
        What it wrote to stderr.
    """
    spool = directory / "spool"
    spool.mkdir()
    words = (sys.executable, PROGRAMS, case, spool, directory / "ledger")
    code = 0 if case in CLOSED else -signal.SIGKILL
    return ran(*words, code=code, env=environ(), cwd=directory, timeout=120).stderr


def logship_here(command: click.Command, *words: str, **environ: str) -> Result:
    """Run a command of logship in this process, which is quicker.

    A command that ends leaves stop signals ignored, and this process goes on.
    """
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        return CliRunner().invoke(command, words, env=environ, catch_exceptions=False)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def recover(spool: Path, receiver: ReceiverProcess) -> tuple[dict[str, Any], Lines]:
    """Recover a spool; return what the commands said and left, and the lines that arrived.

    What the report does not count is left out of it, so that one counter more changes no file.
    """
    started_ns = time.time_ns()
    words = ("--spool", str(spool))
    dry_run = logship_here(recover_command, *words, "--dry-run")
    assert dry_run.exit_code == 0, dry_run.output
    before = len(receiver.records())
    settings = {**QUICK, "LOGSHIP_ENDPOINTS": receiver.endpoint}
    recovered = logship_here(recover_command, *words, **settings)
    assert recovered.stdout, recovered.stderr
    result = {
        "dry_run": [json.loads(line) for line in dry_run.stdout.splitlines()],
        "exit_code": recovered.exit_code,
        "report": counted({**json.loads(recovered.stdout), "seconds": 0}),
        "left": files_in(spool),
    }
    return result, [_settled(line, started_ns) for line in receiver.records()[before:]]


def counted(report: dict[str, Any]) -> dict[str, Any]:
    """Return a report without the counters that are zero."""
    return {name: value for name, value in report.items() if value != 0 or value is False}


def quarantine_and_die(spool: Path) -> None:
    """Have a recoverer mark a damaged chunk, and kill it before it has shipped anything."""
    word = b"quar" if sys.byteorder == "big" else b"rauq"
    with subprocess.Popen(
        [*LOGSHIP, "recover", "--spool", str(spool), "--watch"],
        env=environ(LOGSHIP_ENDPOINTS=NOWHERE),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 60
        while not any(word in each.read_bytes() for each in spool.glob("*/segment-*")):
            assert process.poll() is None, "the recoverer ended"
            assert time.monotonic() < deadline, "nothing was quarantined"
        process.kill()


def files_in(spool: Path) -> dict[str, str]:
    """Return the files of a spool by name; those in quarantine with a digest of their bytes."""
    files = {}
    for path in sorted(each for each in spool.rglob("*") if each.is_file()):
        is_kept = path.parent.name == "quarantine"
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if is_kept else ""
        files[str(path.relative_to(spool))] = digest
    return files


def check_against_ledger(name: str, directory: Path, lines: Lines) -> None:
    """Raise if a record is missing that the ledger names, and that the program did not give up.

    Args:
        name: Of the program.
        directory: Has its ledger.
        lines: What was recovered.
    """
    ledger = [json.loads(line) for line in (directory / "ledger").read_text().splitlines()]
    expected = [line["message"] for line in ledger if "message" in line]
    arrived = {line["record"]["message"] for line in lines}
    arrived |= {line["acked"] for line in ledger if "acked" in line}
    missing = [message for message in expected if message not in arrived]
    if name == "gap_quarantined":
        assert missing == [POISON]
    elif name == "gap_overflow":
        assert missing
        assert missing == expected[: len(missing)], "what was dropped is not the oldest"
    else:
        assert missing == []
    assert bool(missing) is any("logship_gap" in line["record"] for line in lines)


def facts(notes: list[str]) -> list[list[str]]:
    """Return the numbers and the names of processes in notes, without their wording."""
    return [re.findall(r"[0-9a-f]{32}|\b[0-9]+\b", note) for note in notes]


def comparable(result: dict[str, Any]) -> dict[str, Any]:
    """Return a result of `recover` without the wording of what is for a person to read."""
    dry_run = [
        {**each, "damages": facts(each.get("damages", [])), "reason": ""}
        for each in result["dry_run"]
    ]
    report = {**result["report"], "notes": facts(result["report"]["notes"])}
    return {**result, "dry_run": dry_run, "report": report}


def by_stream(lines: Lines) -> dict[str, Lines]:
    """Return the lines of each stream in the order of arrival; those without a stamp under ""."""
    streams: dict[str, Lines] = {}
    for line in lines:
        stamp = _STAMP.fullmatch(str([*line["record"].values()][-1]))
        streams.setdefault(stamp[1] if stamp else "", []).append(line)
    return streams


def shortened(value: Any) -> Any:
    """Return the value with long texts replaced by what identifies them."""
    if isinstance(value, dict):
        return {shortened(key): shortened(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shortened(each) for each in value]
    if isinstance(value, str) and len(value) > TEXT_CHARACTERS_MAX:
        digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{value[:20]}… {len(value)} characters, sha256 {digest}"
    return value


def _settled(line: dict[str, Any], started_ns: int) -> dict[str, Any]:
    """Return a line without what is different each time: when recovery wrote it."""
    record = line["record"]
    is_own = "logship_gap" in record or "logship_end" in record
    time_ns = 0 if is_own and line["time_ns"] >= started_ns else line["time_ns"]
    return {"tag": line["tag"], "time_ns": time_ns, "record": shortened(record)}
