"""`python -m tests.interleavings`: every scene in full; tells how many schedules there were."""

from __future__ import annotations

import sys
import time

from tests.interleavings.exploring import Depth, explore_scene
from tests.interleavings.scenes import SCENES


def main() -> int:
    wrong = 0
    for name in SCENES:
        for depth in Depth.full(name):
            began = time.monotonic()
            explored, watch = explore_scene(name, depth)
            seconds = time.monotonic() - began
            print(
                f"{name}: {depth}: {explored.schedules:,} schedules in {seconds:.0f} s, "
                f"{len(watch.open_names)} open attributes {explored.fault}",
                flush=True,
            )
            if explored.fault:
                wrong += 1
                print(f"  choices {explored.choices}", flush=True)
    return wrong


sys.exit(bool(main()))
