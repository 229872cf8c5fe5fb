"""Disks that fail under a spool: each way is seen, and each mistake about it is caught."""

from __future__ import annotations

import itertools

import pytest

from tests.simulation.campaign import run_seeds
from tests.simulation.catching import seed_that_shows
from tests.simulation.disk import has_disk
from tests.simulation.disk_mutations import DISK_MUTATIONS
from tests.simulation.faults import DISK_FAULTS, RECOVERY_FAULTS
from tests.simulation.history import History
from tests.simulation.mutations import Mutation
from tests.simulation.recovery_mutations import RECOVERY_MUTATIONS

SEEDS_MAX = 1400
SEEDS = [seed for seed in range(1, SEEDS_MAX + 1) if has_disk(seed)]
"""Those of the first 1,400 whose clients have a spool."""

MUTATION_SEEDS_MAX = 6000
"""A chunk that cannot be read, and stays so, comes in one of 200 seeds with a spool."""


def test_every_disk_fault_is_seen_and_nothing_is_lost_in_silence() -> None:
    tally = run_seeds(SEEDS)
    assert tally.failures == {}
    assert [name for name in (*DISK_FAULTS, *RECOVERY_FAULTS) if not tally.fired[name]] == []
    assert tally.fired["recovered"] > 700


def test_a_share_of_the_seeds_has_a_disk() -> None:
    assert SEEDS_MAX / 10 < len(SEEDS) < SEEDS_MAX / 6


@pytest.mark.parametrize(
    "mutation", [*DISK_MUTATIONS, *RECOVERY_MUTATIONS], ids=lambda mutation: mutation.__name__
)
def test_a_mistake_about_the_spool_is_caught(mutation: Mutation) -> None:
    seeds = filter(has_disk, range(1, MUTATION_SEEDS_MAX + 1))
    seed = seed_that_shows(mutation, seeds)
    assert seed is not None, f"not caught in {MUTATION_SEEDS_MAX} seeds: {mutation.__doc__}"


def test_nothing_stays_behind_a_history() -> None:
    for seed in itertools.islice(SEEDS, 5):
        history = History(seed)
        history.run()
        assert history.disk is not None
        assert not history.disk.path.exists()
