"""Starts real applications for the lifecycle tests and collects what they left behind.

A test gives a few lines of Python; they run in a process of their own with real signals, a real
sidecar and an independent ledger. Nothing here knows how logship works: it knows files, exit
codes and signals. Every wait is for a condition, and is bounded: a program that hangs is ended
with a dump of its threads instead of stopping the suite.
"""

from __future__ import annotations

import ast
import contextlib
import itertools
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from signal import SIGTERM
from typing import TYPE_CHECKING, Any

from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.support.programs_judge import Output, Verdict

REPOSITORY = Path(__file__).parents[2]
PATHS = [str(REPOSITORY / "tests" / "process" / "programs"), str(REPOSITORY)]
"""Where programs find the module `application`, and logship."""

USES_APPLICATION = re.compile(
    r"\b(DIRECTORY|emit_marker|end_of|forever|log|new_marker|print_marker|progress|ready"
    r"|wait_for|write_down)\b"
)
"""What tells that a program needs that module."""

WAIT_SECONDS_MAX = 60.0
"""A hang, not a slow machine: nothing under test takes a tenth of it."""

_runs = itertools.count(1)


def let_pass(seconds: float) -> None:
    """Let time pass, to strike at a random moment; never to wait for something."""
    threading.Event().wait(seconds)


@cache
def why_no_pid_namespace() -> str:
    """Return why a program cannot be started as PID 1 of a pid namespace here, or nothing."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return "there is no unshare(1)"
    tried = subprocess.run([*as_pid_1_words(), "true"], capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"no pid namespace for us: {tried.stderr.strip()}"


def as_pid_1_words() -> tuple[str, ...]:
    """Return the words that, before a command, run it as PID 1."""
    return ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


def children_of(pid: int | None) -> list[int]:
    """Return the children of a process, zombies too."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@dataclass(frozen=True)
class Ended:
    """A program's life, seen from outside.

    Attributes:
        returncode: As `subprocess` gives it: negative for death by a signal.
        stdout: Its text.
        stderr: Its text.
        ledger: Markers whose logging call returned, in order.
        progress: Words of `application.progress`, in order.
        output: Where the sidecar wrote what it got.
    """

    returncode: int
    stdout: str
    stderr: str
    ledger: tuple[str, ...]
    progress: tuple[str, ...]
    output: Output | None = None

    @property
    def verdict(self) -> Verdict:
        """What became of its records; each look reads the output again."""
        assert self.output is not None, "its `Programs` was given none"
        return self.output.verdict(self)

    @property
    def spilled(self) -> list[dict[str, Any]]:
        """The records that were written to stderr, as the JSON lines say them."""
        return [line for line in json_lines(self.stderr) if line.get("logship") == "spilled"]

    @property
    def refused(self) -> list[dict[str, Any]]:
        """The records that the handler wrote to stderr because the client was closed."""
        return [line for line in json_lines(self.stderr) if line.get("logship") == "refused"]

    @property
    def reports(self) -> list[dict[str, Any]]:
        """The drain reports on stderr, of all processes."""
        return [line for line in json_lines(self.stderr) if line.get("logship") == "drain report"]

    @property
    def warnings(self) -> list[str]:
        """The lines that logship itself wrote for a person to read."""
        return [line for line in self.stderr.splitlines() if line.startswith("logship: ")]


def json_lines(text: str) -> Iterator[dict[str, Any]]:
    """Yield the objects among the lines of `text`; a torn one is an error, as it is a record lost.

    Not the last one: a process that is ended at its deadline may have a thread in the middle of a
    write, whose logging call has not returned. If it has, the record is missed all the same.

    Raises:
        ValueError: A line begins like one of logship's objects and is none.
    """
    *lines, _ = text.split("\n")  # splitlines() also cuts at characters that JSON may hold
    for line in lines:
        if line.startswith('{"logship"'):
            yield json.loads(line)


@dataclass
class Program:
    """A running application; `end` waits for it, `kill` is for what a failed test left over.

    Signals go to the process that said `ready()`, or to the outermost one.
    """

    process: subprocess.Popen[bytes]
    directory: Path
    run: str
    is_pid_1: bool = False
    is_outermost: bool = False
    output: Output | None = None

    @property
    def progress(self) -> tuple[str, ...]:
        return _lines(self.directory / "progress")

    @property
    def ledger(self) -> tuple[str, ...]:
        return _lines(self.directory / "ledger")

    @property
    def stderr(self) -> str:
        return (self.directory / "stderr").read_text(errors="replace")

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def until(self, word: str) -> None:
        self.until_true(lambda: word in self.progress, f"progress {word!r}")

    def until_ready(self) -> None:
        self.until_true(lambda: self._ready_pid is not None, "ready")

    def until_logged(self, records: int) -> None:
        self.until_true(lambda: len(self.ledger) >= records, f"{records} records in the ledger")

    def until_true(
        self, condition: Callable[[], bool], what: str, seconds_max: float = WAIT_SECONDS_MAX
    ) -> None:
        """Wait for `condition`, but no longer than the program lives."""
        wait_until(lambda: condition() or not self.is_alive, what, seconds_max)
        if not self.is_alive and not condition():
            raise AssertionError(
                f"the program ended ({self.process.returncode}) before: {what}\n{self.stderr}"
            )

    def let_go(self, word: str) -> None:
        """Let the program's `wait_for(word)` return."""
        (self.directory / f"go-{word}").touch()

    @property
    def _ready_pid(self) -> int | None:
        """The number that the process which said `ready()` has for itself."""
        said = [int(word.split()[1]) for word in self.progress if word.startswith("ready ")]
        return said[0] if said else None

    @property
    def pid(self) -> int | None:
        """The number by which the process that gets signals can be signalled from here."""
        if self.is_pid_1 and (self.is_outermost or self._ready_pid is not None):
            return children_of(self.process.pid)[0]  # of unshare
        return self.process.pid if self.is_outermost else self._ready_pid

    def signal(self, number: int) -> None:
        pid = self.pid
        assert pid is not None, "signal() before until_ready()"
        os.kill(pid, number)

    def stop(self, number: int = SIGTERM) -> None:
        self.until_ready()
        self.signal(number)

    def stopped(
        self, number: int = SIGTERM, *, logged: int = 0, returncode: int | None = None
    ) -> Ended:
        """Send it a signal once it is ready and has logged so much; return what it left."""
        self.until_ready()
        self.until_logged(logged)
        self.signal(number)
        return self.end(returncode=returncode)

    def finish(self, word: str, *, returncode: int = 0) -> Ended:
        """Let its `wait_for(word)` return, and return what it left; see `end`."""
        self.let_go(word)
        return self.end(returncode=returncode)

    def end(self, *, returncode: int | None = None, seconds_max: float = WAIT_SECONDS_MAX) -> Ended:
        """Wait for the program's end and return what it left.

        Args:
            returncode: What it must end with; None where it may be any.
            seconds_max: How long it may take.

        Raises:
            AssertionError: It hangs, and the error shows where, thread by thread; or it ended
                otherwise, and the error shows its stderr.
        """
        try:
            self.process.wait(seconds_max)
        except subprocess.TimeoutExpired:
            self._fail_as_hung(seconds_max)
        assert returncode in (None, self.process.returncode), (
            f"it ended with {self.process.returncode}, not {returncode}\n{self.stderr[-6000:]}"
        )
        return Ended(
            returncode=self.process.returncode,
            stdout=(self.directory / "stdout").read_text(),
            stderr=self.stderr,
            ledger=self.ledger,
            progress=self.progress,
            output=self.output,
        )

    def _fail_as_hung(self, seconds_max: float) -> None:
        with contextlib.suppress(OSError):
            os.kill(self.pid or self.process.pid, signal.SIGABRT)  # faulthandler's dump
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.kill()
        raise AssertionError(
            f"hangs after {seconds_max} s; progress {self.progress[-5:]}, stderr ends:\n"
            + self.stderr[-6000:]
        )

    def kill(self) -> None:
        """End the program and its children, where they still live."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@dataclass
class Programs:
    """Starts programs, each in a directory of its own, all against one sidecar by default.

    Attributes:
        directory: Where the programs' directories are made.
        endpoint: Where the programs ship to unless told otherwise.
        output: What the sidecar there writes, for the programs' verdicts.
        temporary: For what programs make in a temporary directory, and leave when they are killed;
            its path is short enough for the sockets of multiprocessing.
    """

    directory: Path
    endpoint: str
    output: Output | None = None
    started: list[Program] = field(default_factory=list)
    temporary: str = field(default_factory=lambda: tempfile.mkdtemp(prefix="programs-"))

    def start(
        self,
        *sources: str,
        endpoint: str | None = None,
        as_pid_1: bool = False,
        before: Sequence[str] = (),
        python: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        stderr: int | None = None,
        stdin: int | None = subprocess.DEVNULL,
    ) -> Program:
        """Start a Python program.

        Args:
            sources: Its parts, one after the other, each dedented. What they use of logship,
                of the standard library and of the module `application` is imported first, unless
                they import it where they want it.
            endpoint: Where it ships to.
            as_pid_1: Whether it is PID 1 of a pid namespace.
            before: Words before the command, such as those of a shell.
            python: Options of the interpreter.
            environ: More environment variables; `None` values are not possible, empty ones are.
            stderr: A descriptor for the program's stderr instead of a file.
            stdin: The same for its stdin.
        """
        directory = self._new_directory()
        text = "\n".join(textwrap.dedent(part) for part in sources)
        text = _imports(text) + text
        if USES_APPLICATION.search(text) and "application import" not in text:
            text = f"from application import *\n{text}"
        (directory / "program.py").write_text(text)
        first = as_pid_1_words() if as_pid_1 else ()
        command = [*before, *first, sys.executable, *python, str(directory / "program.py")]
        program = self._start(command, directory, endpoint, environ or {}, stdin, stderr)
        program.is_pid_1 = as_pid_1
        return program

    def start_command(
        self, command: Sequence[str], *, environ: Mapping[str, str] | None = None
    ) -> Program:
        """Start a command that is there already, as an example is, in a directory of its own."""
        return self._start(
            command, self._new_directory(), None, environ or {}, subprocess.DEVNULL, None
        )

    def _new_directory(self) -> Path:
        directory = self.directory / f"program-{next(_runs)}"
        directory.mkdir()
        return directory

    def _start(
        self,
        command: Sequence[str],
        directory: Path,
        endpoint: str | None,
        environ: Mapping[str, str],
        stdin: int | None,
        stderr: int | None,
    ) -> Program:
        run = secrets.token_hex(4)
        with (
            (directory / "stdout").open("ab") as stdout,
            (directory / "stderr").open("ab") as errors,
        ):
            process = subprocess.Popen(
                command,
                cwd=directory,
                env=self._environ(directory, run, endpoint or self.endpoint, environ),
                stdin=stdin,
                stdout=stdout,
                stderr=errors if stderr is None else stderr,
                start_new_session=True,
            )
        program = Program(process, directory, run, output=self.output)
        self.started.append(program)
        return program

    def _environ(
        self, directory: Path, run: str, endpoint: str, more: Mapping[str, str]
    ) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "TMPDIR": self.temporary,
            "PYTHONPATH": os.pathsep.join(PATHS),
            "PYTHONFAULTHANDLER": "1",
            "TEST_RUN": run,
            "TEST_DIRECTORY": str(directory),
            "LOGSHIP_ENDPOINTS": endpoint,
            # Generous, so that only a test about the deadline can run into it.
            "LOGSHIP_STOP_TIMEOUT_SECONDS": "40",
            **more,
        }

    def kill_all(self) -> None:
        """End what still runs, and remove what all of them left in their temporary directory."""
        for program in self.started:
            program.kill()
        shutil.rmtree(self.temporary, ignore_errors=True)


def _imports(text: str) -> str:
    """Return the imports of logship and of standard modules that a program uses and leaves out."""
    used, bound = set[str](), set[str]()
    for each in ast.walk(ast.parse(text)):
        match each:
            case ast.Name(name, ast.Load()):
                used.add(name)
            case ast.Name(name) | ast.arg(name) | ast.FunctionDef(name) | ast.alias(_, str(name)):
                bound.add(name)
            case ast.alias(name):
                bound.add(name.partition(".")[0])
    left_out = (used - bound) & {"logship", *sys.stdlib_module_names}
    return "".join(f"import {each}\n" for each in sorted(left_out))


def _lines(path: Path) -> tuple[str, ...]:
    """Return the lines that are whole: a program may be in the middle of the last one."""
    try:
        whole, _, _ = path.read_text().rpartition("\n")
    except FileNotFoundError:
        return ()
    return tuple(whole.splitlines())
