"""Shows for each cell of the table how a stop signal in the middle of load ends, losing nothing.

Random moments are those of `tests/process/test_random_stops.py` and `tests/examples`.
"""

from __future__ import annotations

import pytest

from tests.process.conftest import Sidecar
from tests.stops.entrypoints import ENTRYPOINTS
from tests.stops.striking import Stage
from tests.stops.table import SIGNALS, TABLE, Cell, cells
from tests.support.programs import Programs


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
    stage.stop_under_load(cell)
