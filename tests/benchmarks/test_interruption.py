"""A benchmark that is called off leaves no process behind."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.benchmarks.running import COMMAND, ENVIRON, REPOSITORY
from tests.support.commands import ran_python
from tests.support.waiting import wait_until


def processes_of(directory: Path) -> list[str]:
    """Return the command lines of what runs in `directory`, or names it."""
    found = map(_place_and_words, Path("/proc").glob("[0-9]*"))
    return [words for place, words in found if str(directory) in (place + words)]


def _place_and_words(process: Path) -> tuple[str, str]:
    try:
        words = (process / "cmdline").read_text(errors="replace").replace("\0", " ")
        return str((process / "cwd").readlink()), words
    except OSError:
        return "", ""  # it ended while we looked


@pytest.mark.parametrize(
    ("number", "words", "count"),
    [
        (signal.SIGTERM, ["loss", "--shipper", "fluent-logger", "--seconds", "60"], 3),
        (signal.SIGINT, ["drain"], 2),
    ],
    ids=["a run", "a measure"],
)
def test_an_interrupted_benchmark_ends_what_it_started(
    tmp_path: Path, number: signal.Signals, words: list[str], count: int
) -> None:
    """A run has an application besides the sidecar."""
    benchmark = subprocess.Popen(
        [*COMMAND, *words],
        cwd=tmp_path,
        env=ENVIRON,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def all_run() -> bool:
        found = processes_of(tmp_path)
        return len(found) == count and any(" logship receive " in each for each in found)

    try:
        wait_until(all_run, "all of it runs")
        benchmark.send_signal(number)
        assert benchmark.wait(60) != 0
    finally:
        benchmark.kill()
        benchmark.wait()
    wait_until(lambda: not processes_of(tmp_path), "all of it is gone")


def test_a_child_that_no_object_knows_is_killed_with_its_group() -> None:
    assert ran_python(FORGETFUL, cwd=REPOSITORY).stdout.split() == ["-9", "-9"]


FORGETFUL = """
import os, subprocess
from benchmarks.processes import kill_children

subprocess.Popen(["sleep", "600"])
shell = ["sh", "-c", "sleep 600 & echo; wait"]
group = subprocess.Popen(shell, stdout=subprocess.PIPE, start_new_session=True)
group.stdout.readline()
kill_children()
group.stdout.read()  # the shell's own child holds it too
for _ in range(2):
    print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def test_a_child_that_has_ended_does_not_spare_the_others() -> None:
    assert ran_python(ENDED_MEANWHILE, cwd=REPOSITORY).stdout == "-9\n"


ENDED_MEANWHILE = """
import os, subprocess
from benchmarks.processes import kill_children

first, second = (subprocess.Popen(["sleep", "60"]) for _ in "12")
getpgid = os.getpgid

def group_of(child):
    if child == first.pid:
        raise ProcessLookupError
    return getpgid(child)

os.getpgid = group_of
kill_children()
first.kill()
print(second.wait(10))
"""
