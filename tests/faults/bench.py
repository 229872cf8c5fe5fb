"""Plays a case with real processes, and judges what became of each record.

The judge is the one of the lifecycle tests: what the ledger names must have arrived, be on stderr,
or be excused by a number that a drain report or a gap record names. It is stricter in one thing:
what a report calls spooled or spilled is no excuse, for the spool is shipped and stderr is read.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.faults.cases import Case
from tests.spool.programs import NOWHERE
from tests.support.commands import LOGSHIP
from tests.support.programs import Ended, Program, Programs, json_lines
from tests.support.programs_judge import Numbers, Output, Verdict, numbers_of, stamp_of
from tests.support.receiver_process import ReceiverProcess

_EXIT_CODES = (0, 126)
"""Of `run`: the command's own, or that of one that could not be started."""

_RECORDS = ('{"logship":"spilled"', '{"logship":"refused"')

ENVIRON = {
    "LOGSHIP_REPORT": "1",
    "LOGSHIP_LINGER_SECONDS": "0.01",
    "LOGSHIP_CHUNK_BYTES_MAX": "4096",
    "LOGSHIP_ACK_TIMEOUT_SECONDS": "1",
    "LOGSHIP_CONNECT_TIMEOUT_SECONDS": "1",
    "LOGSHIP_BACKOFF_SECONDS_BASE": "0.01",
    "LOGSHIP_BACKOFF_SECONDS_MAX": "0.05",
    "LOGSHIP_EXIT_STALL_SECONDS": "2",
    "LOGSHIP_EXIT_DRAIN_SECONDS_MAX": "10",
    "LOGSHIP_SPOOL_FSYNC": "interval",
}

_NOTHING: Mapping[str, str] = MappingProxyType({})
AWAY = {"LOGSHIP_ENDPOINTS": NOWHERE, "LOGSHIP_EXIT_DRAIN_SECONDS_MAX": "0.5"}
"""For programs without a sidecar."""

PROGRAM = """
    import os, sys, time
    import logship
    from application import log, new_marker, progress, write_down
    RECORDS, EACH = 150, 50

    def log_some(records):
        for number in range(records):
            log("x" * 200)
            if number % 25 == 24:
                time.sleep(0.02)  # chunks are sealed, sent and acked meanwhile

    client = logship.install(level="INFO")
    log_some(EACH)
"""

FORKS = """
    try:
        child = os.fork()
    except OSError:
        child = None  # the fault
    log_some(EACH)
    if child == 0:
        sys.exit()
    if child is not None:
        os.waitpid(child, 0)
    log_some(EACH)
"""

IS_KILLED = """
    import signal
    log_some(2 * EACH)
    progress(f"unspooled {client.shipper.buffer.unspooled}")
    os.kill(os.getpid(), signal.SIGKILL)
"""

PRINTS = """
    for number in range(EACH):
        marker = new_marker()
        print(marker, "x" * 200, flush=True)
        write_down(marker)
    log_some(EACH)
"""


@dataclass(frozen=True)
class Outcome:
    """What a case came to.

    Attributes:
        case: The case.
        kind: `delivered` when all that was accepted arrived, `told` when the rest is on stderr or
            named by number, `refused` when the program said an error and accepted nothing, `passed
            by` when the call was not made so often; anything else is a fault: `lost`, `hang`,
            `untrue`.
        where: The module and line of logship that made the call.
        said: What is needed to find a fault.
        records: How many were accepted.
    """

    case: Case
    kind: str
    where: str = ""
    said: str = ""
    records: int = 0

    @property
    def is_fault(self) -> bool:
        return self.kind in ("lost", "hang", "untrue")


class Judged(Verdict):
    """A verdict that excuses a record only if the report names it as one that will never arrive."""

    @cached_property
    def named(self) -> dict[str, Numbers]:
        """The numbers of each stream that a report or a gap record says are gone."""
        numbers: dict[str, Numbers] = defaultdict(set)
        for report in self.ended.reports:
            for stream in report["streams"]:
                for kind in ("dropped", "unacked"):
                    numbers[stream["stream"]] |= numbers_of(stream[kind])
        for line in self.lines:
            if gap := line["record"].get("logship_gap"):
                stream_name, _ = stamp_of(line["record"])
                numbers[stream_name] |= numbers_of([gap])
        return numbers

    @property
    def is_all_delivered(self) -> bool:
        return all(marker in self.delivered for marker in self.ended.ledger)


class UntrueError(AssertionError):
    """A program said something that is not so."""


@dataclass
class Bench:
    """A sidecar, and a directory for the programs of one case after the other.

    Attributes:
        directory: Of everything.
        receiver: The sidecar.
    """

    directory: Path
    receiver: ReceiverProcess

    @property
    def spool(self) -> Path:
        return self.directory / "case" / "spool"

    def count_calls(self, component: str) -> Counter[str]:
        """Return how often a component makes each call where nothing fails."""
        case = Case(component, "count", "", "")
        outcome = self.play(case, "count")
        assert not outcome.is_fault, outcome.said
        return Counter(each.split()[0] for each in outcome.where.splitlines())

    def play(self, case: Case, fault: str | None = None) -> Outcome:
        directory = self.directory / "case"
        shutil.rmtree(directory, ignore_errors=True)
        self.spool.mkdir(parents=True)
        self.receiver.out.write_bytes(b"")
        programs = Programs(directory, self.receiver.endpoint)
        notes = directory / "notes"
        words = ["-m", "tests.faults.injection", fault or case.fault, str(notes)]
        try:
            played = PLAYS[case.component](_Play(self, programs, words))
        except UntrueError as error:
            return Outcome(case, "untrue", said=str(error))
        except AssertionError as error:
            return Outcome(case, "hang", said=str(error))
        finally:
            programs.kill_all()
        where = notes.read_text().strip() if notes.exists() else ""
        return _outcome(case, played, where)


@dataclass(frozen=True)
class Played:
    """What a case left behind.

    Attributes:
        verdict: On what was accepted.
        lost: Markers that are not accounted for.
    """

    verdict: Judged
    lost: Sequence[object]


def _outcome(case: Case, played: Played, where: str) -> Outcome:
    verdict = played.verdict
    ended = verdict.ended
    if played.lost:
        kind = "lost"
    elif not where:
        kind = "passed by"
    elif case.component == "run" and ended.ledger and ended.returncode not in _EXIT_CODES:
        kind = "untrue"
    elif not ended.ledger:
        kind = "refused" if ended.returncode else "lost"
    else:
        kind = "delivered" if verdict.is_all_delivered else "told"
    said = f"exit {ended.returncode}, ledger {len(ended.ledger)}, delivered "
    said += f"{len(verdict.delivered)}, not accounted for {list(played.lost)[:5]}\n"
    other = [each for each in ended.stderr.splitlines() if not each.startswith(_RECORDS)]
    return Outcome(case, kind, where, said + "\n".join(other)[-4000:], len(ended.ledger))


@dataclass(frozen=True)
class _Play:
    """One case on its way: starts programs with the fault, or without."""

    bench: Bench
    programs: Programs
    words: Sequence[str]

    def start(
        self,
        *sources: str,
        with_fault: bool = True,
        before: Sequence[str] = (),
        environ: Mapping[str, str] = _NOTHING,
    ) -> Program:
        return self.programs.start(
            *sources,
            before=before,
            python=self.words if with_fault else (),
            environ={**ENVIRON, "TMPDIR": str(self.programs.directory), **environ},
        )

    def recover(self, *, with_fault: bool) -> tuple[Ended, Mapping[str, Any]]:
        """Ship what is on the spool; return how the recoverer ended, and its report."""
        words = [sys.executable, *self.words, "logship"] if with_fault else LOGSHIP
        command = [*words, "recover", "--spool", str(self.bench.spool)]
        ended = self.programs.start_command(command, environ=ENVIRON).end()
        reports = [each for each in json_lines(ended.stdout) if "complete" in each]
        return ended, reports[-1] if reports else {}

    def judged(self, ended: Ended, out: Path | None = None) -> Judged:
        verdict = Output(out or self.bench.receiver.out).verdict(ended)
        return Judged(verdict.ended, verdict.lines)

    def played(self, ended: Ended, out: Path | None = None) -> Played:
        """Return what became of the records of a program that ended by itself."""
        verdict = self.judged(ended, out)
        return Played(verdict, [*verdict.lost, *verdict.unnamed])

    @property
    def on_spool(self) -> dict[str, str]:
        return {"LOGSHIP_SPOOL_DIR": str(self.bench.spool)}


def _client(play: _Play, environ: Mapping[str, str] = _NOTHING) -> Played:
    return play.played(play.start(PROGRAM, FORKS, environ=environ).end())


def _spill(play: _Play) -> Played:
    return _client(play, AWAY)


def _spool(play: _Play, environ: Mapping[str, str] = _NOTHING) -> Played:
    ended = play.start(PROGRAM, FORKS, environ={**environ, **play.on_spool}).end()
    play.recover(with_fault=False)
    return play.played(ended)


def _outage(play: _Play) -> Played:
    """Let it wait at its end until the spool's files have been synchronised, once a second."""
    return _spool(play, {**AWAY, "LOGSHIP_EXIT_DRAIN_SECONDS_MAX": "2.5"})


def _killed(play: _Play) -> Played:
    """Judge by count: a killed process names no numbers, but it told what was not on the spool."""
    environ = {**AWAY, **play.on_spool}
    ended = play.start(PROGRAM, IS_KILLED, environ=environ).end()
    play.recover(with_fault=False)
    verdict = play.judged(ended)
    unspooled = [int(word.split()[1]) for word in ended.progress if word.startswith("unspooled")]
    return Played(verdict, verdict.missing[sum(unspooled) :])


def _recover(play: _Play) -> Played:
    """Judge twice: when the recoverer with the fault says complete, and after another one."""
    environ = {**AWAY, **play.on_spool}
    left = play.start(PROGRAM, IS_KILLED, with_fault=False, environ=environ).end()
    ended, report = play.recover(with_fault=True)
    missing = play.judged(left).missing
    if missing and (ended.returncode == 0 or report.get("complete")):
        raise UntrueError(f"says complete, and {len(missing)} are missing: {ended.stdout}")
    play.recover(with_fault=False)
    both = dataclasses.replace(left, returncode=ended.returncode, stderr=left.stderr + ended.stderr)
    verdict = play.judged(both)
    return Played(verdict, verdict.missing)


def _receive(play: _Play) -> Played:
    out = play.programs.directory / "out"
    command = [sys.executable, *play.words, "logship", "receive"]
    try:
        receiver = ReceiverProcess.start(out, command=command)
    except AssertionError:  # it has ended, and said why
        out.touch()
        return play.played(play.start(PROGRAM, with_fault=False, environ=AWAY).end(), out)
    with receiver:
        environ = {"LOGSHIP_ENDPOINTS": receiver.endpoint}
        program = play.start(PROGRAM, FORKS, with_fault=False, environ=environ)
        ended = program.end()
        if receiver.process.poll() is None:
            receiver.terminate()
        both = dataclasses.replace(ended, stderr=ended.stderr + receiver.stderr())
    return play.played(both, out)


def _run(play: _Play) -> Played:
    before = (sys.executable, *play.words, "logship", "run", "--")
    program = play.start(PROGRAM, PRINTS, with_fault=False, before=before)
    return play.played(program.end())


PLAYS: Mapping[str, Callable[[_Play], Played]] = {
    "client": _client,
    "spill": _spill,
    "spool": _spool,
    "outage": _outage,
    "killed": _killed,
    "recover": _recover,
    "receive": _receive,
    "run": _run,
}
"""How each component is played."""
