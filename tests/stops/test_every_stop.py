"""Shows for each cell of the table how a stop signal in the middle of load ends, losing nothing.

The first run of a cell is at a fixed moment; the 100 stops by each signal are at random ones.
"""

from __future__ import annotations

import itertools
import random

import pytest

from tests.process.conftest import Sidecar
from tests.stops.entrypoints import ENTRYPOINTS
from tests.stops.striking import Stage
from tests.stops.table import DEFAULT, SIGNALS, TABLE, Cell, cells
from tests.support.programs import Program, Programs, let_pass

SEED = 20261127
STOPS_BY_EACH_SIGNAL = 100
AT_START_SHARE = 0.3
START_SECONDS_MAX = 1.5

_AT_RANDOM = [each for each in cells() if each.disposition == DEFAULT]


def random_stops() -> list[tuple[Cell, int]]:
    """Return the random stops: for each signal 100, shared out among the entrypoints."""
    return [
        pair
        for signum in SIGNALS
        for pair in zip(
            itertools.cycle(each for each in _AT_RANDOM if each.signum == signum),
            range(STOPS_BY_EACH_SIGNAL),
            strict=False,
        )
    ]


def test_the_table_has_each_entrypoint_with_each_disposition_and_each_signal() -> None:
    assert {entrypoint for entrypoint, _ in TABLE} == ENTRYPOINTS.keys()
    assert len(TABLE) == len(ENTRYPOINTS) * 3
    assert {len(outcomes) for outcomes in TABLE.values()} == {len(SIGNALS)}


@pytest.fixture
def stage(programs: Programs, sidecar: Sidecar, port: int) -> Stage:
    return Stage(programs, sidecar, port)


@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(
            cell, id=str(cell), marks=() if cell.is_of_the_normal_suite else pytest.mark.proof
        )
        for cell in cells()
    ],
)
def test_a_stop_in_the_middle_of_load_ends_as_the_table_says(stage: Stage, cell: Cell) -> None:
    stage.stop_under_load(cell, lambda program: program.until_logged(50))


@pytest.mark.proof
@pytest.mark.parametrize(
    ("cell", "number"),
    [pytest.param(*pair, id=f"{pair[0]}-{pair[1]:03d}") for pair in random_stops()],
)
def test_a_stop_at_a_random_moment_loses_nothing(stage: Stage, cell: Cell, number: int) -> None:
    dice = random.Random(f"{SEED} {cell} {number}")
    if dice.random() < AT_START_SHARE:
        seconds = dice.uniform(0, START_SECONDS_MAX)
        stage.stop_at_start(cell, lambda program: let_pass(seconds))
        return

    def moment(program: Program) -> None:
        program.until_logged(dice.randrange(1, 300))
        let_pass(dice.uniform(0, 0.1))

    stage.stop_under_load(cell, moment)
