"""`logship receive --pretty`: lines for a person, and the count at the end."""

from __future__ import annotations

import json
import os
import pty
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack
import pytest

from logship._cli.pretty import pretty_lines
from logship._protocol.payloads import payload_lines
from tests.receiver.raw_client import RawClient, frame
from tests.support.receiver_process import RECEIVE, ReceiverProcess

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"


def pretty(record: dict[str, Any], *, coloured: bool = False, time_ns: int = 10**18) -> list[str]:
    """Return what becomes of one record, without its time."""
    line = json.dumps({"tag": "web", "time_ns": time_ns, "record": record}).encode() + b"\n"
    text = pretty_lines(line, coloured=coloured).decode()
    return re.sub(rf"^{TIME}  ", "", text).removesuffix("\n").split("\n")


@pytest.mark.parametrize(
    ("record", "lines"),
    [
        ({"message": "hi", "level": "INFO"}, ["web  INFO      hi"]),
        ({"log": "hi"}, ["web            hi"]),
        (
            {"message": "paid", "severity": "warn", "order": 7, "note": "two words", "t": "x"},
            ['web  warn      paid  order=7 note="two words" t=x'],
        ),
        ({"message": "hi", "logship_id": "x"}, ["web            hi"]),
        ({"message": "a\nb", "level": "ERROR"}, ["web  ERROR     a", "    b"]),
        (
            {"message": "no", "exception": "T:\n  x"},
            ["web            no", "    exception:", "      T:", "        x"],
        ),
        (
            {"message": "\x1b[31m", "k\x1b": "\x07\u2028"},
            [r"web            \x1b[31m  k\x1b=\x07\u2028"],
        ),
        ({"message": 5, "level": None}, ["web  None      5"]),
        ({}, ["web"]),
    ],
)
def test_a_record_becomes_lines(record: dict[str, Any], lines: list[str]) -> None:
    assert pretty(record) == lines


def test_a_level_has_its_colour() -> None:
    assert "\x1b[31mERROR   \x1b[0m" in pretty({"message": "x", "level": "ERROR"}, coloured=True)[0]
    assert "\x1b[33mWARNING \x1b[0m" in pretty({"level": "WARNING"}, coloured=True)[0]


def test_what_no_calendar_has_and_what_is_nested_too_deep_is_shown() -> None:
    assert pretty({"message": "x"}, time_ns=2**80)[0].startswith(f"{2**80} ns  web")
    deep = b'{"tag":"web","time_ns":1,"record":' + b'{"x":' * 200_000 + b"1" + b"}" * 200_001
    assert pretty_lines(deep, coloured=False).startswith(b'{"tag":"web"')


@pytest.mark.parametrize("value", [1, float("nan")])
def test_the_largest_time_that_a_client_can_send_is_shown(value: float) -> None:
    seconds = 2**64 - 1
    lines, count = payload_lines("web", msgpack.packb([seconds, {"message": "x", "n": value}]))
    assert count == 1
    shown = pretty_lines(lines, coloured=False)
    assert shown.startswith(b"%d000000000 ns  web  " % seconds)


def test_each_depth_is_shown_although_a_python_reads_more_than_it_writes() -> None:
    for depth in range(900, sys.getrecursionlimit() + 10):
        deep = b'{"tag":"web","time_ns":1,"record":{"x":' + b"[" * depth + b"]" * depth + b"}}\n"
        assert b"web" in pretty_lines(deep, coloured=False)


def test_a_receiver_writes_them_and_counts_at_the_end(tmp_path: Path) -> None:
    with ReceiverProcess.start(tmp_path / "out", options=["--pretty"]) as receiver:
        for number in range(2):
            with RawClient(receiver) as client:
                client.send(frame(f"id{number}", {"message": f"line {number}", "level": "INFO"}))
                assert client.acks(1) == [f"id{number}"]
        lines = receiver.out.read_text().splitlines()
        assert [re.sub(TIME, "TIME", line) for line in lines] == [
            f"TIME  app  INFO      line {number}" for number in range(2)
        ]
        assert receiver.terminate() == 0
        told = receiver.stderr()
    assert re.search(r"(?m)^logship receive: 2 records on 2 connections in \d+\.\d s$", told)


@pytest.mark.parametrize("terminal", [True, False])
def test_standard_output_is_coloured_if_it_is_a_terminal(tmp_path: Path, terminal: bool) -> None:
    reading, writing = pty.openpty() if terminal else os.pipe()
    environ = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    command = [*RECEIVE, "--pretty", "--bind", f"unix://{tmp_path}/socket"]
    with subprocess.Popen(
        command, stdout=writing, stderr=subprocess.PIPE, env=environ | {"TERM": "xterm"}
    ) as process:
        os.close(writing)
        assert process.stderr
        process.stderr.readline()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{tmp_path}/socket")
            client.sendall(frame("id", {"message": "out of disk", "level": "ERROR"}))
            line = os.read(reading, 65536)
        process.terminate()
    os.close(reading)
    assert b"out of disk" in line
    assert (b"\x1b[31mERROR" in line) == terminal
