"""Shows that Celery at SIGQUIT, its cold shutdown, loses no record, and neither where it hangs.

Celery's handler closes the pool at once. If the signal comes while the main thread puts a task into
the pool's queue, the handler waits for the lock of that queue, which its own thread holds. logship
ships all the same: its threads do not need the main one.
"""

from __future__ import annotations

import os
import random
import signal

import pytest

from tests.examples.frameworks import FRAMEWORKS, environ
from tests.examples.load import Queue
from tests.examples.test_sigterm import processes_of
from tests.process.conftest import Sidecar
from tests.support.programs import Program, Programs, let_pass
from tests.support.waiting import wait_until

SEED = 20261127
RUNS = 20
ENDS_WITHIN_SECONDS = 10.0

(CELERY,) = (each for each in FRAMEWORKS if each.name == "celery")


@pytest.mark.parametrize(
    "number", [pytest.param(each, marks=pytest.mark.proof if each else ()) for each in range(RUNS)]
)
def test_celery_at_sigquit_in_the_middle_of_load_loses_nothing(
    programs: Programs, sidecar: Sidecar, number: int
) -> None:
    if CELERY.why_not_here:
        pytest.skip(CELERY.why_not_here)
    dice = random.Random(f"{SEED} {number}")
    program = programs.start_command(CELERY.words(0), environ={**environ(), **CELERY.environ})
    with Queue(program.directory):
        program.until_logged(dice.randrange(50, 300))
        program.until_true(lambda: processes_of(program) >= 2, "every process has logged")
        let_pass(dice.uniform(0, 0.1))
        program.process.send_signal(signal.SIGQUIT)
        hangs = not ends(program)
    if hangs:
        for marker in program.ledger:
            sidecar.output.until_arrived(marker)
        os.killpg(program.process.pid, signal.SIGKILL)
    ended = program.end()
    assert ended.returncode == (-signal.SIGKILL if hangs else 0), ended.stderr[-3000:]
    sidecar.output.verdict(ended).assert_all_delivered()


def ends(program: Program) -> bool:
    """Wait for the program's end; return False where it does not come in time."""
    try:
        wait_until(lambda: not program.is_alive, "the end", ENDS_WITHIN_SECONDS)
    except AssertionError:
        return False
    return True
