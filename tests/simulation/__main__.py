"""The command: a campaign, or one seed told in full."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.simulation.campaign import SEEDS_FOR_EVERY_FAULT, Tally, replay, run_campaign


def main() -> int:
    """Return 0 if every history was a good one and every fault was seen."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=2000, help="how many histories")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seed", type=int, help="replay this one and tell it")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    if arguments.seed is not None:
        _, lines = replay(arguments.seed)
        print("\n".join(lines), flush=True)
        return int(lines[-1] != "it is well")
    started = time.monotonic()
    tally = run_campaign(arguments.first, arguments.seeds, arguments.workers)
    print("\n".join(tally.lines()), flush=True)
    print(f"{time.monotonic() - started:.1f} s", flush=True)
    return _verdict(tally)


def _verdict(tally: Tally) -> int:
    missing = tally.never_fired() if tally.seeds >= SEEDS_FOR_EVERY_FAULT else []
    if missing:
        print(f"never happened: {', '.join(missing)}; the campaign shows nothing about these")
    for seed, what in sorted(tally.failures.items()):
        print(f"seed {seed}: {what}")
    if tally.failures:
        print("\n".join(replay(min(tally.failures))[1]))
        print(f"{len(tally.failures)} seeds failed; replay one with: make sim SEED=<seed>")
    return int(bool(missing or tally.failures))


if __name__ == "__main__":
    sys.exit(main())
