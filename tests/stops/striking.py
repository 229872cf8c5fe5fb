"""Strikes an entrypoint in the middle of load, lets it end, and judges its records."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

import pytest

from tests.examples.load import Load
from tests.examples.test_sigterm import LOADS, orders, processes_of
from tests.process.conftest import Sidecar
from tests.stops.entrypoints import ENTRYPOINTS, Entrypoint
from tests.stops.table import OWN, Cell
from tests.support.programs import Ended, Program, Programs
from tests.support.waiting import wait_until

RECORDS = 50
"""In the ledger when the signal is sent."""
GOES_ON_FOR_RECORDS = 20
LIFE_CHARACTERS = 4
"""A number of the module `application` begins with them."""
ENDS_WITHIN_SECONDS = 10.0
"""If it does not hang."""


@dataclass(frozen=True)
class Stage:
    """Where a cell is played.

    Attributes:
        programs: What starts the entrypoint.
        sidecar: Where it ships to.
        port: Where it listens, if it is a web server.
    """

    programs: Programs
    sidecar: Sidecar
    port: int

    def stop_under_load(self, cell: Cell) -> None:
        """Send the cell's signal in the middle of load; fail unless all ends as the cell says."""
        entrypoint, program = self._start(cell)
        with LOADS[entrypoint.load](program, self.port) as load:
            program.until_true(
                lambda: processes_of(program) >= entrypoint.processes, "every process has logged"
            )
            program.until_logged(RECORDS)
            before = lives_of(program)
            os.kill(entrypoint.first_process(program), cell.signum)
            if cell.outcome.lives_on:
                _see_it_go_on(program, cell, before)
                _let_end(program, entrypoint)
            ended = self._end_of(program, cell)
        self._judge(cell, entrypoint, ended, load)

    def _start(self, cell: Cell) -> tuple[Entrypoint, Program]:
        entrypoint = ENTRYPOINTS[cell.entrypoint]
        if entrypoint.why_not_here:
            pytest.skip(entrypoint.why_not_here)
        return entrypoint, entrypoint.start(self.programs, cell, self.port)

    def _end_of(self, program: Program, cell: Cell) -> Ended:
        """Wait for the end; where it hangs, kill it once its records have arrived."""
        if cell.outcome.may_hang and not _ends(program):
            for marker in program.ledger:
                self.sidecar.output.until_arrived(marker)
            os.killpg(program.process.pid, signal.SIGKILL)
        return program.end()

    def _judge(self, cell: Cell, entrypoint: Entrypoint, ended: Ended, load: Load) -> None:
        verdict = self.sidecar.output.verdict(ended)
        hung = cell.outcome.may_hang and ended.returncode == -signal.SIGKILL
        assert hung or ended.returncode == _status(cell, entrypoint), ended.stderr[-3000:]
        verdict.assert_delivered_once()
        if not hung:
            verdict.assert_all_ended()
        assert ("own handler" in ended.progress) == (cell.disposition == OWN)
        assert load.answered <= orders(verdict)
        assert bool(load.answered) == (entrypoint.load == "http")


def lives_of(program: Program) -> set[str]:
    """Return process number and life of each process that has logged, as their markers have them.

    A process that has become another program by exec keeps its number.
    """
    words = (marker.split("-") for marker in program.ledger)
    return {f"{pid}-{number[:LIFE_CHARACTERS]}" for _, pid, number in words}


def _see_it_go_on(program: Program, cell: Cell, before: set[str]) -> None:
    if cell.outcome.reloads:
        program.until_true(lambda: len(lives_of(program) - before) >= 2, "new processes work")
    program.until_logged(len(program.ledger) + GOES_ON_FOR_RECORDS)


def _let_end(program: Program, entrypoint: Entrypoint) -> None:
    """End a program by its own means, and a server by SIGTERM."""
    program.let_go("end")
    if entrypoint.load != "own":
        program.process.terminate()


def _ends(program: Program) -> bool:
    """Wait for the program's end; return False where it does not come in time."""
    try:
        wait_until(lambda: not program.is_alive, "the end", ENDS_WITHIN_SECONDS)
    except AssertionError:
        return False
    return True


def _status(cell: Cell, entrypoint: Entrypoint) -> int:
    if cell.outcome.status is not None:
        return cell.outcome.status
    return 128 + cell.signum if entrypoint.shows_128 else -cell.signum
