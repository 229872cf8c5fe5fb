"""What the tests of `logship run` share: a sidecar of their own, and commands under it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import LOGSHIP, ran
from tests.support.programs import (
    REPOSITORY,
    Program,
    Programs,
    as_pid_1_words,
    children_of,
    why_no_pid_namespace,
)
from tests.support.programs_gate import Gate
from tests.support.programs_judge import Output
from tests.support.receiver_process import ReceiverProcess


def broken(text: str) -> tuple[str, ...]:
    """Return the command `logship` after a text that breaks something in it."""
    return sys.executable, "-c", f"{text}\nfrom logship._cli import main; main()"


def states_below(program: Program) -> list[str]:
    """Return the states of the children of `run`: T is stopped, Z a zombie (proc(5))."""
    states = []
    for each in children_of(program.pid):
        with contextlib.suppress(OSError):  # reaped meanwhile
            states.append(Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[0])
    return states


@dataclass
class Runs:
    """Starts commands under `logship run`, and judges what arrived.

    Attributes:
        programs: What starts programs.
        receiver: The sidecar.
        as_pid_1: Whether `run` is PID 1 of a pid namespace.
        logship: The command.
    """

    programs: Programs
    receiver: ReceiverProcess
    as_pid_1: bool = False
    logship: tuple[str, ...] = LOGSHIP

    def start(
        self, *sources: str, options: Sequence[str] = (), outside: Sequence[str] = (), **more: Any
    ) -> Program:
        """Start a Python program under `run`, which gets its signals.

        Args:
            sources: Its text.
            options: Of `run`.
            outside: Words before everything, as of a shell that then becomes `run`.
            more: For `Programs.start`.
        """
        before = (*outside, *self.first_words, *self.logship, "run", *options, "--")
        environ = {"TMPDIR": str(self.programs.directory), **more.pop("environ", {})}
        program = self.programs.start(*sources, before=before, environ=environ, **more)
        program.is_outermost, program.is_pid_1 = True, self.as_pid_1
        return program

    def shell(self, script: str, *words: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
        """Run a shell script as `command` does; `words` are its arguments."""
        return self.command("sh", "-c", script, "sh", *words, **more)

    def command(
        self,
        *words: str,
        options: Sequence[str] = (),
        returncode: int | None = None,
        **environ: str,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run any command under `run` to its end, which must be so, if one is given."""
        ended = subprocess.run(
            [*self.first_words, *self.logship, "run", *options, "--", *words],
            env={
                **self.environ,
                "LOGSHIP_STOP_TIMEOUT_SECONDS": "40",
                "TMPDIR": str(self.programs.directory),
                **environ,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert returncode is None or ended.returncode == returncode, ended.stderr
        return ended

    def installed(
        self, source: str, *words: str, **more: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a Python program under `run --install`; `words` are of its interpreter."""
        command = (sys.executable, *words, "-c", textwrap.dedent(source))
        return self.command(*command, options=("--install", "--tag", "T"), **more)

    @property
    def environ(self) -> dict[str, str]:
        """What a command of logship needs to find its modules and the sidecar."""
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(REPOSITORY),
            "LOGSHIP_ENDPOINTS": self.receiver.endpoint,
        }

    @property
    def records(self) -> list[dict[str, Any]]:
        """What arrived, without logship's own records, in the order of arrival."""
        found = [line["record"] for line in self.receiver.records()]
        return [each for each in found if not {"logship_end", "logship_gap"} & each.keys()]

    @property
    def messages(self) -> list[str]:
        """Their texts."""
        return [each["message"] for each in self.records if "message" in each]

    def audit(self, expected: Path) -> tuple[int, dict[str, Any]]:
        """Return exit code and verdict of `logship audit` on what arrived.

        Args:
            expected: A file with drain reports: a receipt, or what `run` wrote to stderr.
        """
        words = ("audit", self.receiver.out, "--expect", expected, "--json")
        ended = ran(*LOGSHIP, *words, code=None)
        return ended.returncode, json.loads(ended.stdout)

    def assert_proved(self, expected: Path) -> None:
        """Fail unless `logship audit` finds every stream complete."""
        code, verdict = self.audit(expected)
        assert code == 0, verdict

    @property
    def first_words(self) -> tuple[str, ...]:
        """The words that, before a command, have it run as `run` does."""
        return as_pid_1_words() if self.as_pid_1 else ()


@pytest.fixture(scope="session")
def receiver_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReceiverProcess]:
    """The sidecar that all tests of one worker process share."""
    with ReceiverProcess.start(tmp_path_factory.mktemp("receiver") / "out.jsonl") as receiver:
        yield receiver


@pytest.fixture
def receiver(receiver_of_all: ReceiverProcess) -> ReceiverProcess:
    """The sidecar, which has received nothing yet."""
    receiver_of_all.begin_anew()
    return receiver_of_all


def end_what_is_left(directory: Path) -> None:
    """End the commands of a test; each is in a process group of its own, which outlives `run`."""
    mark = f"TEST_DIRECTORY={directory}/".encode()
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # not a process, not ours, or gone
            if any(each.startswith(mark) for each in environ_of(process)):
                os.kill(int(process.name), signal.SIGKILL)


def environ_of(process: Path) -> list[bytes]:
    """Return the environment of a process, by its directory in /proc."""
    return (process / "environ").read_bytes().split(b"\0") if process.name.isdigit() else []


@pytest.fixture
def runs(receiver: ReceiverProcess, tmp_path: Path) -> Iterator[Runs]:
    """`run` as a process like any other."""
    programs = Programs(tmp_path, receiver.endpoint, Output(receiver.out))
    yield Runs(programs, receiver)
    programs.kill_all()
    end_what_is_left(tmp_path)


@pytest.fixture(params=[False, True], ids=["plain", "pid1"])
def both(runs: Runs, request: pytest.FixtureRequest) -> Runs:
    """`run` as a process like any other, then as PID 1."""
    if request.param and (why := why_no_pid_namespace()):
        pytest.skip(why)
    runs.as_pid_1 = request.param
    return runs


@pytest.fixture
def as_pid_1(runs: Runs) -> Runs:
    """`run` as PID 1."""
    if why := why_no_pid_namespace():
        pytest.skip(why)
    runs.as_pid_1 = True
    return runs


@pytest.fixture
def gate(receiver: ReceiverProcess) -> Iterator[Gate]:
    """A port in front of the sidecar; refuses connections until told otherwise."""
    with Gate(receiver.port) as gate:
        yield gate


@pytest.fixture
def receipt(tmp_path: Path) -> Path:
    """Where a receipt goes."""
    return tmp_path / "receipt.json"


def read_receipt(path: Path) -> dict[str, Any]:
    """Return what a receipt says."""
    found = json.loads(path.read_text())
    assert isinstance(found, dict)
    return found


SIGKILLED = 128 + signal.SIGKILL
SIGTERMED = 128 + signal.SIGTERM
