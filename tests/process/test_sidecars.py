"""Shows what a real sidecar's death does to an application: nothing that the judge can see."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.programs import Programs
from tests.support.programs_judge import Output
from tests.support.receiver_process import ReceiverProcess


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[ReceiverProcess]:
    """A sidecar of this test alone, which may kill it."""
    with ReceiverProcess.start(tmp_path / "out.jsonl") as receiver:
        yield receiver


LOGS_ON = """
    import time
    import logship
    logship.install(level="INFO", linger_seconds=0.05, backoff_seconds_base=0.05,
                    backoff_seconds_max=0.2)
    ready()
    while True:
        for _ in range(20):
            log("x" * 400)
        time.sleep(0.01)
"""


def test_a_sidecar_killed_and_restarted_twice_while_the_application_logs(
    programs: Programs, receiver: ReceiverProcess
) -> None:
    program = programs.start(LOGS_ON, endpoint=receiver.endpoint)
    program.until_ready()
    for records in (200, 1000):
        program.until_logged(records)
        receiver.kill()
        program.until_logged(records + 200)
        receiver.restart()
    program.until_logged(2000)
    program.signal(signal.SIGTERM)
    ended = program.end(returncode=-signal.SIGTERM)
    Output(receiver.out).verdict(ended).assert_all_delivered()


def test_a_sidecar_killed_before_sigterm_and_restarted_during_the_drain(
    programs: Programs, receiver: ReceiverProcess
) -> None:
    program = programs.start(LOGS_ON, endpoint=receiver.endpoint)
    program.until_ready()
    program.until_logged(200)
    receiver.kill()
    program.until_logged(400)
    program.signal(signal.SIGTERM)
    receiver.restart()
    ended = program.end(returncode=-signal.SIGTERM)
    Output(receiver.out).verdict(ended).assert_all_delivered()


def test_a_sidecar_that_stops_together_with_the_application(
    programs: Programs, receiver: ReceiverProcess
) -> None:
    """As where no `dependsOn` orders them: what it acked arrived, the rest is on stderr."""
    program = programs.start(
        LOGS_ON,
        endpoint=receiver.endpoint,
        environ={"LOGSHIP_STOP_TIMEOUT_SECONDS": "2"},
    )
    program.until_ready()
    program.until_logged(500)
    receiver.process.send_signal(signal.SIGTERM)
    program.signal(signal.SIGTERM)
    ended = program.end(returncode=-signal.SIGTERM)
    assert receiver.process.wait(20) == 0
    Output(receiver.out).verdict(ended).assert_nothing_lost()
