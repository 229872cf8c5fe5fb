"""Shows that today's recoverer reads the golden spools, and that today's spools are like them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.golden.make import SPOOLS
from tests.golden.programs import CASES
from tests.golden.recovering import (
    Lines,
    by_stream,
    check_against_ledger,
    comparable,
    recover,
    run_program,
)
from tests.golden.spools import DATA, unpack
from tests.support.receiver_process import ReceiverProcess

CUT_BY_CHUNKS = ("partial_acks", "gap_overflow")
"""Programs whose records go or stay with their chunks, whose borders a newer logship may move."""


def golden(name: str) -> tuple[dict[str, Any], Lines]:
    """Return what the golden head made of a golden spool."""
    result = json.loads((DATA / "recovered" / f"{name}.json").read_text("utf-8"))
    lines = (DATA / "recovered" / f"{name}.jsonl").read_text("utf-8").split("\n")
    return result, [json.loads(line) for line in lines[:-1]]


@pytest.mark.parametrize("name", SPOOLS)
def test_a_golden_spool_is_recovered_as_ever(
    name: str, tmp_path: Path, receiver: ReceiverProcess
) -> None:
    expected, expected_lines = golden(name)
    result, lines = recover(unpack(name, tmp_path), receiver)
    assert by_stream(lines) == by_stream(expected_lines)
    assert comparable(result) == comparable(expected)
    if name in CASES:
        check_against_ledger(name, tmp_path, lines)


@pytest.mark.parametrize("name", CASES)
def test_a_spool_of_today_is_like_the_golden_one(
    name: str, tmp_path: Path, receiver: ReceiverProcess
) -> None:
    run_program(name, tmp_path)
    spool = tmp_path / "spool"
    assert formats_of(spool) == {b"LGSPSEG\n": (1, 0x01020304), b"LGSPSTR\n": (1, 0x01020304)}
    result, lines = recover(spool, receiver)
    check_against_ledger(name, tmp_path, lines)
    assert (result["exit_code"], result["left"]) == (0, {})
    if name not in CUT_BY_CHUNKS:
        assert nameless(lines) == nameless(golden(name)[1])


def formats_of(spool: Path) -> dict[bytes, tuple[int, int]]:
    """Return version and byte order that the files of a spool name, by their magic bytes."""
    heads = [path.read_bytes()[:16] for path in spool.glob("*/s*")]
    return {head[:8]: struct.unpack_from("=II", head, 8) for head in heads if any(head)}


def nameless(lines: Lines) -> list[list[tuple[str, int, str]]]:
    """Return the lines of each stream, without its name, and control records without their time."""
    streams = []
    for stream, own in by_stream(lines).items():
        texts = [json.dumps(line["record"]) for line in own]
        times = [0 if is_control(line) else line["time_ns"] for line in own]
        tags = [line["tag"] for line in own]
        texts = [text.replace(f'"{stream}:', '":') if stream else text for text in texts]
        streams.append([*zip(tags, times, texts, strict=True)])
    return sorted(streams)


def is_control(line: dict[str, Any]) -> bool:
    return "logship_gap" in line["record"] or "logship_end" in line["record"]
