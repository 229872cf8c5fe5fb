"""What the lifecycle tests share: a sidecar, ways to start a program, and a port in any mood."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import Program, Programs, why_no_pid_namespace
from tests.support.programs_gate import Gate
from tests.support.programs_judge import Output
from tests.support.receiver_process import ReceiverProcess


@dataclass(frozen=True)
class Sidecar:
    """The sidecar that all tests of one worker process share.

    Attributes:
        port: Where it listens on loopback.
        output: What it wrote.
    """

    port: int
    output: Output

    @property
    def endpoint(self) -> str:
        """The sidecar as an endpoint of logship."""
        return f"tcp://127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Launch:
    """One of the two ways to start a program: plainly, or as PID 1."""

    programs: Programs
    as_pid_1: bool

    def start(self, *sources: str, **options: Any) -> Program:
        """Start the program whose text is `sources`, each dedented, one after the other."""
        return self.programs.start(*sources, as_pid_1=self.as_pid_1, **options)

    @property
    def status_of_sigterm(self) -> int:
        """The status of a program that died by SIGTERM, or that could not because it is PID 1."""
        return self.status_of(signal.SIGTERM)

    def status_of(self, signum: int) -> int:
        """Return the same for a signal whose default action ends a process."""
        return 128 + signum if self.as_pid_1 else -signum

    @property
    def statuses_of_sigint(self) -> tuple[int, ...]:
        """The same for an uncaught KeyboardInterrupt, which is Python's own affair."""
        return (128 + signal.SIGINT,) if self.as_pid_1 else (-signal.SIGINT, 128 + signal.SIGINT)


@pytest.fixture(scope="session")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    out = tmp_path_factory.mktemp("sidecar") / "out.jsonl"
    with ReceiverProcess.start(out) as receiver:
        yield Sidecar(receiver.port, Output(out))


@pytest.fixture(autouse=True)
def no_core_files() -> Iterator[None]:
    """SIGQUIT's default action writes a core file, which takes time."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, before)


@pytest.fixture
def programs(sidecar: Sidecar, tmp_path: Path) -> Iterator[Programs]:
    programs = Programs(tmp_path, sidecar.endpoint, sidecar.output)
    yield programs
    programs.kill_all()


@pytest.fixture(
    params=[
        pytest.param(False, id="plain"),
        # What is different for PID 1 is the kernel's doing, not the interpreter's.
        pytest.param(True, id="pid1", marks=pytest.mark.any_python),
    ]
)
def launch(programs: Programs, request: pytest.FixtureRequest) -> Launch:
    if request.param and (why := why_no_pid_namespace()):
        pytest.skip(why)
    return Launch(programs, as_pid_1=request.param)


@pytest.fixture
def gate(sidecar: Sidecar) -> Iterator[Gate]:
    """A port in front of the sidecar; refuses connections until told otherwise."""
    with Gate(sidecar.port) as gate:
        yield gate


@pytest.fixture
def black_hole(gate: Gate) -> Gate:
    """A port that takes connections and says nothing, until told otherwise."""
    gate.silence()
    return gate
