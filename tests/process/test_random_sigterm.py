"""Shows that a SIGTERM at any moment of an application's life loses nothing.

Six kinds of moment, each struck at a time drawn from one seed: while it starts, while it connects
for the first time, in a burst, idle, while it reconnects, and while it drains. Ten of the 200 runs
belong to the normal suite.
"""

from __future__ import annotations

import random
import signal

import pytest

from tests.process.conftest import Sidecar
from tests.support.programs import Ended, Program, Programs, let_pass
from tests.support.programs_gate import Gate

SEED = 20260214
RUNS = 200
RUNS_OF_THE_NORMAL_SUITE = 10

LIFE = """
    import sys, time
    from application import log, progress
    progress("started")
    import logship
    logship.install(level="INFO", linger_seconds=0.05, backoff_seconds_base=0.05,
                    backoff_seconds_max=0.2)
    progress("installed")
    try:
        for _ in range({rounds}):
            for _ in range(30):
                log("x" * 400)
            progress("idle")
            time.sleep(0.05)
        progress("ending")
    finally:
        log("last words")
"""

MOMENTS = ("start", "first connect", "burst", "idle", "reconnect", "drain")


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(
            number,
            id=f"{number:03d}-{MOMENTS[number % len(MOMENTS)]}",
            marks=() if number < RUNS_OF_THE_NORMAL_SUITE else pytest.mark.proof,
        )
        for number in range(RUNS)
    ],
)
def test_sigterm_at_a_random_moment_loses_nothing(
    programs: Programs, sidecar: Sidecar, gate: Gate, number: int
) -> None:
    moment = MOMENTS[number % len(MOMENTS)]
    dice = random.Random(f"{SEED} {number}")
    rounds = 3 if moment == "drain" else 2000
    if moment not in ("first connect", "drain"):
        gate.open()
    program = programs.start(LIFE.format(rounds=rounds), endpoint=gate.endpoint)
    STRIKES[moment](program, gate, dice)
    ended = program.end()
    _assert_right_end(ended, moment)
    sidecar.output.verdict(ended).assert_nothing_lost()


def _assert_right_end(ended: Ended, moment: str) -> None:
    # A program that had ended by itself already may be faster than the signal.
    allowed = {-signal.SIGTERM, 0} if moment == "drain" else {-signal.SIGTERM}
    assert ended.returncode in allowed, ended.stderr[-3000:]
    assert "Traceback" not in ended.stderr


def _strike(program: Program) -> None:
    program.process.send_signal(signal.SIGTERM)


def _at_start(program: Program, gate: Gate, dice: random.Random) -> None:
    del gate
    if dice.random() < 0.7:
        program.until("started")
    let_pass(dice.uniform(0, 0.3))
    _strike(program)


def _at_first_connect(program: Program, gate: Gate, dice: random.Random) -> None:
    program.until("installed")
    before, between = dice.uniform(0, 0.1), dice.uniform(0, 0.3)
    let_pass(before)
    if dice.random() < 0.5:
        gate.open()
        let_pass(between)
        _strike(program)
    else:
        _strike(program)
        let_pass(between)
        gate.open()


def _in_a_burst(program: Program, gate: Gate, dice: random.Random) -> None:
    del gate
    program.until_logged(dice.randrange(1, 400))
    let_pass(dice.uniform(0, 0.01))
    _strike(program)


def _when_idle(program: Program, gate: Gate, dice: random.Random) -> None:
    del gate
    rounds = dice.randrange(1, 10)
    program.until_true(lambda: program.progress.count("idle") >= rounds, "idle")
    let_pass(dice.uniform(0, 0.04))
    _strike(program)


def _at_reconnect(program: Program, gate: Gate, dice: random.Random) -> None:
    program.until_logged(dice.randrange(1, 400))
    gate.shut()
    let_pass(dice.uniform(0, 0.2))
    if dice.random() < 0.5:
        gate.open()
        let_pass(dice.uniform(0, 0.2))
        _strike(program)
    else:
        _strike(program)
        let_pass(dice.uniform(0, 0.2))
        gate.open()


def _while_draining(program: Program, gate: Gate, dice: random.Random) -> None:
    if dice.random() < 0.5:
        gate.silence()
    program.until("ending")
    let_pass(dice.uniform(0, 0.3))
    _strike(program)
    let_pass(dice.uniform(0, 0.2))
    gate.open()


STRIKES = {
    "start": _at_start,
    "first connect": _at_first_connect,
    "burst": _in_a_burst,
    "idle": _when_idle,
    "reconnect": _at_reconnect,
    "drain": _while_draining,
}
