"""`python -m tests.soak --minutes 10`: run a soak, and say what grew and what is missing."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.soak.measuring import HEADING
from tests.soak.soak import Plan, Result, Soak


def main() -> int:
    """Run it; 1 where something must not be."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--rate", type=int, default=200, help="of each application, a second")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    plan = Plan(arguments.minutes * 60, arguments.rate, arguments.seed)
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        result = Soak(plan, Path(directory)).run()
    print("\n".join(told(result)))
    return bool(result.faults)


def told(result: Result) -> list[str]:
    count = result.count
    events = ", ".join(f"{name} {times}" for name, times in sorted(result.events.items()))
    return [
        HEADING,
        *map(str, result.series),
        events,
        f"{count.taken:,} records in the ledgers: {count.delivered:,} delivered, {count.spilled:,} "
        f"on stderr alone, {len(count.missing):,} missing; {count.again:,} came again",
        f"audit: exit code {result.audit[0]}, {result.audit[1].partition(chr(10))[0]}",
        *(f"FAULT {each}" for each in result.faults),
    ]


if __name__ == "__main__":
    sys.exit(main())
