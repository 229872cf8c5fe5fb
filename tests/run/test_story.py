"""The first user's story: a batch that prints 300 lines of 400 characters a second.

Its sidecar has a quarter of a CPU. It ends by itself or is stopped in the middle, and not a line
may be missing; `logship audit` and the batch's own ledger are the judges.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.sidecars import Throttle
from tests.run.conftest import SIGKILLED, SIGTERMED, Runs, read_receipt
from tests.support.programs import Program, children_of, let_pass, why_no_pid_namespace
from tests.support.receiver_process import ReceiverProcess

SEED = 20261124
RUNS = 100
RUNS_OF_THE_NORMAL_SUITE = 2

BATCH = """
    lines = int(sys.argv[1]) if sys.argv[1:] else {lines}
    begun = time.monotonic()
    ready()
    for number in itertools.count():
        if number == lines:
            break
        marker = new_marker()
        print(marker.ljust(40), "x" * 359, flush=True)
        write_down(marker)
        time.sleep(max(0.0, begun + number / 300 - time.monotonic()))
    for number in range({burst}):
        marker = new_marker()
        print(marker.ljust(40), "y" * 359, flush=True)
        write_down(marker)
    sys.exit({code})
"""


@pytest.fixture
def slow_sidecar(receiver: ReceiverProcess) -> Iterator[None]:
    """The sidecar runs a quarter of the time."""
    throttle = Throttle(receiver.process.pid, receiver.process.send_signal)
    yield
    throttle.stop()


@pytest.mark.usefixtures("slow_sidecar")
def test_a_batch_that_ends_by_itself_loses_nothing_and_keeps_its_code(
    runs: Runs, receipt: Path
) -> None:
    """The last thing it does is to print 10,000 lines at once: its summary."""
    runs.start(
        BATCH.format(lines=900, burst=10_000, code=1), options=("--receipt", str(receipt))
    ).end(returncode=1).verdict.assert_delivered_once(10_900)
    assert read_receipt(receipt)["complete"] is True
    runs.assert_proved(receipt)


def test_the_sidecar_is_killed_and_restarted_while_the_batch_is_stopped(
    as_pid_1: Runs, receipt: Path
) -> None:
    program = as_pid_1.start(
        BATCH.format(lines=-1, burst=0, code=0),
        options=("--receipt", str(receipt), "--stop-timeout", "30"),
    )
    program.until_ready()
    program.until_logged(300)
    as_pid_1.receiver.kill()
    program.until_logged(450)
    program.signal(signal.SIGTERM)
    as_pid_1.receiver.restart()
    program.end(returncode=SIGTERMED).verdict.assert_all_delivered()
    as_pid_1.assert_proved(receipt)


PRINTS_AND_LOGS = """
    logship.install(level="INFO")
    if {forks} and os.fork() == 0:
        while True:
            log("in a child that is never signalled")
            time.sleep(0.001)
    ready()
    while True:
        print_marker("x" * 400)
        log("as a client")
"""


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(number, marks=() if number < RUNS_OF_THE_NORMAL_SUITE else pytest.mark.proof)
        for number in range(RUNS)
    ],
)
def test_a_stop_or_a_kill_at_a_random_moment_under_full_load_loses_nothing(
    runs: Runs, receipt: Path, number: int
) -> None:
    """The command prints and is a client at the same time, as fast as both can."""
    dice = random.Random(f"{SEED} {number}")
    runs.as_pid_1 = number % 2 == 1 and not why_no_pid_namespace()
    program = runs.start(
        PRINTS_AND_LOGS.format(forks=dice.random() < 0.5),
        options=("--receipt", str(receipt), "--stop-timeout", "20"),
    )
    program.until_ready()
    program.until_logged(dice.choice((1, 100, 3000)))
    let_pass(dice.uniform(0.0, 0.3))
    if dice.random() < 0.5:
        program.signal(signal.SIGTERM)
    else:
        kill_the_command(program)
    ended = program.end()
    assert ended.returncode in (SIGTERMED, SIGKILLED)
    ended.verdict.assert_all_delivered()
    assert read_receipt(receipt)["complete"] is True
    runs.assert_proved(receipt)


def kill_the_command(program: Program) -> None:
    """SIGKILL it and its children, as the kernel does where memory runs out."""
    os.killpg(children_of(program.pid)[0], signal.SIGKILL)
