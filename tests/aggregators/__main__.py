"""`python -m tests.aggregators --minutes 10`: run a campaign for each variant, and tell."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.aggregators.campaign import Campaign, Plan, Result
from tests.aggregators.variants import VARIANTS

HEADING = (
    f"{'variant':12} {'seed':>6} {'records':>10} {'lost':>6} {'stderr':>6} {'again':>8} "
    f"{'kills':>6} {'partitions':>10} {'seconds':>8} {'audit':>6}"
)


def main() -> int:
    """Run them; 1 where something must not be."""
    parser = argparse.ArgumentParser(prog="python -m tests.aggregators", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of each variant")
    parser.add_argument("--rate", type=int, default=200, help="of each of four clients, a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--variant", choices=("all", *VARIANTS), default="all")
    arguments = parser.parse_args()
    names = [*VARIANTS] if arguments.variant == "all" else [arguments.variant]
    print(HEADING, flush=True)
    is_well = True
    for name in names:
        if why := VARIANTS[name].why_not():
            print(f"{name:12} {why}", flush=True)
            continue
        plan = Plan(name, arguments.minutes * 60, arguments.seed, rate=arguments.rate)
        with tempfile.TemporaryDirectory(prefix="aggregators-") as directory:
            result = Campaign(plan, Path(directory) / name).run()
        print(told(result), flush=True)
        is_well &= not result.faults
    return not is_well


def told(result: Result) -> str:
    """Return the row of a campaign, and its faults below."""
    plan, count = result.plan, result.count
    row = (
        f"{plan.variant:12} {plan.seed:6} {count.taken:10,} {len(count.missing):6,} "
        f"{count.spilled:6,} {count.again:8,} {result.events['kill']:6} {result.partitions:10} "
        f"{result.seconds:8.0f} {result.audit[0]:6}"
    )
    return "\n".join([row, *(f"FAULT {each}" for each in result.faults)])


if __name__ == "__main__":
    sys.exit(main())
