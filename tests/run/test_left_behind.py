"""Shows what becomes of processes that outlive the command, and of what they have logged."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.run.conftest import SIGKILLED, Runs, read_receipt, states_below
from tests.run.test_clients import owners_known
from tests.run.test_pressure import SMALL
from tests.support.commands import LOGSHIP
from tests.support.programs import children_of
from tests.support.programs_gate import Gate
from tests.support.receiver_process import RECEIVE

LEAVES_ONE = """
    if os.fork() == 0:
        os.setsid()
        for descriptor in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        import logship
        logship.install(level="INFO", endpoints="tcp://127.0.0.1:1")
        memory = bytearray({mebibytes} * 1024 * 1024)
        memory[::4096] = bytes(len(memory[::4096])).replace(b"\\0", b"x")
        log("by one that stays", times=5)
        ready()
        forever()
"""


def test_one_that_takes_long_to_die_is_shipped_when_it_is_dead(runs: Runs, receipt: Path) -> None:
    """The kernel frees its memory first, and its lock on the spool only then."""
    program = runs.start(
        LEAVES_ONE.format(mebibytes=300),
        "forever()",
        options=("--orphan-wait", "0", "--receipt", str(receipt)),
    )
    program.stopped().verdict.assert_all_delivered(5)
    assert read_receipt(receipt)["complete"] is True


def test_a_sidecar_from_before_the_command_gets_the_commands_records(
    as_pid_1: Runs, tmp_path: Path
) -> None:
    """A shell starts it, and then becomes `run`. It listens only once the command has ended."""
    endpoint, out = f"unix://{tmp_path}/socket", tmp_path / "inside.jsonl"
    sidecar = shlex.join([*RECEIVE, "--bind", endpoint, "--out", str(out)])
    words = "echo $$ >pid; echo a line; kill $PPID; exec sleep 60"
    run = shlex.join([*LOGSHIP, "run", "--stop-timeout", "40", "--", "sh", "-c", words])
    until_ended = "while ! [ -s pid ] || kill -0 $(cat pid); do sleep 0.01; done"
    ended = subprocess.run(
        [*as_pid_1.first_words, "sh", "-c", f"({until_ended}; exec {sidecar}) & exec {run}"],
        env={**as_pid_1.environ, "LOGSHIP_ENDPOINTS": endpoint, "TEST_DIRECTORY": f"{tmp_path}/"},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 128 + signal.SIGTERM
    assert out.read_text().count('"a line"') == 1


def test_where_a_client_is_left_alive_the_receipt_is_not_complete(
    runs: Runs, receipt: Path
) -> None:
    """It may die with records that nothing ships: `run` and its spool's recovery are over."""
    program = runs.start(
        LEAVES_ONE.format(mebibytes=1),
        "wait_for('end')",
        options=("--orphan-wait", "0", "--loss-exit", "75", "--receipt", str(receipt)),
    )
    program.until_ready()
    ended = program.finish("end", returncode=75)
    found = read_receipt(receipt)
    assert (found["complete"], found["cut_off"], found["recovery"]["complete"]) == (
        False,
        False,
        False,
    )
    assert "something is left on the spool" in ended.stderr


def test_output_that_was_only_not_read_yet_is_not_cut_off(runs: Runs, receipt: Path) -> None:
    """Without any wait the command's end is seen before that of its output."""
    ended = runs.shell("echo saved", options=("--orphan-wait", "0", "--receipt", str(receipt)))
    assert runs.messages == ["saved"]
    found = read_receipt(receipt)
    assert (found["cut_off"], found["complete"]) == (False, True)
    assert b"left behind" not in ended.stderr


def test_output_that_waited_for_space_is_not_cut_off(runs: Runs, gate: Gate, receipt: Path) -> None:
    """The buffer is full, and what the command wrote last is in the pipe at its end."""
    program = runs.start(
        """
        for _ in range(100):
            print_marker("x" * 950)
        """,
        endpoint=gate.endpoint,
        options=("--orphan-wait", "0", "--receipt", str(receipt)),
        environ=SMALL,
    )
    program.until_logged(100)
    program.until_true(lambda: children_of(program.pid) == [], "the command has ended")
    gate.open()
    ended = program.end()
    ended.verdict.assert_all_delivered()
    assert "left behind" not in ended.stderr
    found = read_receipt(receipt)
    assert (found["cut_off"], found["complete"]) == (False, True)


def test_a_client_is_not_taken_for_dead_when_the_output_ends(runs: Runs) -> None:
    """In one turn `run` closes the pipes and opens a descriptor of the client, by their number."""
    program = runs.start(
        """
        ready()
        wait_for("client")
        if os.fork() == 0:
            for descriptor in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
            import logship
            logship.install(level="INFO", endpoints="tcp://127.0.0.1:1")
            log("by one that stays")
            progress("client")
            wait_for("death")
            os.kill(os.getpid(), signal.SIGKILL)
        wait_for("end")
        """,
        options=("--orphan-wait", "40"),
    )
    program.until_ready()
    program.signal(signal.SIGSTOP)
    program.let_go("client")
    program.until("client")
    program.let_go("end")
    program.until_true(lambda: "Z" in states_below(program), "the command has ended")
    program.signal(signal.SIGCONT)
    program.until_true(lambda: owners_known(program) == 1, "`run` has found the client")
    ended = program.finish("death")
    ended.verdict.assert_all_delivered()
    told = [line for line in ended.stderr.splitlines() if "what it left on its spool" in line]
    assert len(told) == 1
    assert "was killed by SIGKILL" in told[0]


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root can give up CAP_KILL"
)
def test_a_command_that_cannot_be_killed_is_left_in_time(runs: Runs, receipt: Path) -> None:
    """As where a container has no capabilities, and the command becomes another user."""
    program = runs.start(
        """
        os.setuid(65534)
        print("held", flush=True)
        forever()
        """,
        outside=("setpriv", "--bounding-set", "-kill", "--inh-caps", "-kill"),
        options=("--stop-timeout", "4", "--receipt", str(receipt)),
    )
    program.until_true(lambda: runs.messages == ["held"], "its output")
    program.signal(signal.SIGTERM)
    ended = program.end(seconds_max=20)
    assert ended.returncode == SIGKILLED
    assert ended.stderr.count("Operation not permitted") == 1
    assert "the command still holds its stdout and stderr" in ended.stderr
    found = read_receipt(receipt)
    assert (found["acked"], found["cut_off"], found["complete"]) == (1, True, False)


def test_a_command_that_writes_without_end_leaves_the_time_to_ship(
    runs: Runs, receipt: Path
) -> None:
    """To read a pipe full of empty lines would take longer than there is time."""
    program = runs.start(
        """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        ready()
        while True:
            os.write(1, 4096 * b"\\n")
        """,
        options=("--stop-timeout", "1", "--receipt", str(receipt)),
    )
    ended = program.stopped(returncode=SIGKILLED)
    # Where the machine is busy, the killed command may not be dead yet, and another reason is told.
    assert "stdout; what comes from now on is not shipped" in ended.stderr
    assert read_receipt(receipt)["cut_off"] is True
