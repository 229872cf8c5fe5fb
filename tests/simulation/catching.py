"""Whether a history shows a mistake that was put into the product.

A product with a mistake often does not come to rest at all, and to wait until the usual bounds are
reached costs half a minute. So they are nearer here; and whoever shows a mistake within them must
be innocent within them without it, or it would be the bounds that accuse.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.simulation import history
from tests.simulation.history import History
from tests.simulation.mutations import Mutation

_EVENTS_MAX = 20_000
_LAST_DRAIN_SECONDS = 10_000.0


def first_that_shows(mutation: Mutation, seeds: Iterable[int]) -> int | None:
    """Return the first of these seeds whose history shows the mistake, or None."""
    return next((seed for seed in seeds if shows(mutation, seed)), None)


def shows(mutation: Mutation, seed: int) -> bool:
    """Tell whether the seed's history fails with the mistake, and does not without it."""
    return _fails(seed, mutation) and not _fails(seed, lambda _: None)


def _fails(seed: int, mutation: Mutation) -> bool:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "EVENTS_MAX", _EVENTS_MAX)
        patch.setattr(history, "_LAST_DRAIN_SECONDS", _LAST_DRAIN_SECONDS)
        mutation(patch)
        try:
            History(seed).run()
        except Exception:  # noqa: BLE001 - a mistake may end in any error
            return True
    return False
