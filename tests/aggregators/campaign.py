"""A campaign: clients log, aggregators die and come back, and at the end everything is drained."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.aggregators.events import AGGREGATORS, PARTITIONS, Event, drawn
from tests.aggregators.variants import VARIANTS
from tests.soak import application
from tests.soak.judging import Count, audit, judge
from tests.support.programs import Programs, let_pass
from tests.support.programs_gate import Gate
from tests.support.servers import ServerProcess
from tests.support.waiting import wait_until

SIDECARS = 2
DRAIN_SECONDS_MAX = 300.0
"""Longer than the waits of all tiers behind each other, half a minute at most for each."""

ENVIRON = {"LOGSHIP_REPORT": "1", "LOGSHIP_STOP_TIMEOUT_SECONDS": "240"}


@dataclass(frozen=True)
class Plan:
    """What a campaign is to do.

    Attributes:
        variant: One of `VARIANTS`.
        seconds: How long there are faults.
        seed: Of all that happens.
        clients: Processes that log; every second one has a spool.
        rate: Records a second of each.
        pause_seconds: Between two kills, and between two partitions, on average.
        environ: Of the clients.
    """

    variant: str
    seconds: float
    seed: int = 1
    clients: int = 4
    rate: int = 200
    pause_seconds: float = 10.0
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """What a campaign came to.

    Attributes:
        plan: As given.
        count: Of the records of the ledgers.
        audit: The exit code of `logship audit` over both outputs, and what it says.
        events: How often each thing happened.
        left: Files in the buffers of the tiers, and on the clients' spools, at the end.
        statuses: How the clients ended.
        seconds: From the start to the end of the drain.
    """

    plan: Plan
    count: Count
    audit: tuple[int, str]
    events: Counter[str]
    left: list[str]
    statuses: list[int]
    seconds: float

    @property
    def partitions(self) -> int:
        """How many there were, of all kinds."""
        return sum(self.events[kind] for kind in PARTITIONS)

    @property
    def faults(self) -> list[str]:
        """What must not be; none is the promise."""
        faults = []
        if self.count.missing:
            faults.append(f"{len(self.count.missing)} records are lost: {self.count.missing[:5]}")
        if self.audit[0]:
            faults.append(f"audit ended with {self.audit[0]}: {self.audit[1]}")
        if self.left:
            faults.append(f"left behind: {self.left[:5]}")
        if any(code not in (-signal.SIGTERM, 128 + signal.SIGTERM) for code in self.statuses):
            faults.append(f"the clients ended with {self.statuses}")
        return faults


class Campaign:
    """One campaign, in a directory of its own."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        self._plan = plan
        self._directory = directory
        self._events: Counter[str] = Counter()
        self._stack = contextlib.ExitStack()
        self._black_holes: set[int] = set()
        self._aggregators: list[ServerProcess] = []
        self._sidecars: list[ServerProcess] = []
        self._gates: list[Gate] = []
        (directory / "ledgers").mkdir(parents=True)
        (directory / "programs").mkdir()

    def run(self) -> Result:
        """Run it to its end, and judge."""
        begun = time.monotonic()
        with self._stack:
            self._start_tiers()
            programs = Programs(self._directory / "programs", "")
            self._stack.callback(programs.kill_all)
            self._start_clients(programs)
            self._let_happen(drawn(self._plan.seed, self._plan.seconds, self._plan.pause_seconds))
            statuses = self._end(programs)
            left = self._left()
            seconds = time.monotonic() - begun
        return self._judged(statuses, left, seconds)

    # -- the tiers ---------------------------------------------------------------------------------

    def _start_tiers(self) -> None:
        variant = VARIANTS[self._plan.variant]
        for place in range(AGGREGATORS):
            server = self._start(variant.aggregator(self._directory / f"aggregator-{place}"))
            self._aggregators.append(server)
            gate = self._stack.enter_context(Gate(server.port.number))
            gate.open()
            self._gates.append(gate)
        if variant.sidecar is not None:
            for place in range(SIDECARS):
                ports = [gate.port for gate in self._in_order(place)]
                server = self._start(variant.sidecar(self._directory / f"sidecar-{place}", ports))
                self._sidecars.append(server)

    def _start(self, server: ServerProcess) -> ServerProcess:
        """Start a server, which ends with the campaign even if it does not listen in time."""
        self._stack.enter_context(server)
        server.start()
        return server

    def _in_order(self, place: int) -> list[Gate]:
        """Return the ways to the aggregators, in the order in which one client prefers them."""
        first = place % AGGREGATORS
        return self._gates[first:] + self._gates[:first]

    def _start_clients(self, programs: Programs) -> None:
        for place in range(self._plan.clients):
            environ = {**ENVIRON, **self._plan.environ, "LOGSHIP_ENDPOINTS": self._endpoints(place)}
            if place % 2:
                environ["LOGSHIP_SPOOL_DIR"] = str(self._directory / "spool")
            words = (f"client-{place}", str(self._plan.rate), str(self._directory / "ledgers"))
            programs.start_command([sys.executable, application.__file__, *words], environ=environ)

    def _endpoints(self, place: int) -> str:
        if self._sidecars:
            return self._sidecars[place % SIDECARS].endpoint
        return ",".join(gate.endpoint for gate in self._in_order(place))

    # -- what happens ------------------------------------------------------------------------------

    def _let_happen(self, events: Iterable[Event]) -> None:
        """Let each event happen at its time; one that is late does not move the others."""
        begun = time.monotonic()
        for event in events:
            let_pass(max(0.0, begun + event.seconds - time.monotonic()))
            self._events[event.what] += 1
            self._happen(event)

    def _happen(self, event: Event) -> None:
        gate, aggregator = self._gates[event.place], self._aggregators[event.place]
        match event.what:
            case "kill":
                aggregator.kill()
            case "start":
                aggregator.start()
            case "stall":
                gate.silence()
            case "black hole":
                self._black_holes.add(event.place)
                gate.silence()
            case "cut":
                gate.cut()
            case "refusal":
                gate.shut()
            case "heal":
                self._heal(event.place)

    def _heal(self, place: int) -> None:
        if place in self._black_holes:
            self._black_holes.discard(place)
            self._gates[place].cut()
        self._gates[place].open()

    # -- the end -----------------------------------------------------------------------------------

    def _end(self, programs: Programs) -> list[int]:
        """End tier after tier, each when it has nothing left; return the clients' exit codes."""
        for program in programs.started:
            program.process.terminate()
        statuses = [
            program.end(seconds_max=DRAIN_SECONDS_MAX).returncode for program in programs.started
        ]
        with contextlib.suppress(AssertionError):  # the result tells what is left
            wait_until(lambda: not self._left(), "every buffer is empty", DRAIN_SECONDS_MAX)
        for server in (*self._sidecars, *self._aggregators):
            server.terminate()
        return statuses

    def _left(self) -> list[str]:
        """Return the files that hold records on their way, or that a tier has given up."""
        buffers = [each.directory / "buffer" for each in (*self._sidecars, *self._aggregators)]
        files = [
            path
            for root in (*buffers, self._directory / "spool")
            for path in root.rglob("*")
            if path.suffix in (".log", ".flb") or path.parent == self._directory / "spool"
        ]
        return sorted(str(each.relative_to(self._directory)) for each in files)

    def _judged(self, statuses: list[int], left: list[str], seconds: float) -> Result:
        outputs = [path for each in self._aggregators for path in each.output_files("")]
        stderrs = sorted((self._directory / "programs").glob("*/stderr"))
        return Result(
            plan=self._plan,
            count=judge(sorted((self._directory / "ledgers").glob("*.ledger")), outputs, stderrs),
            audit=audit(outputs, stderrs),
            events=self._events,
            left=left,
            statuses=statuses,
            seconds=seconds,
        )
