"""The judge can tell: each mistake that is put into the product is caught, and quickly.

The judge must tell: where the mistake itself raises an error, it does not fit the product any more,
and the test fails with that error. A product with a mistake often never comes to rest, and the
usual bounds cost half a minute. So the bounds are lower here. A history that fails within them must
pass within them without the mistake. Otherwise the bounds, and not the mistake, would cause the
failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

import pytest

from tests.simulation import history
from tests.simulation.disk import has_disk
from tests.simulation.disk_mutations import DISK_MUTATIONS
from tests.simulation.history import History
from tests.simulation.mutations import MUTATIONS, Change, Mutation
from tests.simulation.options import Forced
from tests.simulation.wire import Violation

SEEDS_MAX = 2000
DISK_SEEDS_MAX = 6000
"""A chunk that cannot be read, and stays so, comes in one of 200 seeds with a spool."""

ALL_MUTATIONS = {str(each): each for each in (*MUTATIONS, *DISK_MUTATIONS)}

EVENTS_MAX = 5_000
LAST_DRAIN_SECONDS = 10_000.0


@pytest.mark.parametrize("mutation", ALL_MUTATIONS.values(), ids=str)
def test_a_mistake_is_caught(
    mutation: Mutation, record_property: Callable[[str, object], None]
) -> None:
    """If its seed shows it no more, another one is looked for; note that one instead."""
    telling = telling_seed(mutation)
    assert telling is not None, f"not caught: {mutation.put_in.__doc__}"
    record_property("seed", telling)


def telling_seed(mutation: Mutation) -> int | None:
    """Return the first seed whose history shows the mistake; None if none of them does."""
    return next(filter(lambda seed: shows(mutation, seed), seeds_for(mutation)), None)


def seeds_for(mutation: Mutation) -> Iterator[int]:
    """Yield the seed that was noted, then all among which another one may be."""
    others = range(1, SEEDS_MAX + 1)
    with_disk = filter(has_disk, range(1, DISK_SEEDS_MAX + 1))
    return chain([mutation.seed], others if mutation in MUTATIONS else with_disk)


def shows(mutation: Mutation, seed: int) -> bool:
    """Tell whether the seed's history fails with the mistake, and does not without it."""
    forced = mutation.forced
    return fails(seed, forced, mutation.put_in) and not fails(seed, forced, lambda _: None)


def fails(seed: int, forced: Forced, put_in: Change) -> bool:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "EVENTS_MAX", EVENTS_MAX)
        patch.setattr(history, "_LAST_DRAIN_SECONDS", LAST_DRAIN_SECONDS)
        put_in(patch)
        try:
            History(seed, forced).run()
        except Violation:
            return True
    return False
