"""Writes the golden data: `python -m tests.golden.make PART…`, with `all` for every part.

The spools in `data/` are of the commit that `data/README.md` names, and are never written over:
what they hold is exactly what newer code must still be able to read.
`recovered`, the answers to them, may be made anew from the stored spools alone.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.golden import outputs
from tests.golden.auditing import verdicts
from tests.golden.programs import CASES
from tests.golden.recovering import (
    by_stream,
    check_against_ledger,
    quarantine_and_die,
    recover,
    run_program,
)
from tests.golden.spools import DAMAGES, DATA, PAIRS, pack, unpack
from tests.support.receiver_process import ReceiverProcess

ARCHIVES = [*CASES, "quarantined"]
SPOOLS = [*ARCHIVES, *DAMAGES, *PAIRS]
"""All spools that there are expectations of."""


LINE_CHARACTERS_MAX = 120


def encoded(value: Any) -> str:
    """Return data as the JSON text that is stored: what fits into a line is in one."""
    return _indented(value, "") + "\n"


def _indented(value: Any, indent: str) -> str:
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or len(indent + flat) <= LINE_CHARACTERS_MAX:
        return flat
    begin, end, inner = flat[0], flat[-1], f"{indent} "
    if isinstance(value, list):
        parts = [_indented(each, inner) for each in value]
    else:
        parts = [f"{json.dumps(key)}: {_indented(each, inner)}" for key, each in value.items()]
    return begin + ",".join(f"\n{inner}{each}" for each in parts) + f"\n{indent}{end}"


def make_spools(work: Path) -> None:
    """Write what each program left, and its ledger, into `spools/`; what is there stays."""
    _made(DATA / "spools")
    for name in ARCHIVES:
        archive = DATA / "spools" / f"{name}.tar.gz"
        if not archive.exists():
            directory = _made(work / name)
            if name in CASES:
                run_program(name, directory)
            else:
                quarantine_and_die(unpack("flipped_payload_byte", directory))
            pack(directory, archive)


def make_recovered(work: Path) -> None:
    """Write `recovered/`: what `logship recover` makes of each spool in `spools/`."""
    answers = _made(DATA / "recovered")
    with ReceiverProcess.start(work / "out") as receiver:
        for name in SPOOLS:
            directory = _made(work / f"recover {name}")
            result, lines = recover(unpack(name, directory), receiver)
            if name in CASES:
                check_against_ledger(name, directory, lines)
            if name in PAIRS:  # how the lines of several processes alternate depends on the acks
                lines = [line for own in by_stream(lines).values() for line in own]
            (answers / f"{name}.json").write_text(encoded(result), "utf-8")
            texts = [json.dumps(line, ensure_ascii=False) + "\n" for line in lines]
            (answers / f"{name}.jsonl").write_text("".join(texts), "utf-8")


def make_outputs(work: Path) -> None:
    """Write `entries.json`, `lines.json`, `handler.json` and `reports.json`."""
    with ReceiverProcess.start(work / "out") as receiver:
        made = {
            "entries": outputs.entries(),
            "lines": outputs.lines_by(outputs.emit, receiver),
            "handler": outputs.lines_of_handler(receiver),
            "reports": outputs.reports(receiver, _made(work / "spool")),
        }
    for name, value in made.items():
        (DATA / f"{name}.json").write_text(encoded(value), "utf-8")


def make_metrics(work: Path) -> None:
    (DATA / "metrics.json").write_text(encoded(outputs.metrics(work)), "utf-8")


def make_audit(work: Path) -> None:
    """Write `audit.json`: verdicts about the lines in `recovered/`."""
    (DATA / "audit.json").write_text(encoded(verdicts(work)), "utf-8")


PARTS: dict[str, Callable[[Path], None]] = {
    "spools": make_spools,
    "recovered": make_recovered,
    "outputs": make_outputs,
    "metrics": make_metrics,
    "audit": make_audit,
}


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def main(words: list[str]) -> int:
    """Do what the words say; return the exit code."""
    with tempfile.TemporaryDirectory() as work:
        chosen = list(PARTS) if words == ["all"] else words
        if not chosen or not set(chosen) <= set(PARTS):
            print(f"usage: python -m tests.golden.make all | {' '.join(PARTS)}")  # noqa: T201
            return 2
        for part in chosen:
            PARTS[part](_made(Path(work) / part))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
