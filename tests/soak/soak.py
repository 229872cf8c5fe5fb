"""A soak: long-lived processes of every kind, victims beside them, and a network that is unwell."""

from __future__ import annotations

import gzip
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.chaos.proxy import ChaosProxy, any_fault
from tests.soak import application
from tests.soak.judging import Count, audit, judge
from tests.soak.measuring import Samples, Series, figures_of_directories, figures_of_process
from tests.support.programs import Program, Programs, let_pass
from tests.support.receiver_process import ReceiverProcess
from tests.support.waiting import wait_until

BYTES_BETWEEN_FAULTS = 400_000
END_SECONDS_MAX = 120.0
ENVIRON = {
    "LOGSHIP_REPORT": "1",
    "LOGSHIP_LINGER_SECONDS": "0.05",
    "LOGSHIP_CHUNK_BYTES_MAX": "16384",
    "LOGSHIP_BUFFER_BYTES_MAX": str(16 << 20),
    "LOGSHIP_SPOOL_BYTES_MAX": str(16 << 20),
    "LOGSHIP_ACK_TIMEOUT_SECONDS": "2",
    "LOGSHIP_CONNECT_TIMEOUT_SECONDS": "2",
    "LOGSHIP_BACKOFF_SECONDS_BASE": "0.02",
    "LOGSHIP_BACKOFF_SECONDS_MAX": "0.2",
    "LOGSHIP_STOP_TIMEOUT_SECONDS": "60",
}


@dataclass(frozen=True)
class Plan:
    """What a soak is to do.

    Attributes:
        seconds: How long.
        rate: Records a second of each long-lived application.
        seed: Of what the network does.
        every_seconds: Between two samples, two rotations, and two victims.
    """

    seconds: float
    rate: int = 200
    seed: int = 1
    every_seconds: tuple[float, float, float] = (1.0, 10.0, 5.0)


@dataclass(frozen=True)
class Result:
    """What a soak came to.

    Attributes:
        count: Of the records.
        audit: What `logship audit` says, and its exit code.
        series: What each process held.
        left: Files on the spool at the end.
        events: How often each thing happened.
        statuses: How the long-lived processes ended.
    """

    count: Count
    audit: tuple[int, str]
    series: list[Series]
    left: list[str]
    events: Counter[str]
    statuses: dict[str, int]

    @property
    def faults(self) -> list[str]:
        """What must not be; none is the promise."""
        faults = [f"{name} ended with {code}" for name, code in self.statuses.items() if code]
        if self.count.missing:
            faults.append(f"{len(self.count.missing)} records are lost: {self.count.missing[:5]}")
        if self.audit[0]:
            faults.append(f"audit ended with {self.audit[0]}: {self.audit[1]}")
        if self.left:
            faults.append(f"left on the spool: {self.left[:5]}")
        return faults + [f"grows: {each}" for each in self.series if not each.is_flat]


@dataclass
class Soak:
    """One soak, in a directory of its own."""

    plan: Plan
    directory: Path
    samples: Samples = field(default_factory=Samples)
    _events: Counter[str] = field(default_factory=Counter)
    _outputs: list[Path] = field(default_factory=list)
    _living: dict[str, Program] = field(default_factory=dict)
    _victim: Program | None = None

    def __post_init__(self) -> None:
        for each in (self.ledgers, self.spool, self.temporary, self.programs_directory):
            each.mkdir(parents=True)

    @property
    def ledgers(self) -> Path:
        return self.directory / "ledgers"

    @property
    def spool(self) -> Path:
        """The spool of the application, of its victims and of the recoverer."""
        return self.directory / "spool"

    @property
    def temporary(self) -> Path:
        """The directory for temporary files, where `run` has its own."""
        return self.directory / "tmp"

    @property
    def programs_directory(self) -> Path:
        """Where each program has what it wrote to stdout and stderr."""
        return self.directory / "programs"

    def run(self) -> Result:
        out = self.directory / "out.jsonl"
        command = self._watched("receive", "logship", "receive")
        with (
            ReceiverProcess.start(out, command=command) as receiver,
            ChaosProxy(
                receiver.port,
                seed=self.plan.seed,
                planner=partial(any_fault, bytes_between=BYTES_BETWEEN_FAULTS),
            ) as proxy,
        ):
            programs = Programs(self.programs_directory, proxy.endpoint)
            try:
                self._start(programs)
                self._live(programs, receiver)
                proxy.heal()
                statuses = self._end(programs)
                statuses["receive"] = receiver.terminate()
            finally:
                programs.kill_all()
            self._events += Counter({f"network {k.name}": n for k, n in proxy.fired.items()})
        self._outputs.append(out)
        return self._judged(statuses)

    def _start(self, programs: Programs) -> None:
        on_spool = {"LOGSHIP_SPOOL_DIR": str(self.spool)}
        recover = self._watched(
            "recover", "logship", "recover", "--spool", str(self.spool), "--watch"
        )
        run = self._watched("run", "logship", "run", "--")
        self._living = {
            "memory": self._start_application(programs, "memory", "signals", "forks", "jumps"),
            "spool": self._start_application(
                programs, "spool", "signals", "forks", "jumps", environ=on_spool
            ),
            "recover": self._start_command(programs, recover),
            "run": self._start_command(
                programs, [*run, *self._application("in-run", self.plan.rate, "prints", "forks")]
            ),
        }

    def _start_application(
        self, programs: Programs, name: str, *flags: str, environ: dict[str, str] | None = None
    ) -> Program:
        words = self._application(name, self.plan.rate, *flags)
        return self._start_command(programs, words, environ or {})

    def _start_command(
        self, programs: Programs, words: Sequence[str], environ: dict[str, str] | None = None
    ) -> Program:
        more = {**ENVIRON, "TMPDIR": str(self.temporary), **(environ or {})}
        return programs.start_command(words, environ=more)

    def _application(self, name: str, rate: int, *flags: str) -> list[str]:
        words = [application.__file__, name, str(rate), str(self.ledgers), *flags]
        return self._watched(name, *words)

    def _watched(self, name: str, *target: str) -> list[str]:
        return [sys.executable, "-m", "tests.soak.watched", str(self._watch_of(name)), *target]

    def _watch_of(self, name: str) -> Path:
        return self.directory / f"{name}.watched"

    # -- while it lives ----------------------------------------------------------------------------

    def _live(self, programs: Programs, receiver: ReceiverProcess) -> None:
        """Let everything happen at its intervals until the time is over."""
        tasks: tuple[Callable[[], None], ...] = (
            partial(self._sample, receiver),
            partial(self._rotate, receiver),
            partial(self._kill_and_start, programs),
        )
        self._begun = time.monotonic()
        due = [self._begun + each for each in self.plan.every_seconds]
        while (now := time.monotonic()) < self._begun + self.plan.seconds:
            for place, task in enumerate(tasks):
                if due[place] <= now:
                    due[place] = now + self.plan.every_seconds[place]
                    task()
            for name, program in self._living.items():
                assert program.is_alive, f"{name} has ended: {program.stderr[-4000:]}"
            let_pass(max(0.0, min(due) - time.monotonic()))

    def _sample(self, receiver: ReceiverProcess) -> None:
        seconds = time.monotonic() - self._begun
        pids = {name: program.process.pid for name, program in self._living.items()}
        for name, pid in {**pids, "receive": receiver.process.pid}.items():
            self.samples.add(seconds, name, figures_of_process(pid, self._watch_of(name)))
        roots = (self.spool, self.temporary)
        self.samples.add(seconds, "all directories", figures_of_directories(roots))

    def _rotate(self, receiver: ReceiverProcess) -> None:
        """Rename the receiver's output, have it open a new one, and compress the old one."""
        self._events["rotations"] += 1
        old = receiver.out.with_name(f"out-{self._events['rotations']}.jsonl")
        receiver.out.rename(old)
        receiver.process.send_signal(signal.SIGHUP)
        wait_until(receiver.out.exists, "the receiver opens its output anew")
        packed = old.with_suffix(".gz")
        with old.open("rb") as source, gzip.open(packed, "wb", 1) as file:
            shutil.copyfileobj(source, file)
        old.unlink()
        self._outputs.append(packed)

    def _kill_and_start(self, programs: Programs) -> None:
        """Kill the application that shares the spool, and start the next one."""
        if self._victim is not None:
            self._victim.kill()
        self._events["victims"] += 1
        self._victim = self._start_application(
            programs,
            f"victim{self._events['victims']}",
            environ={"LOGSHIP_SPOOL_DIR": str(self.spool)},
        )

    # -- the end -----------------------------------------------------------------------------------

    def _end(self, programs: Programs) -> dict[str, int]:
        """End the applications, then what ships for the dead; return their exit codes."""
        if self._victim is not None:
            self._victim.kill()
        statuses = {}
        for name in ("memory", "spool", "run", "recover"):
            program = self._living[name]
            program.process.terminate()
            code = program.end(seconds_max=END_SECONDS_MAX).returncode
            statuses[name] = 0 if code in (-signal.SIGTERM, 128 + signal.SIGTERM) else code
        return statuses

    def _judged(self, statuses: dict[str, int]) -> Result:
        stderrs = sorted(self.programs_directory.glob("*/stderr"))
        for path in self.ledgers.glob("*.events"):
            self._events.update(path.read_text().split())
        return Result(
            count=judge(sorted(self.ledgers.glob("*.ledger")), self._outputs, stderrs),
            audit=audit(self._outputs, stderrs),
            series=self.samples.series,
            left=[str(each.relative_to(self.spool)) for each in self.spool.rglob("*")],
            events=self._events,
            statuses=statuses,
        )
