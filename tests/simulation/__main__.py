"""The command: a campaign, or one seed told in full."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import os
import sys
import time
from itertools import count, islice

from tests.simulation.campaign import SEEDS_FOR_EVERY_FAULT, Tally, replay, run_campaign
from tests.simulation.disk import has_disk
from tests.simulation.options import Forced, Options
from tests.simulation.test_mutations import ALL_MUTATIONS, telling_seed


def main() -> int:
    """Return 0 if every history was a good one and every fault was seen."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation",
        epilog="Whether the judge catches mistakes: pytest tests/simulation/test_mutations.py",
    )
    parser.add_argument("--seeds", type=int, default=2000, help="how many histories")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument(
        "--disk", action="store_true", help="only seeds whose clients have a spool, one in eight"
    )
    parser.add_argument("--seed", type=int, help="replay this one and tell it")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--force",
        type=_forced,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of every history, in the place of the drawn one (options.py); repeatable",
    )
    parser.add_argument(
        "--mutation",
        choices=ALL_MUTATIONS,
        metavar="NAME",
        help="print the seed that shows this mistake (mutations.py, disk_mutations.py)",
    )
    arguments = parser.parse_args()
    forced = dict(arguments.force)
    if arguments.seed is not None:
        _, lines = replay(arguments.seed, forced)
        print("\n".join(lines), flush=True)
        return int(lines[-1] != "it is well")
    if arguments.mutation is not None:
        telling = telling_seed(ALL_MUTATIONS[arguments.mutation])
        print("no seed shows it" if telling is None else f"seed {telling} shows it", flush=True)
        return int(telling is None)
    started, tally = time.monotonic(), Tally()
    wanted = filter(has_disk, count(arguments.first)) if arguments.disk else count(arguments.first)
    seeds = list(islice(wanted, arguments.seeds))
    try:
        for part in run_campaign(seeds, arguments.workers, forced):
            tally.add(part)
            print(f"{tally.seeds} seeds, {len(tally.failures)} failed", flush=True)
            for seed, what in sorted(part.failures.items()):
                print(f"seed {seed}: {what}", flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    print("\n".join(tally.lines()), flush=True)
    print(f"{time.monotonic() - started:.1f} s", flush=True)
    return _verdict(tally, forced)


def _forced(text: str) -> tuple[str, object]:
    """Return the name and the value of an option; what is no Python literal is a text."""
    name, _, value = text.partition("=")
    if name not in {each.name for each in dataclasses.fields(Options)}:
        raise argparse.ArgumentTypeError(f"there is no option {name!r}")
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return name, value


def _verdict(tally: Tally, forced: Forced) -> int:
    missing = tally.never_fired() if tally.seeds >= SEEDS_FOR_EVERY_FAULT else []
    if missing:
        print(f"never happened: {', '.join(missing)}; the campaign shows nothing about these")
    if tally.failures:
        print("\n".join(replay(min(tally.failures), forced)[1]))
        print(f"{len(tally.failures)} seeds failed; replay one with: make sim SEED=<seed>")
    return int(bool(missing or tally.failures))


if __name__ == "__main__":
    sys.exit(main())
