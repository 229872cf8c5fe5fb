"""Shows what becomes of processes that outlive the command, and of what they have logged."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.run.conftest import SIGKILLED, Runs, read_receipt

LEAVES_ONE = """
    import os, sys
    from application import forever, log, progress, ready
    if os.fork() == 0:
        os.setsid()
        for descriptor in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        import logship
        logship.install(level="INFO", endpoints="tcp://127.0.0.1:1")
        memory = bytearray({mebibytes} * 1024 * 1024)
        memory[::4096] = bytes(len(memory[::4096])).replace(b"\\0", b"x")
        for _ in range(5):
            log("by one that stays")
        ready()
        forever()
"""


def test_one_that_takes_long_to_die_is_shipped_when_it_is_dead(both: Runs, receipt: Path) -> None:
    """The kernel frees its memory first, and its lock on the spool only then."""
    program = both.start(
        LEAVES_ONE.format(mebibytes=300),
        "forever()",
        options=("--orphan-wait", "0", "--receipt", str(receipt)),
    )
    program.until_ready()
    both.signal(program, signal.SIGTERM)
    ended = program.end()
    assert len(ended.ledger) == 5
    both.verdict(ended).assert_all_delivered()
    assert read_receipt(receipt)["complete"] is True


def test_where_a_client_is_left_alive_the_receipt_is_not_complete(
    runs: Runs, receipt: Path
) -> None:
    """It may die with records that nothing ships: `run` and its spool's recovery are over."""
    program = runs.start(
        LEAVES_ONE.format(mebibytes=1),
        "from application import wait_for; wait_for('end')",
        options=("--orphan-wait", "0", "--loss-exit", "75", "--receipt", str(receipt)),
    )
    program.until_ready()
    program.let_go("end")
    ended = program.end()
    assert ended.returncode == 75
    found = read_receipt(receipt)
    assert (found["complete"], found["cut_off"], found["recovery"]["complete"]) == (
        False,
        False,
        False,
    )
    assert "something is left on the spool" in ended.stderr


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root can give up CAP_KILL"
)
def test_a_command_that_cannot_be_killed_is_left_in_time(runs: Runs, receipt: Path) -> None:
    """As where a container has no capabilities, and the command becomes another user."""
    program = runs.start(
        """
        import os
        from application import forever
        os.setuid(65534)
        print("held", flush=True)
        forever()
        """,
        outside=("setpriv", "--bounding-set", "-kill", "--inh-caps", "-kill"),
        options=("--stop-timeout", "4", "--receipt", str(receipt)),
    )
    program.until_true(lambda: runs.messages == ["held"], "its output")
    runs.signal(program, signal.SIGTERM)
    ended = program.end(seconds_max=20)
    assert ended.returncode == SIGKILLED
    assert ended.stderr.count("Operation not permitted") == 1
    assert "the command still holds its stdout and stderr" in ended.stderr
    found = read_receipt(receipt)
    assert (found["acked"], found["cut_off"], found["complete"]) == (1, True, False)
