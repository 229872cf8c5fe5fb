"""One run in containers from start to verdict: a task comes up, logs, is stopped, and is judged."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from benchmarks.compose.task import Task
from benchmarks.errors import BenchmarkError
from benchmarks.judge import Verdict, judge, last_report
from benchmarks.ledger import read_ledger
from benchmarks.sidecars import free_port, wait_until_quiet

SIDECAR, RECOVERER = "sidecar", "recoverer"

SLOW_CPUS = 0.25
DOWN_SECONDS = 2.0
"""How long a restarted sidecar is away."""

QUIET_SECONDS = 3.0
"""A sidecar that wrote nothing for so long has written all: three of its flush intervals."""
SETTLE_SECONDS_MAX = 180
STOP_SECONDS_MAX = 120
POLL_SECONDS = 0.5

SIGKILLED = 137


@dataclass(frozen=True)
class Way:
    """How records get from the application to the sidecar.

    Attributes:
        service: Of `docker-compose.yml`.
        arguments: More words for `benchmarks.compose.application`.
        before: Words before its command line.
        environ: More environment.
        is_ours: Whether a loss is logship's fault.
        has_recoverer: Whether what it leaves on a spool is delivered by the recoverer.
        over_log_driver: Whether Docker's log driver carries them.
    """

    service: str
    arguments: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    environ: Mapping[str, str] | None = None
    is_ours: bool = False
    has_recoverer: bool = False
    over_log_driver: bool = False


_MEMORY = {"LOGSHIP_SPOOL_DIR": ""}
_HANDLES = ("--on-sigterm", "handler")
"""With the default disposition the signal ends the application before its tail."""
_PRINTS = ("--shipper", "stdout", *_HANDLES)

WAYS: dict[str, Way] = {
    "logship": Way("application", _HANDLES, environ=_MEMORY, is_ours=True),
    "logship-spool": Way("application", _HANDLES, is_ours=True, has_recoverer=True),
    "logship-run": Way(
        "application", _PRINTS, ("logship", "run", "--"), environ=_MEMORY, is_ours=True
    ),
    "firelens": Way("firelens", _PRINTS, over_log_driver=True),
    "firelens-sleep": Way("firelens-sleep", _PRINTS, over_log_driver=True),
    "fluent-logger": Way("application", ("--shipper", "fluent-logger", *_HANDLES), environ=_MEMORY),
}


@dataclass(frozen=True)
class Course:
    """What is run.

    Attributes:
        way: A name out of `WAYS`.
        fault: A name out of `FAULTS`.
        stop_timeout: Seconds from SIGTERM to SIGKILL.
        rate: Lines a second.
        line_chars: Characters of a line.
        seconds: How long it logs before it is stopped.
        tail: Lines that it logs after SIGTERM, as fast as it can.
    """

    way: str
    fault: str = "none"
    stop_timeout: float = 30.0
    rate: float = 300.0
    line_chars: int = 400
    seconds: float = 10.0
    tail: int = 0


@dataclass(frozen=True)
class Result:
    """What a run showed.

    Attributes:
        verdict: Where the lines are, by the independent ledger.
        rate_attained: Lines a second of the main work, from its first line to its last.
        stop_seconds: From `docker compose stop` to its return.
        exit_code: The application's.
        report: logship's drain report, where there is one.
        directory: Ledger, outputs and logs.
        recovery: None: what a recoverer does is in the verdict.
    """

    verdict: Verdict
    rate_attained: float
    stop_seconds: float
    exit_code: int
    report: dict[str, Any] | None
    directory: Path
    recovery: None = None

    @property
    def killed(self) -> bool:
        """Whether the stop timeout was over before the application had ended."""
        return self.exit_code == SIGKILLED


def run(course: Course, directory: Path) -> Result:
    """Run `course`, leaving ledger, outputs and logs in `directory`, which is new and empty.

    Raises:
        BenchmarkError: The run itself failed, so that nothing was measured.
    """
    way = WAYS[course.way]
    name = f"logship-benchmark-{secrets.token_hex(4)}"
    services = {way.service: _service(course, way)}
    port = free_port() if way.over_log_driver else 0
    with Task(name, services, directory, port=port) as task:
        task.up(way.service)
        stop_seconds = _play(course, task, way)
        exit_code = task.exit_code(way.service)
        _settle(task, way)
        return _judged(course, way, task, directory, stop_seconds, exit_code)


def _service(course: Course, way: Way) -> dict[str, Any]:
    """Return what this run's application has otherwise than `docker-compose.yml` says."""
    command = [
        *way.before,
        *("python", "-m", "benchmarks.compose.application"),
        *("--rate", f"{course.rate:g}", "--line-chars", str(course.line_chars)),
        *("--tail", str(course.tail), *way.arguments),
    ]
    environ = {"LOGSHIP_STOP_TIMEOUT_SECONDS": f"{course.stop_timeout:g}", **(way.environ or {})}
    return {"command": command, "environment": environ, "scale": 1}


# --- the faults ----------------------------------------------------------------------------------

Event = tuple[float, Callable[[], None]]
"""Seconds after the application's start, and what happens then."""


FAULTS: dict[str, Callable[[Task, float], list[Event]]] = {
    "none": lambda task, seconds: [],
    "sidecar-slow": lambda task, seconds: [(0.0, lambda: task.throttle(SIDECAR, SLOW_CPUS))],
    "sidecar-restart": lambda task, seconds: [
        (0.4 * seconds, lambda: task.kill(SIDECAR)),
        (0.4 * seconds + DOWN_SECONDS, lambda: task.start(SIDECAR)),
    ],
    "sidecar-killed": lambda task, seconds: [
        (max(seconds - 1.0, seconds / 2), lambda: task.kill(SIDECAR))
    ],
    "sidecar-stops-too": lambda task, seconds: [
        (seconds, lambda: task.stop_meanwhile(SIDECAR, STOP_SECONDS_MAX))
    ],
}
"""What happens to the sidecar, if the application is stopped after so many seconds.

`sidecar-slow`: it has a quarter of a CPU until the application is gone. `sidecar-restart`: it is
killed in mid-run, and is up again after `DOWN_SECONDS`. `sidecar-killed`: it is killed a second
before the stop, and is back only when the application is gone. `sidecar-stops-too`: it gets SIGTERM
with the application, as in a task without `dependsOn`."""


def _play(course: Course, task: Task, way: Way) -> float:
    """Let it log, let the fault happen, stop it; return how long the stop took."""
    started = time.monotonic()
    for moment, happens in sorted(FAULTS[course.fault](task, course.seconds), key=itemgetter(0)):
        time.sleep(max(0.0, started + moment - time.monotonic()))
        happens()
    time.sleep(max(0.0, started + course.seconds - time.monotonic()))
    if not task.is_running(way.service):
        raise BenchmarkError(
            f"the application ended before it was stopped, with exit code "
            f"{task.exit_code(way.service)}:\n{task.last_words(way.service)}"
        )
    stopped = time.monotonic()
    task.stop(way.service, course.stop_timeout)
    return time.monotonic() - stopped


# --- afterwards ----------------------------------------------------------------------------------


def _settle(task: Task, way: Way) -> None:
    """Let the sidecar have all that it acknowledged, or that still comes, and write it."""
    task.wait_for_stops()
    if not task.is_running(SIDECAR):
        task.start(SIDECAR)
    task.throttle(SIDECAR, None)
    if way.has_recoverer:
        _wait_until_recovered(task)
        task.stop(RECOVERER, STOP_SECONDS_MAX)
    wait_until_quiet(task.output_state, QUIET_SECONDS, SETTLE_SECONDS_MAX, POLL_SECONDS)
    task.stop(SIDECAR, STOP_SECONDS_MAX)


def _wait_until_recovered(task: Task) -> None:
    """Give the recoverer time: a large spool may take longer than its stop timeout."""
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while task.spool_state() and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _judged(
    course: Course, way: Way, task: Task, directory: Path, stop_seconds: float, exit_code: int
) -> Result:
    ledger, logs = directory / "ledger.txt", directory / "logs"
    task.copy(way.service, "/ledger/ledger.txt", ledger)
    task.copy(SIDECAR, "/fluentd/log", logs)
    task.save_logs(SIDECAR, directory)
    if way.has_recoverer:
        task.save_logs(RECOVERER, directory)
    stderr = task.save_logs(way.service, directory)
    written = read_ledger(ledger)
    if not written.times_ns:
        raise BenchmarkError(f"the application logged nothing: {stderr.read_text()[-800:]}")
    return Result(
        verdict=judge(ledger, sorted(logs.glob("*.log")), stderr),
        rate_attained=written.rate_until(),
        stop_seconds=stop_seconds,
        exit_code=exit_code,
        report=last_report(stderr),
        directory=directory,
    )
