"""Every interleaving of two producers and a closer, or the shipper, keeps the one sentence.

`make interleavings` goes deeper: two preemptions, and three in the small scenes.
"""

from __future__ import annotations

import pytest

from tests.interleavings.exploring import QUICK, Depth, explore_scene
from tests.interleavings.scenes import SCENES

LIKE_OTHERS = (
    *("each call combines", "two entries are combined", "only the end combines"),
    *("each call commits", "near the bound", "each call commits, near the bound"),
    "shipper of what outlives",
)
"""Scenes that differ in little from those that are left."""


def is_long(name: str, depth: Depth) -> bool:
    """Tell whether only `-m proof` explores a scene.

    There are many points for an exception, so two scenes stand for all.
    """
    if depth.raises:
        return name not in ("one producer", "small, with a shipper")
    return name in LIKE_OTHERS


CASES = [
    pytest.param(name, depth, marks=[pytest.mark.proof] if is_long(name, depth) else [])
    for name in SCENES
    for depth in QUICK
]


@pytest.mark.parametrize(("name", "depth"), CASES, ids=str)
def test_every_interleaving(name: str, depth: Depth) -> None:
    explored, watch = explore_scene(name, depth)
    assert not explored.fault, f"{explored.fault}\nchoices {explored.choices}"
    assert explored.schedules >= 40
    # What the scheduler could do nothing with would make this an empty proof.
    assert ("Inbox", "items") in watch.open_names
