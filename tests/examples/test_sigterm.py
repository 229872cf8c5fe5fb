"""Shows that a stop signal in the middle of load loses no record, under each real server.

The server runs an example as its users copy it. The test loads it, sends the signal as a
container's runtime does (to the first process alone), and continues to load it. Then it compares
the sidecar's output with the ledger of the program's processes, and with the server's answers.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import pytest

from tests.examples.frameworks import BY_OTHER_SIGNALS, FRAMEWORKS, Framework, environ
from tests.examples.load import Load, NoLoad, Queue, Visitors
from tests.process.conftest import Sidecar
from tests.support.programs import Program, Programs, let_pass
from tests.support.programs_judge import Verdict

SEED = 20261124
RUNS = 20
RUNS_OF_THE_NORMAL_SUITE = 1

LOADS: dict[str, Callable[[Program, int], Load]] = {
    "own": lambda program, port: NoLoad(),
    "http": lambda program, port: Visitors(port),
    "celery": lambda program, port: Queue(program.directory),
}


@pytest.mark.parametrize(
    ("framework", "number"),
    [
        pytest.param(
            framework,
            number,
            id=f"{framework.name}-{number:02d}",
            marks=()
            if number < RUNS_OF_THE_NORMAL_SUITE and not framework.proof_only
            else pytest.mark.proof,
        )
        for framework in (*FRAMEWORKS, *BY_OTHER_SIGNALS)
        for number in range(RUNS)
    ],
)
def test_a_stop_signal_in_the_middle_of_load_loses_nothing(
    programs: Programs,
    sidecar: Sidecar,
    port: int,
    framework: Framework,
    number: int,
) -> None:
    if framework.why_not_here:
        pytest.skip(framework.why_not_here)
    dice = random.Random(f"{SEED} {framework.name} {number}")
    # A program that a signal ends leaves the directory of its forkserver.
    temporary = {"TMPDIR": str(programs.directory)}
    program = programs.start_command(
        framework.words(port), environ={**environ(), **framework.environ, **temporary}
    )
    with LOADS[framework.load](program, port) as load:
        program.until_logged(dice.randrange(50, 150))
        program.until_true(
            lambda: processes_of(program) >= framework.processes, "every process has logged"
        )
        program.until_true(lambda: framework.hears_sigterm in program.stderr, "SIGTERM is heard")
        let_pass(dice.uniform(0, 0.1))
        program.process.send_signal(framework.stop_signal)
        ended = program.end()
    verdict = sidecar.output.verdict(ended)
    assert ended.returncode == framework.status, ended.stderr[-3000:]
    verdict.assert_all_delivered()
    killed = _KILLED.findall(ended.stderr) if framework.may_hang else ()
    verdict.assert_all_ended(killed)
    verdict.assert_no_duplicates()
    verdict.assert_a_stream_each()
    assert len(verdict.streams_by_process) >= framework.processes
    assert load.answered <= orders(verdict)
    assert bool(load.answered) == (framework.load == "http")


def processes_of(program: Program) -> int:
    """Return how many processes have logged so far."""
    return len({marker.split("-")[1] for marker in program.ledger})


def orders(verdict: Verdict) -> set[int]:
    messages = (str(line["record"].get("message", "")) for line in verdict.lines)
    return {int(found[1]) for found in map(_ORDER.search, messages) if found}


_KILLED = re.compile(r"Worker \(pid:(\d+)\) was sent SIGKILL")
_ORDER = re.compile(r" /orders/(\d+) placed$")
