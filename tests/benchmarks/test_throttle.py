"""A slow sidecar: stopped when it has used its share, and running again; one that is not done."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.errors import BenchmarkError
from benchmarks.servers import open_sidecar
from benchmarks.sidecars import Sidecar, Throttle, wait_until_quiet
from tests.support.waiting import wait_until


@pytest.fixture
def busy_process() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def state_of(process: subprocess.Popen[bytes]) -> str:
    """Return `R` for a running process, `T` for a stopped one."""
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_busy_process_is_stopped_and_continued_until_the_throttle_ends(
    busy_process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Throttle, "SHARE", 0.02)  # a busy machine may not have a quarter for it
    throttle = Throttle(busy_process.pid, lambda number: os.killpg(busy_process.pid, number))
    for _ in range(3):
        wait_until(lambda: state_of(busy_process) == "T", "it has used its share")
        wait_until(lambda: state_of(busy_process) == "R", "it got its next share")
    throttle.stop()
    assert state_of(busy_process) == "R"


@pytest.mark.parametrize("fault", [Sidecar.kill, Sidecar.throttle, Sidecar.pause])
def test_nothing_happens_to_a_sidecar_that_was_not_started_here(
    tmp_path: Path, fault: Callable[[Sidecar], None]
) -> None:
    """In silence, a fault would be measured that did not happen."""
    sidecar = open_sidecar("127.0.0.1:24224", tmp_path, ["output"])
    with pytest.raises(BenchmarkError, match="--server-command"):
        fault(sidecar)


def test_a_sidecar_that_still_writes_is_not_judged() -> None:
    """What is missing may still come: it is not lost."""
    with pytest.raises(BenchmarkError, match=r"still writes after 0\.1 s"):
        wait_until_quiet(itertools.count().__next__, 1.0, 0.1, look_seconds=0.01)
    wait_until_quiet(lambda: 12, 0.1, 60.0)
