"""Runs `logship audit` over the golden lines, whole and with lines taken away or doubled."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from logship._cli.audit import command as audit_command
from tests.golden.recovering import facts, logship_here
from tests.golden.spools import DATA

Change = Callable[[list[str]], list[str]]


class Audited(NamedTuple):
    """A file to audit.

    Attributes:
        spool: Whose recovered lines it has.
        change: What is done to the lines.
        report: The name of a program in `reports.json` whose report is expected, or None.
    """

    spool: str
    change: Change = list
    report: str | None = None


AUDITED = {
    "complete": Audited("several_tags"),
    "ended by its own client": Audited("closed"),
    "duplicates": Audited("one_tag", lambda lines: lines[:20] + lines[10:]),
    "lost": Audited("several_tags", lambda lines: lines[:5] + lines[9:]),
    "end unproven": Audited("one_tag", lambda lines: lines[:-3]),
    "declared, dropped": Audited("gap_overflow"),
    "declared, damaged": Audited("changed_stamp"),
    "no stamps": Audited("without_stamps"),
    "torn line": Audited("one_tag", lambda lines: [*lines[:3], lines[3][:40], *lines[4:]]),
    "nothing but lines of others": Audited("one_tag", lambda lines: ['{"a": 1}\n', "text\n"]),
    "another report": Audited("closed", list, "no sidecar, memory"),
    "spilled": Audited("one_tag", lambda lines: [], "no sidecar, memory"),
}


def verdicts(directory: Path) -> dict[str, Any]:
    """Return each verdict: the exit code and the JSON that `logship audit` prints.

    Args:
        directory: An empty one.
    """
    stored = json.loads((DATA / "reports.json").read_text("utf-8"))
    found = {}
    for name, audited in AUDITED.items():
        lines = (DATA / "recovered" / f"{audited.spool}.jsonl").read_text("utf-8")
        path = directory / "audited.jsonl"
        changed = audited.change(lines.splitlines(keepends=True))
        path.write_text("".join(changed), "utf-8")
        words = [str(path), "--json"]
        if audited.report is not None:
            stderr = directory / "stderr"
            stderr.write_text(_with_stream_names(stored[audited.report]["stderr"]), "utf-8")
            words += [str(stderr), "--expect", str(stderr)]
        ended = logship_here(audit_command, *words)
        verdict = json.loads(ended.stdout)
        found[name] = {"exit_code": ended.exit_code, "verdict": _without_wording(verdict)}
    return found


def _with_stream_names(lines: list[str]) -> str:
    """Return stored lines with names of streams as they really are: twelve characters."""
    text = "\n".join(lines) + "\n"
    return text.replace("stream 1", "AAAAAAAAAAAA").replace("stream 2", "BBBBBBBBBBBB")


def _without_wording(verdict: dict[str, Any]) -> dict[str, Any]:
    """Return a verdict without the wording of what is for a person to read."""
    places = [
        {**place, "source": Path(place["source"]).name, "why": ""}
        for place in verdict["unreadable_places"]
    ]
    streams = [{**each, "problems": facts(each["problems"])} for each in verdict["streams"]]
    return {
        **verdict,
        "unreadable_places": places,
        "streams": streams,
        "notes": len(verdict["notes"]),
        "problems": facts(verdict["problems"]),
    }
