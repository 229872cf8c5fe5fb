"""The corpora and a few seeds of `make fuzz`, the same ones in each run."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.inputs import corpus_of, inputs_for
from tests.fuzz.targets import TARGETS, measure, measure_memory
from tests.support.pace import slowness

EXAMPLES = 15


@pytest.mark.parametrize("name", TARGETS)
def test_pinned_inputs_keep_what_holds(name: str) -> None:
    assert corpus_of(name), "a target needs something to begin with"
    slow = slowness()
    for data in corpus_of(name):
        measure(TARGETS[name], data, slowness=slow)
        measure_memory(TARGETS[name], data)


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_of_fixed_seeds_keep_what_holds(name: str) -> None:
    slow = slowness()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[*HealthCheck],
    )
    @given(st.data())
    def run(data: st.DataObject) -> None:
        measure(TARGETS[name], data.draw(inputs_for(name)), slowness=slow)

    run()
