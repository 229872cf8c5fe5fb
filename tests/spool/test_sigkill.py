"""Shows that SIGKILL at any moment loses no record whose `emit` had returned.

Real processes: an application that ships while it logs, or cannot reach its sidecar, is killed at
a moment drawn from one seed; `logship recover` runs afterwards; the ledger is the judge.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal

import pytest

from tests.spool.programs import NOWHERE, Spools, kill
from tests.support.commands import LOGSHIP
from tests.support.programs import let_pass
from tests.support.waiting import wait_until
from tests.unit.pipes import Pipe

SEED = 20260417
RUNS = 500
RUNS_OF_THE_NORMAL_SUITE = 4
RATES = (300, 30_000)
RUNS_OF_RECOVERY = 50
RUNS_OF_RECOVERY_IN_THE_NORMAL_SUITE = 1


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(
            number,
            id=f"{number:03d}-{RATES[number % 2]}",
            marks=() if number < RUNS_OF_THE_NORMAL_SUITE else pytest.mark.proof,
        )
        for number in range(RUNS)
    ],
)
def test_sigkill_at_a_random_moment_loses_nothing(spools: Spools, number: int) -> None:
    dice = random.Random(f"{SEED} {number}")
    endpoint = dice.choice((None, NOWHERE))
    application = spools.start_application(RATES[number % 2], endpoint=endpoint)
    spools.wait_for_ledger(dice.choice((1, 1, 50, 200)))
    let_pass(dice.uniform(0.0, 0.5))
    kill(application)
    code, report = spools.recover()
    assert (spools.missing(), code) == ([], 0), f"{report}\n{spools.stderr[-3000:]}"
    assert report["damaged"] == 0
    assert list(spools.spool.iterdir()) == []
    if endpoint is NOWHERE:
        assert len(spools.delivered) == len(set(spools.delivered))


_EACH_RECOVERY = pytest.mark.parametrize(
    "number",
    [
        pytest.param(
            number,
            marks=() if number < RUNS_OF_RECOVERY_IN_THE_NORMAL_SUITE else pytest.mark.proof,
        )
        for number in range(RUNS_OF_RECOVERY)
    ],
)


@_EACH_RECOVERY
def test_recoverers_and_sidecars_that_are_killed_lose_nothing(spools: Spools, number: int) -> None:
    dice = random.Random(f"{SEED} recovery {number}")
    applications = [spools.start_application(30_000, endpoint=NOWHERE) for _ in range(3)]
    spools.wait_for_ledger(9_000)
    for each in applications:
        kill(each)
    for _ in range(6):
        recoverer = spools.start_recoverer()
        delivered = spools.receiver.out.stat().st_size
        wait_until(
            lambda delivered=delivered, recoverer=recoverer: (  # type: ignore[misc]
                spools.receiver.out.stat().st_size > delivered or recoverer.poll() is not None
            ),
            "recovery has begun",
        )
        let_pass(dice.uniform(0.0, 0.05))
        victims = [recoverer.kill, spools.receiver.kill]
        dice.choice(victims)()
        if spools.receiver.process.poll() is not None:
            spools.receiver.restart()
        kill(recoverer)
    code, report = spools.recover()
    assert (spools.missing(), code) == ([], 0), f"{report}\n{spools.stderr[-3000:]}"
    assert list(spools.spool.iterdir()) == []


def test_two_recoverers_at_once_ship_everything_once(spools: Spools) -> None:
    applications = [spools.start_application(30_000, endpoint=NOWHERE) for _ in range(3)]
    spools.wait_for_ledger(6_000)
    for each in applications:
        kill(each)
    recoverers = [spools.start_recoverer() for _ in range(2)]
    for each in recoverers:
        each.communicate(timeout=120)
    spools.recover()
    assert spools.missing() == []
    assert len(spools.delivered) == len(set(spools.delivered))


@_EACH_RECOVERY
def test_forked_children_of_the_dead_do_not_hold_up_recovery(spools: Spools, number: int) -> None:
    dice = random.Random(f"{SEED} forked {number}")
    application = spools.start_application(dice.choice(RATES), "fork", endpoint=NOWHERE)
    wait_until(lambda: "m1-child" in spools.ledger, "the child has logged")
    spools.wait_for_ledger(dice.choice((2, 60, 300)))
    let_pass(dice.uniform(0.0, 0.3))
    kill(application)
    code, report = spools.recover()
    assert code == 0
    assert report["lives_finished"] == 1
    assert spools.missing() == ["m1-child"]  # it lives, and so does its spool
    os.killpg(application.pid, signal.SIGKILL)
    wait_until(lambda: spools.recover()[1]["lives"] == 1, "the child is dead, too")
    assert spools.missing() == []


def test_a_watching_recoverer_ships_what_dies_later_and_leaves_at_sigterm(spools: Spools) -> None:
    recoverer = spools.start_recoverer("--watch")
    wait_until(lambda: "logship recover: watching" in spools.stderr, "it watches")
    application = spools.start_application(3_000, endpoint=NOWHERE)
    spools.wait_for_ledger(300)
    recoverer.send_signal(signal.SIGTERM)  # the application dies last: that is what it waits for
    let_pass(0.3)
    assert recoverer.poll() is None
    kill(application)
    out, _ = recoverer.communicate(timeout=60)
    assert recoverer.returncode == 0, out
    assert spools.missing() == []


def test_a_recoverer_whose_stdout_takes_nothing_ends_within_its_stop_timeout(
    spools: Spools,
) -> None:
    stdout = Pipe()
    stdout.fill()
    with contextlib.closing(stdout):
        recoverer = spools.start_recoverer("--watch", "--stop-timeout", "2", stdout=stdout.writing)
        wait_until(lambda: "logship recover: watching" in spools.stderr, "it watches")
        recoverer.send_signal(signal.SIGTERM)
        wait_until(lambda: "the report is left out" in spools.stderr, "it gives the report up", 20)
        assert recoverer.wait(20) == 0


def test_what_a_recoverer_cannot_ship_goes_to_stderr_and_stays(spools: Spools) -> None:
    application = spools.start_application(3_000, endpoint=NOWHERE)
    spools.wait_for_ledger(300)
    kill(application)
    recoverer = spools.start_recoverer("--watch", "--stop-timeout", "2", endpoint=NOWHERE)
    wait_until(lambda: "logship recover: watching" in spools.stderr, "it watches")
    wait_until(lambda: spools.stderr.count("cannot connect") == 2, "it has tried")
    recoverer.send_signal(signal.SIGTERM)
    out, _ = recoverer.communicate(timeout=60)
    report = json.loads(out)
    assert recoverer.returncode == 1
    spilled = [json.loads(each) for each in spools.stderr.splitlines() if each.startswith("{")]
    markers = {each["record"]["message"] for each in spilled if each["logship"] == "spilled"}
    assert spools.ledger <= markers
    assert report["records_abandoned"] >= len(spools.ledger)
    code, _ = spools.recover()
    assert (code, spools.missing()) == (0, [])


def test_a_dry_run_says_what_is_there(spools: Spools) -> None:
    application = spools.start_application(3_000, endpoint=NOWHERE)
    spools.wait_for_ledger(300)
    _, alive = spools.recover("--dry-run")
    assert (alive["state"], alive["damages"]) == ("alive or being recovered", [])
    assert alive["entries"] >= 300
    kill(application)
    before = {each: each.read_bytes() for each in spools.spool.glob("*/*")}
    code, life = spools.recover("--dry-run")
    assert (code, life["state"], life["damages"]) == (0, "dead", [])
    assert {each: each.read_bytes() for each in spools.spool.glob("*/*")} == before
    assert life["entries"] >= 300
    assert spools.delivered == []


def test_a_spool_that_is_none_is_an_error_of_usage(spools: Spools) -> None:
    spools.spool.rmdir()
    process = spools._start([*LOGSHIP, "recover", "--spool", str(spools.spool)], spools.environ())
    assert process.wait(60) == 2
    assert str(spools.spool) in spools.stderr
    assert not spools.spool.exists()


def test_a_recoverer_that_is_disabled_says_so(spools: Spools) -> None:
    """One that watches goes on: it may share the environment of an application."""
    environ = {**spools.environ(), "LOGSHIP_DISABLED": "1"}
    words = [*LOGSHIP, "recover", "--spool", str(spools.spool)]
    assert spools._start(words, environ).wait(60) == 2
    assert "LOGSHIP_DISABLED is set, so nothing would be shipped" in spools.stderr
    recoverer = spools._start([*words, "--watch", "--stop-timeout", "1"], environ)
    wait_until(lambda: "watching" in spools.stderr, "the recoverer to watch", 60)
    assert "LOGSHIP_DISABLED is set, so nothing is shipped" in spools.stderr
    recoverer.terminate()
    assert recoverer.wait(60) == 0  # the spool is empty


def test_a_recoverer_that_watches_may_start_before_the_first_client(spools: Spools) -> None:
    spools.spool.rmdir()
    recoverer = spools.start_recoverer("--watch", "--stop-timeout", "10")
    wait_until(lambda: "watching" in spools.stderr, "the recoverer to watch", 60)
    assert f"made {spools.spool} for user" in spools.stderr
    application = spools.start_application(1000)
    spools.wait_for_ledger(100)
    kill(application)
    recoverer.terminate()
    out, _ = recoverer.communicate(timeout=60)
    report = json.loads(out)
    assert report["complete"]
    assert f"shipped {report['records_acked']:,} records that a dead process" in spools.stderr
    assert spools.missing() == []
