"""The judge can tell: each mistake that is put into the product is caught, and quickly."""

from __future__ import annotations

import pytest

from tests.simulation.catching import seed_that_shows
from tests.simulation.mutations import MUTATIONS, Mutation
from tests.simulation.rare_mutations import RARE_MUTATIONS

SEEDS_MAX = 2000


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_a_mistake_is_caught(mutation: Mutation) -> None:
    seed = seed_that_shows(mutation, range(1, SEEDS_MAX + 1))
    assert seed is not None, f"not caught in {SEEDS_MAX} seeds: {mutation.__doc__}"


@pytest.mark.parametrize("mutation", RARE_MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_the_noted_seed_still_shows_a_rare_mistake(mutation: Mutation) -> None:
    """If it does not, `python -m tests.simulation --find-telling-seeds` looks for another one."""
    assert seed_that_shows(mutation, ()) is not None, mutation.__doc__
