"""The judge can tell: each mistake that is put into the product is caught, and quickly."""

from __future__ import annotations

import pytest

from tests.simulation.campaign import pinned_seeds
from tests.simulation.catching import seed_that_shows, shows
from tests.simulation.disk_mutations import DISK_MUTATIONS
from tests.simulation.history import History
from tests.simulation.mutations import MUTATIONS, Mutation
from tests.simulation.rare_mutations import RARE_MUTATIONS
from tests.simulation.recovery_mutations import RECOVERY_MUTATIONS

SEEDS_MAX = 2000

pytestmark = pytest.mark.mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_a_mistake_is_caught(mutation: Mutation) -> None:
    seed = seed_that_shows(mutation, range(1, SEEDS_MAX + 1))
    assert seed is not None, f"not caught in {SEEDS_MAX} seeds: {mutation.__doc__}"


@pytest.mark.parametrize(("seed", "name", "what"), pinned_seeds())
def test_a_pinned_seed_still_shows_what_it_found(seed: int, name: str, what: str) -> None:
    """Options are drawn in another way some day; then another seed must be pinned for it."""
    mutations = (*MUTATIONS, *DISK_MUTATIONS, *RECOVERY_MUTATIONS, *RARE_MUTATIONS)
    by_name = {mutation.__name__: mutation for mutation in mutations}
    History(seed).run()
    assert shows(by_name[name], seed), f"seed {seed} does not find it any more: {what}"
