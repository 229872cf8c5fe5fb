"""Whether a history shows a mistake that was put into the product.

The judge must show it: where the mistake itself raises an error, it does not fit the product any
more, and the test fails with that error. A product with a mistake often never comes to rest, and
the usual bounds cost half a minute. So the bounds are lower here. A history that fails within them
must pass within them without the mistake. Otherwise the bounds, and not the mistake, would cause
the failure.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.simulation import history
from tests.simulation.history import History
from tests.simulation.mutations import Mutation
from tests.simulation.wire import Violation

_EVENTS_MAX = 20_000
_LAST_DRAIN_SECONDS = 10_000.0


TELLING_SEEDS = Path(__file__).with_name("telling_seeds.txt")
"""A seed that shows each mistake, so that a test need not look for one every time: `<mutation>
<seed>` a line. `python -m tests.simulation --find-telling-seeds` writes it anew."""


def seed_that_shows(mutation: Mutation, seeds: Iterable[int]) -> int | None:
    """Return the noted seed if its history still shows the mistake, else the first of these."""
    noted = telling_seeds().get(mutation.__name__)
    if noted is not None and shows(mutation, noted):
        return noted
    return next((seed for seed in seeds if shows(mutation, seed)), None)


def telling_seeds() -> dict[str, int]:
    """Return the noted seed of each mistake that has one."""
    if not TELLING_SEEDS.exists():
        return {}
    lines = TELLING_SEEDS.read_text(encoding="utf-8").splitlines()
    return {name: int(seed) for name, seed in map(str.split, lines)}


def note_telling_seeds(seeds: dict[str, int]) -> None:
    """Write the noted seed of each mistake, at once: other processes read the file."""
    lines = [f"{name} {seed}\n" for name, seed in sorted(seeds.items())]
    fresh = TELLING_SEEDS.with_suffix(".fresh")
    fresh.write_text("".join(lines), encoding="utf-8")
    fresh.replace(TELLING_SEEDS)


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
        except Violation:
            return True
    return False
