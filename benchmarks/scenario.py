"""One run from start to verdict: a sidecar, an application, a fault, a SIGTERM, a judge."""

from __future__ import annotations

import random
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

from benchmarks.application import TAG
from benchmarks.errors import BenchmarkError
from benchmarks.judge import Verdict, judge, last_report
from benchmarks.ledger import read_ledger
from benchmarks.processes import clean_environ, start_program
from benchmarks.servers import SETTLE_SECONDS, open_sidecar
from benchmarks.sidecars import Sidecar
from benchmarks.spool import Recovery, recover

APP_NAMES = ("script", "asyncio", "threads", "batch")
SPOOLING = "logship-spool"
"""The shipper `logship` with a spool; when its application is gone, `logship recover` runs."""

OURS = ("logship", SPOOLING)
SHIPPER_NAMES = (*OURS, "fluent-logger", "fluent-logger-async")
SIGTERM_HABITS = ("default", "handler", "replaced")

FIRST_LINE_SECONDS_MAX = 30
POLL_SECONDS = 0.01
BATCH_SECONDS_MAX = 400
"""A batch ends by itself and is not killed; after this time a batch that hangs is."""

DOWN_SECONDS = 2.0
"""How long a restarted sidecar is away."""

RESTART_SECONDS_MIN = 5.0
"""The shortest run with `sidecar-restart`: the sidecar is up again a second before the stop."""

LINES_SHARE_MIN = 0.5
"""An application that logs less of `rate` times `seconds` was held up."""

APP_SIGKILL = "app-sigkill"
"""The fault of the application itself: SIGKILL at a random moment instead of SIGTERM."""


@dataclass(frozen=True)
class Scenario:
    """What is run. The defaults are the main job: 300 lines/s of 400 characters, then SIGTERM."""

    shipper: str = "logship"
    app: str = "script"
    rate: float = 300.0
    """Lines a second."""
    line_chars: int = 400
    seconds: float = 10.0
    stop_timeout: float = 10.0
    """Seconds from SIGTERM to SIGKILL."""
    tail: int = 0
    """Lines that the application logs after SIGTERM, as fast as it can."""
    lines: Path | None = None
    """A file whose lines are logged in the place of made-up ones."""
    fault: str = "none"
    on_sigterm: str | None = None
    """The application's own SIGTERM habit; None: `handler` for peers and for a tail, which an
    application can log only if it handles the signal; else `default`."""
    server: str = "embedded"
    outputs: tuple[str, ...] = ()
    """Glob patterns of a foreign server's output files."""
    server_command: str | None = None
    settle_seconds: float = SETTLE_SECONDS
    seed: int = 1
    """Of the moment of `app-sigkill`; of several runs each has the next one."""

    @property
    def intake_seconds(self) -> float:
        """How long after SIGTERM intake must be open.

        It may close three tenths of a second before logship's deadline, or half a second where no
        sidecar acks (decision 019). The deadline is a tenth of the stop timeout, at most a second,
        before the end of the stop timeout.
        """
        reserve_seconds = 0.3 if self.fault in SIDECAR_IS_UP else 0.5
        return self.stop_timeout - min(1.0, self.stop_timeout / 10) - reserve_seconds

    @property
    def kill_seconds(self) -> float:
        """When `app-sigkill` strikes, in seconds after the first line."""
        return random.Random(self.seed).uniform(0.0, self.seconds)

    @property
    def sigterm_habit(self) -> str:
        """What the application does at SIGTERM: nothing of its own, or a graceful exit."""
        is_default = self.shipper in OURS and not self.tail
        return self.on_sigterm or ("default" if is_default else "handler")

    @property
    def exit_code_expected(self) -> int:
        """The application's, as `Outcome.exit_code` says it."""
        if self.fault == APP_SIGKILL:
            return -signal.SIGKILL
        dies = self.app != "batch" and self.sigterm_habit == "default"
        return -signal.SIGTERM if dies else 0

    @property
    def name(self) -> str:
        """A name for this run's directory: shipper, fault, and what is not the default."""
        words = {
            "app": self.app,
            "on_sigterm": self.on_sigterm,
            "rate": f"{self.rate:g}",
            "stop_timeout": f"stop{self.stop_timeout:g}",
            "tail": f"tail{self.tail}",
            "server": self.server.replace(":", "-").replace("/", "-"),
        }
        unusual = [
            str(word)
            for name, word in words.items()
            if getattr(self, name) != getattr(Scenario, name)
        ]
        return "-".join([self.shipper, self.fault, *unusual])


@dataclass(frozen=True)
class Outcome:
    """What a run showed."""

    scenario: Scenario
    verdict: Verdict
    rate_attained: float
    """Lines a second of the main work."""
    logged: int
    """Lines of the main work."""
    stop_seconds: float
    """From SIGTERM (a batch: from its last line) to the application's end."""
    exit_code: int
    """As Python's `subprocess` says it: -15 is a death by SIGTERM, -9 one by SIGKILL."""
    killed: bool
    """The application still lived after the stop timeout and was killed with SIGKILL."""
    report: dict[str, Any] | None
    """logship's drain report."""
    recovery: Recovery | None
    """What became of the spool, where there is one."""
    directory: Path
    outputs: tuple[Path, ...]

    @property
    def kept_the_promise(self) -> bool:
        """Whether nothing is lost; of logship also whether the application was not held up.

        From a spool, all that was not logged too late must be delivered.
        """
        if self.verdict.lost:
            return False
        if self.scenario.shipper in OURS and not self.went_as_planned:
            return False
        return self.recovery is None or (self.recovery.complete and self.reached_the_sidecar)

    @property
    def went_as_planned(self) -> bool:
        """Whether the application logged what it should, and ended as it should.

        A tail may be longer than the stop timeout, if it was logged until the end.
        """
        scenario = self.scenario
        least = LINES_SHARE_MIN * scenario.rate * scenario.seconds
        if scenario.fault != APP_SIGKILL and self.logged < least:
            return False
        if self.killed and scenario.tail:
            return self.verdict.late > 0
        return self.exit_code == scenario.exit_code_expected

    @property
    def reached_the_sidecar(self) -> bool:
        """Whether all that was not logged too late is at the sidecar."""
        return self.verdict.delivered + self.verdict.late == self.verdict.written


@dataclass
class Watch:
    """The observer of a run: gets its progress, and may cancel it."""

    progress: Callable[[float, str], None] = lambda fraction, step: None
    called_off: threading.Event = field(default_factory=threading.Event)


def run(scenario: Scenario, directory: Path, watch: Watch | None = None) -> Outcome:
    """Run `scenario`, leaving ledger, outputs and stderr in `directory`, which is new and empty.

    Raises:
        BenchmarkError: The run itself failed, so that nothing was measured.
    """
    watch = watch or Watch()
    directory = directory.absolute()
    sidecar = open_sidecar(
        scenario.server,
        directory,
        scenario.outputs,
        scenario.server_command,
        scenario.settle_seconds,
    )
    application = Application(scenario, directory)
    try:
        watch.progress(0.0, "starting the sidecar")
        sidecar.start()
        application.start(sidecar.address)
        _play(scenario, application, sidecar, watch)
        recovery = _recovered(scenario, application, sidecar, watch)
        watch.progress(0.95, "reading what arrived")
        sidecar.settle(senders_are_gone=recovery is not None)
    finally:
        application.close()
        sidecar.close()
    outcome = _outcome(scenario, application, recovery, tuple(sidecar.outputs()))
    watch.progress(1.0, "done")
    return outcome


# --- the application's process -------------------------------------------------------------------


class Application:
    """The process of `benchmarks.application`, and the clock of its stop."""

    def __init__(self, scenario: Scenario, directory: Path) -> None:
        self._scenario = scenario
        self.directory = directory
        self.ledger = directory / "ledger.txt"
        self.stderr = directory / "app.stderr"
        self.spool = directory / "spool"
        self.environ: dict[str, str] = {}
        """Of the process, once started."""
        self._process: subprocess.Popen[str] | None = None
        self.stopped_ns = 0
        """When it was told to stop; a batch is not."""
        self.ended_ns = 0
        self.killed = False

    @property
    def process(self) -> subprocess.Popen[str]:
        """The process, once started."""
        assert self._process is not None
        return self._process

    def start(self, address: tuple[str, int]) -> None:
        """Start it and wait for its first line.

        Raises:
            BenchmarkError: It died, or logged nothing.
        """
        self.environ = self._environment(address)
        if self._scenario.shipper == SPOOLING:
            self.spool.mkdir()
        with (self.directory / "app.stdout").open("wb") as out, self.stderr.open("wb") as err:
            self._process = start_program(
                "benchmarks.application",
                *self._arguments(address),
                env=self.environ,
                stdout=out,
                stderr=err,
                start_new_session=True,  # a Ctrl-C is for the benchmark, not for it
            )
        deadline = time.monotonic() + FIRST_LINE_SECONDS_MAX
        while not (self.ledger.exists() and self.ledger.stat().st_size):
            if time.monotonic() > deadline or not self.alive():
                raise BenchmarkError(f"the application logged nothing: {self._last_words()}")
            time.sleep(POLL_SECONDS)

    def _arguments(self, address: tuple[str, int]) -> list[object]:
        scenario = self._scenario
        # Nothing but a batch ends by itself, unless the benchmark died and cannot stop it.
        ends = scenario.app == "batch" and scenario.fault != APP_SIGKILL
        seconds = scenario.seconds + (0 if ends else 60)
        return [
            *("--run", secrets.token_hex(4), "--app", scenario.app, "--shipper", scenario.shipper),
            *("--host", address[0], "--port", address[1], "--ledger", self.ledger),
            *("--rate", scenario.rate, "--line-chars", scenario.line_chars),
            *("--seconds", seconds, "--tail", scenario.tail),
            *("--on-sigterm", scenario.sigterm_habit),
            *(("--lines", scenario.lines.absolute()) if scenario.lines else ()),
        ]

    def _environment(self, address: tuple[str, int]) -> dict[str, str]:
        """Return the application's environment, as its container's definition would say it."""
        spool = {"LOGSHIP_SPOOL_DIR": str(self.spool)} if self._scenario.shipper == SPOOLING else {}
        return {
            **clean_environ(),
            **spool,
            "LOGSHIP_ENDPOINTS": f"tcp://{address[0]}:{address[1]}",
            "LOGSHIP_STOP_TIMEOUT_SECONDS": f"{self._scenario.stop_timeout:g}",
            "LOGSHIP_TAG": TAG,
            "LOGSHIP_REPORT": "1",
        }

    def alive(self) -> bool:
        """Return whether it runs; notes when it ended."""
        if self.process.poll() is None:
            return True
        self.ended_ns = self.ended_ns or time.monotonic_ns()
        return False

    def stop(self) -> None:
        """Send SIGTERM; to a batch, nothing: it ends by itself."""
        if self._scenario.app == "batch":
            return
        if not self.alive():
            raise BenchmarkError(f"the application ended before SIGTERM: {self._last_words()}")
        self.stopped_ns = time.monotonic_ns()
        self.process.terminate()

    def kill(self) -> None:
        """SIGKILL it, in the middle of whatever it does."""
        if not self.alive():
            raise BenchmarkError(f"the application ended before SIGKILL: {self._last_words()}")
        self.stopped_ns = time.monotonic_ns()
        self.process.kill()
        self.process.wait()

    def kill_when_overdue(self) -> None:
        """SIGKILL it when its stop timeout is over."""
        if self._scenario.app == "batch":
            overdue = time.time() - self.ledger.stat().st_mtime >= BATCH_SECONDS_MAX
        else:
            overdue = time.monotonic_ns() - self.stopped_ns >= self._scenario.stop_timeout * 1e9
        if overdue:
            self.killed = True
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """End it if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _last_words(self) -> str:
        code = self.process.poll()
        words = self.stderr.read_text(errors="replace")[-800:].strip()
        return f"exit code {code}, stderr: {words or '(empty)'}"


# --- the course of a run -------------------------------------------------------------------------

Event = tuple[float, Callable[[], None]]
"""Seconds after the first line, and what happens then."""


FAULTS: dict[str, Callable[[Sidecar, float], list[Event]]] = {
    "none": lambda sidecar, seconds: [],
    "sidecar-restart": lambda sidecar, seconds: [
        (0.4 * seconds, sidecar.kill),
        (0.4 * seconds + DOWN_SECONDS, sidecar.launch),
    ],
    "sidecar-slow": lambda sidecar, seconds: [(0.0, sidecar.throttle)],
    "sidecar-down": lambda sidecar, seconds: [(max(seconds - 1.0, seconds / 2), sidecar.kill)],
    "sidecar-stops-too": lambda sidecar, seconds: [(seconds, sidecar.terminate)],
}
"""What happens to the sidecar, if the application is stopped after so many seconds.

`sidecar-restart`: it is killed in mid-run, and is up again after `DOWN_SECONDS`. `sidecar-slow`: it
has a quarter of a CPU until the application is gone. `sidecar-down`: it is killed a second before
the stop, and stays down. `sidecar-stops-too`: it gets SIGTERM with the application, as in an ECS
task without `dependsOn`."""

FAULT_NAMES = (*FAULTS, APP_SIGKILL)

SIDECAR_IS_UP = ("none", "sidecar-restart", "sidecar-slow")
"""Faults after which there is a sidecar when the application ends."""


def _play(scenario: Scenario, application: Application, sidecar: Sidecar, watch: Watch) -> None:
    """Let the events happen at their moments, until the application is gone."""
    events = _events(scenario, application, sidecar)
    started = time.monotonic()
    while application.alive():
        elapsed = time.monotonic() - started
        while events and events[0][0] <= elapsed:
            events.pop(0)[1]()
        if elapsed >= scenario.seconds:
            application.kill_when_overdue()
        _tell(watch, scenario, elapsed)
        time.sleep(min(POLL_SECONDS, max(0.0, events[0][0] - elapsed) if events else POLL_SECONDS))
    if scenario.app != "batch" and not application.stopped_ns:
        application.stop()  # raises: it ended too early


def _events(scenario: Scenario, application: Application, sidecar: Sidecar) -> list[Event]:
    """Return what happens to both, in the order of the moments."""
    if scenario.fault == APP_SIGKILL:
        return [(scenario.kill_seconds, application.kill)]
    events = [
        (scenario.seconds, application.stop),
        *FAULTS[scenario.fault](sidecar, scenario.seconds),
    ]
    return sorted(events, key=itemgetter(0))


def _recovered(
    scenario: Scenario, application: Application, sidecar: Sidecar, watch: Watch
) -> Recovery | None:
    """Ship what the application left on its spool, where it has one, to a sidecar that lives."""
    if scenario.shipper != SPOOLING:
        return None
    watch.progress(0.92, "recovering")
    sidecar.revive()
    environ = {
        name: value for name, value in application.environ.items() if name != "LOGSHIP_SPOOL_DIR"
    }
    said = application.directory / "recover.stderr"
    return recover(application.spool, environ, said)


def _tell(watch: Watch, scenario: Scenario, elapsed: float) -> None:
    if watch.called_off.is_set():
        raise BenchmarkError("called off")
    if elapsed < scenario.seconds:
        watch.progress(0.9 * elapsed / scenario.seconds, "logging")
    else:
        watch.progress(0.9, f"stopping, {elapsed - scenario.seconds:.0f} s")


def _outcome(
    scenario: Scenario,
    application: Application,
    recovery: Recovery | None,
    outputs: tuple[Path, ...],
) -> Outcome:
    written = read_ledger(application.ledger)
    stopped_ns = application.stopped_ns or written.last_ns
    late_from_ns = None  # a batch ends when it has logged all
    if application.stopped_ns:
        late_from_ns = application.stopped_ns + int(scenario.intake_seconds * 1e9)
    return Outcome(
        scenario=scenario,
        verdict=judge(application.ledger, outputs, application.stderr, late_from_ns),
        rate_attained=written.rate_until(application.stopped_ns),
        logged=len(written.main_ns),
        stop_seconds=(application.ended_ns - stopped_ns) / 1e9,
        exit_code=application.process.returncode,
        killed=application.killed,
        report=last_report(application.stderr),
        recovery=recovery,
        directory=application.directory,
        outputs=outputs,
    )
