"""`logship audit --watch` as a program: its metrics, its state, its signals, its mistakes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.audit.asking import audit
from tests.audit.lines import ONE, append, high_water, received, record, stamp
from tests.metrics.scraping import SERVED_ON, scrape
from tests.support.waiting import wait_until

LINES = [received(record(number)) for number in range(1, 6)]


class Program:
    """`logship audit --watch`, running; looks twenty times a second."""

    def __init__(self, *arguments: str) -> None:
        self.stderr = Path("stderr")
        options = ["--watch", "--metrics-port", "0", "--interval", "0.05", *arguments]
        with self.stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "logship", "audit", *options], stderr=stderr
            )
        wait_until(lambda: SERVED_ON.search(self.stderr.read_text()) is not None, "a port is said")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)

    def said(self) -> list[str]:
        return self.stderr.read_text().splitlines()[1:]

    def figure(self, name: str) -> float:
        found = SERVED_ON.search(self.stderr.read_text())
        assert found
        return scrape(int(found[1]))[f"logship_audit_{name}"]

    def shows(self, **figures: float) -> None:
        def agrees() -> bool:
            return all(self.figure(name) == value for name, value in figures.items())

        wait_until(agrees, f"the page shows {figures}")


def test_it_finds_a_lost_tail_a_removed_and_a_cut_file() -> None:
    append("a.log", LINES[:2])
    append("b.log", LINES[2:])
    with Program("*.log", "--overdue", "0.1") as program:
        program.shows(records_proved=5, records_missing=0, streams_unended=1, parts=2)
        append("high.log", [received(high_water(1, stamp(7)))])
        program.shows(records_proved=5, records_missing=2, records_overdue=2)
        Path("a.log").unlink()
        program.shows(records_proved=3, records_missing=4, records_overdue=4)
        os.truncate("b.log", len(LINES[2]) + 1)
        program.shows(records_proved=1, records_missing=6, records_overdue=6)
        assert program.figure("oldest_missing_seconds") > 0.1
        assert program.figure("read_failures_total") == 0
        assert program.end(signal.SIGTERM) == 0
    said = "\n".join(program.said())
    assert "logship audit: a.log is gone" in said
    assert "logship audit: b.log was cut or replaced" in said
    assert f"logship audit: overdue: 6 records of stream {ONE} (tag web), from number 1" in said


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_goes_on_after_its_end_with_what_it_knew(number: signal.Signals) -> None:
    arguments = ("out.log", "old.log", "--state", "state.json")
    append("out.log", LINES[:3])
    append("old.log", LINES[3:])
    with Program(*arguments) as program:
        program.shows(records_proved=5)
        wait_until(Path("state.json").exists, "its state is kept")
        assert program.end(number) == (-signal.SIGKILL if number is signal.SIGKILL else 0)
    Path("old.log").unlink()
    with Program(*arguments) as program:
        program.shows(records_proved=3, records_missing=2, records_duplicated=0)
    assert program.said() == ["logship audit: old.log is gone; what was in it no longer counts"]


def test_a_state_that_cannot_be_written_is_told_and_nothing_else_ends() -> None:
    append("out.log", LINES)
    with Program("out.log", "--state", "missing/state.json") as program:
        program.shows(records_proved=5)
        text = "logship audit: cannot write missing/state.json: No such file or directory"
        wait_until(lambda: text in program.said(), "it says so")


def test_it_goes_on_where_nothing_can_be_told() -> None:
    """A log may be on a full disk for a while."""
    append("out.log", LINES[::2][:2])
    state, saved = Path("state.json"), set()
    options = ["--watch", "--interval", "0.05", "--overdue", "0.01", "--state", str(state)]
    words = [sys.executable, "-m", "logship", "audit", *options, "out.log"]
    with Path("/dev/full").open("wb") as full:
        watching = subprocess.Popen(words, stderr=full)

    def has_gone_on() -> bool:
        if state.exists():
            saved.add(state.stat().st_mtime_ns)
        return len(saved) > 3

    try:
        wait_until(has_gone_on, "it looks again, although the missing record is overdue")
    finally:
        watching.kill()
        watching.wait()


@pytest.fixture(
    params=[
        "{}",
        "[]",
        pytest.param("[" * 100_000, id="deep"),
        '"text',
        '{"version": 99, "stamp_key": "logship_id"}',
    ]
)
def bad_state(request: pytest.FixtureRequest) -> Iterator[str]:
    Path("state.json").write_text(request.param)
    yield "state.json"
    assert Path("state.json").read_text() == request.param


def test_a_state_that_is_none_is_refused_and_left(bad_state: str) -> None:
    result = audit("--watch", "out.log", "--state", bad_state, code=2)
    assert "state.json is not a state of this watch" in result.output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--watch", "-"], "--watch takes no --expect, no --json and no standard input"),
        (["--watch", "a", "--json"], "--watch takes no"),
        (["--watch", "a", "--expect", "b"], "--watch takes no"),
        (["a", "--overdue", "5"], "--overdue is only for --watch"),
        (["a", "--metrics-port", "0"], "--metrics-port is only for --watch"),
        (["a", "--state", "s"], "--state is only for --watch"),
        (["--watch", "a", "--interval", "0"], "--interval"),
        (["--watch", "a", "--metrics-port", "0", "--metrics-host", "256.1"], "cannot be served"),
    ],
)
def test_wrong_usage_is_told(arguments: list[str], text: str) -> None:
    result = audit(*arguments, code=2)
    assert text in result.output
