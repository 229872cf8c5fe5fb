"""The judge can tell: each mistake that is put into the product is caught, and quickly."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.simulation.catching import seed_that_shows
from tests.simulation.disk import has_disk
from tests.simulation.disk_mutations import DISK_MUTATIONS
from tests.simulation.mutations import MUTATIONS, Mutation
from tests.simulation.rare_mutations import RARE_MUTATIONS
from tests.simulation.recovery_mutations import RECOVERY_MUTATIONS

SEEDS_MAX = 2000
DISK_SEEDS_MAX = 6000
"""A chunk that cannot be read, and stays so, comes in one of 200 seeds with a spool."""

CASES = [
    *((mutation, range(1, SEEDS_MAX + 1)) for mutation in MUTATIONS),
    *(
        (mutation, filter(has_disk, range(1, DISK_SEEDS_MAX + 1)))
        for mutation in (*DISK_MUTATIONS, *RECOVERY_MUTATIONS)
    ),
]
"""A mistake, and the seeds among which one shows it."""


@pytest.mark.parametrize(("mutation", "seeds"), CASES, ids=[each.__name__ for each, _ in CASES])
def test_a_mistake_is_caught(mutation: Mutation, seeds: Iterable[int]) -> None:
    assert seed_that_shows(mutation, seeds) is not None, f"not caught: {mutation.__doc__}"


@pytest.mark.parametrize("mutation", RARE_MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_the_noted_seed_still_shows_a_rare_mistake(mutation: Mutation) -> None:
    """If it does not, `python -m tests.simulation --find-telling-seeds` looks for another one."""
    assert seed_that_shows(mutation, ()) is not None, mutation.__doc__
