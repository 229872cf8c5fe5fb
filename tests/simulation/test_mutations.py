"""The judge can tell: each mistake that is put into the product is caught, and quickly."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.simulation.catching import seed_that_shows
from tests.simulation.disk import has_disk
from tests.simulation.disk_mutations import DISK_MUTATIONS
from tests.simulation.mutations import MUTATIONS, Mutation

SEEDS_MAX = 2000
DISK_SEEDS_MAX = 6000
"""A chunk that cannot be read, and stays so, comes in one of 200 seeds with a spool."""

CASES = [
    *((mutation, range(1, SEEDS_MAX + 1)) for mutation in MUTATIONS),
    *((each, filter(has_disk, range(1, DISK_SEEDS_MAX + 1))) for each in DISK_MUTATIONS),
]
"""A mistake, and the seeds among which one shows it."""


@pytest.mark.parametrize(("mutation", "seeds"), CASES, ids=[each.__name__ for each, _ in CASES])
def test_a_mistake_is_caught(mutation: Mutation, seeds: Iterable[int]) -> None:
    """If its noted seed does not show it any more, the search for another one takes long.

    `python -m tests.simulation --find-telling-seeds` notes another one.
    """
    assert seed_that_shows(mutation, seeds) is not None, f"not caught: {mutation.__doc__}"
