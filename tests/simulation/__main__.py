"""The command: a campaign, or one seed told in full."""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import sys
import time

from tests.simulation.campaign import SEEDS_FOR_EVERY_FAULT, Tally, replay, run_campaign
from tests.simulation.catching import note_telling_seeds, seed_that_shows, telling_seeds
from tests.simulation.disk import has_disk
from tests.simulation.disk_mutations import DISK_MUTATIONS
from tests.simulation.mutations import MUTATIONS

_MISTAKES = {each.__name__: each for each in (*MUTATIONS, *DISK_MUTATIONS)}


def main() -> int:
    """Return 0 if every history was a good one and every fault was seen."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=2000, help="how many histories")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seed", type=int, help="replay this one and tell it")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--find-telling-seeds", action="store_true", help="look for a seed for each mistake"
    )
    arguments = parser.parse_args()
    if arguments.find_telling_seeds:
        return _find_telling_seeds(arguments.seeds, arguments.workers)
    if arguments.seed is not None:
        _, lines = replay(arguments.seed)
        print("\n".join(lines), flush=True)
        return int(lines[-1] != "it is well")
    started = time.monotonic()
    tally = run_campaign(arguments.first, arguments.seeds, arguments.workers)
    print("\n".join(tally.lines()), flush=True)
    print(f"{time.monotonic() - started:.1f} s", flush=True)
    return _verdict(tally)


def _find_telling_seeds(seeds: int, workers: int) -> int:
    """Note a seed for each mistake; return how many mistakes no seed shows."""
    names = list(_MISTAKES)
    found = {name: seed for name, seed in telling_seeds().items() if name in names}
    unseen = 0
    with multiprocessing.Pool(workers) as pool:
        for name, seed in pool.imap_unordered(functools.partial(_search, seeds), names):
            print(f"{name} {seed}", flush=True)
            if seed is None:
                unseen += 1
                found.pop(name, None)
            else:
                found[name] = seed
            note_telling_seeds(found)
    return unseen


def _search(seeds: int, name: str) -> tuple[str, int | None]:
    """Look for a seed that shows a mistake, among those with a spool where it needs one."""
    mutation, candidates = _MISTAKES[name], range(1, seeds + 1)
    if mutation in MUTATIONS:
        return name, seed_that_shows(mutation, candidates)
    return name, seed_that_shows(mutation, filter(has_disk, candidates))


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
