"""Shows that a stop signal at any moment of an application's life loses nothing.

Six kinds of moment, each struck at a time drawn from one seed: while it starts, while it connects
for the first time, in a burst, idle, while it reconnects, and while it drains. Six of the 200 runs
with SIGTERM belong to the normal suite, and none of the 100 runs with each other signal.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable

import pytest

from logship._settings.lists import DEFAULT_STOP_SIGNALS
from logship._signal_names import signal_name
from tests.support.programs import Ended, Program, Programs, let_pass
from tests.support.programs_gate import Gate

SEED = 20260214
RUNS = {
    signal.SIGTERM: 200,
    signal.SIGINT: 100,
    signal.SIGQUIT: 100,
    signal.SIGHUP: 100,
    signal.SIGUSR1: 100,
    signal.SIGRTMIN + 3: 100,
}
RUNS_OF_THE_NORMAL_SUITE = 6
LISTED = {"LOGSHIP_STOP_SIGNALS": "USR1,RTMIN+3"}

LIFE = """
    import sys, time
    progress("started")
    import logship
    logship.install(level="INFO", linger_seconds=0.05, backoff_seconds_base=0.05,
                    backoff_seconds_max=0.2)
    progress("installed")
    try:
        for _ in range({rounds}):
            log("x" * 400, times=30)
            progress("idle")
            time.sleep(0.05)
        progress("ending")
    finally:
        log("last words")
"""
Strike = Callable[[], None]

MOMENTS = ("start", "first connect", "burst", "idle", "reconnect", "drain")


@pytest.mark.parametrize(
    ("signum", "number"),
    [
        pytest.param(
            signum,
            number,
            id=f"{signal_name(signum)}-{number:03d}-{MOMENTS[number % len(MOMENTS)]}",
            marks=()
            if signum == signal.SIGTERM and number < RUNS_OF_THE_NORMAL_SUITE
            else pytest.mark.proof,
        )
        for signum, runs in RUNS.items()
        for number in range(runs)
    ],
)
def test_a_stop_signal_at_a_random_moment_loses_nothing(
    programs: Programs, gate: Gate, signum: int, number: int
) -> None:
    moment = MOMENTS[number % len(MOMENTS)]
    dice = random.Random(f"{SEED} {number}")
    rounds = 3 if moment == "drain" else 2000
    if moment not in ("first connect", "drain"):
        gate.open()
    program = programs.start(
        LIFE.format(rounds=rounds),
        endpoint=gate.endpoint,
        environ=LISTED if signum not in DEFAULT_STOP_SIGNALS else {},
    )
    STRIKES[moment](lambda: program.process.send_signal(signum), program, gate, dice)
    ended = program.end()
    _assert_right_end(ended, moment, signum)
    ended.verdict.assert_nothing_lost()


def _assert_right_end(ended: Ended, moment: str, signum: int) -> None:
    allowed = {-signum}
    if signum == signal.SIGINT:  # in the exit hook it reports, spills and exits
        allowed.add(128 + signum)
        if "init_import_site" in ended.stderr:  # no line of the program has run
            allowed.add(1)
    if moment == "drain":  # a program that has ended by itself may be faster than the signal
        allowed.add(0)
    assert ended.returncode in allowed, ended.stderr[-3000:]
    assert signum == signal.SIGINT or "Traceback" not in ended.stderr


def _at_start(strike: Strike, program: Program, gate: Gate, dice: random.Random) -> None:
    del gate
    if dice.random() < 0.7:
        program.until("started")
    let_pass(dice.uniform(0, 0.3))
    strike()


def _at_first_connect(strike: Strike, program: Program, gate: Gate, dice: random.Random) -> None:
    program.until("installed")
    before, between = dice.uniform(0, 0.1), dice.uniform(0, 0.3)
    let_pass(before)
    if dice.random() < 0.5:
        gate.open()
        let_pass(between)
        strike()
    else:
        strike()
        let_pass(between)
        gate.open()


def _in_a_burst(strike: Strike, program: Program, gate: Gate, dice: random.Random) -> None:
    del gate
    program.until_logged(dice.randrange(1, 400))
    let_pass(dice.uniform(0, 0.01))
    strike()


def _when_idle(strike: Strike, program: Program, gate: Gate, dice: random.Random) -> None:
    del gate
    rounds = dice.randrange(1, 10)
    program.until_true(lambda: program.progress.count("idle") >= rounds, "idle")
    let_pass(dice.uniform(0, 0.04))
    strike()


def _at_reconnect(strike: Strike, program: Program, gate: Gate, dice: random.Random) -> None:
    program.until_logged(dice.randrange(1, 400))
    gate.shut()
    let_pass(dice.uniform(0, 0.2))
    if dice.random() < 0.5:
        gate.open()
        let_pass(dice.uniform(0, 0.2))
        strike()
    else:
        strike()
        let_pass(dice.uniform(0, 0.2))
        gate.open()


def _while_draining(strike: Strike, program: Program, gate: Gate, dice: random.Random) -> None:
    if dice.random() < 0.5:
        gate.silence()
    program.until("ending")
    let_pass(dice.uniform(0, 0.3))
    strike()
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
