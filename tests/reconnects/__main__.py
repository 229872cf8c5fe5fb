"""`python -m tests.reconnects`: ten thousand tasks, and tiers that were away for a while."""

from __future__ import annotations

import argparse
import dataclasses
import sys

from tests.reconnects.measures import Waves, seconds_until, spans, waves
from tests.reconnects.storm import History, Outage, play

OUTAGES = (
    *(Outage(down_seconds=seconds) for seconds in (5.0, 60.0, 600.0)),
    *(Outage(down_seconds=seconds, drops=True) for seconds in (5.0, 60.0, 600.0)),
    Outage(down_seconds=600.0, tiers=2),
)

HEADING = (
    f"{'tier':>18} {'away':>5} {'50 %':>6} {'99 %':>6} {'all':>6} {'attempts':>10}  "
    f"{'span':5} {'mean/s':>7} {'peak 0.1 s':>11} {'(Poisson)':>9} {'peak 1 s':>9} "
    f"{'correlation':>11} {'(noise)':>7}"
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reconnects", description=__doc__)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--accepts", type=float, default=1000.0, help="of a tier, a second")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(f"{arguments.tasks:,} tasks, {arguments.accepts:,.0f} accepts/s, seed {arguments.seed}")
    print(HEADING, flush=True)
    for each in OUTAGES:
        outage = dataclasses.replace(
            each, tasks=arguments.tasks, accepts_per_second=arguments.accepts, seed=arguments.seed
        )
        print("\n".join(told(outage, play(outage))), flush=True)
    return 0


def told(outage: Outage, history: History) -> list[str]:
    """Return the rows of an outage, one for each span."""
    kind = "two, one stays" if outage.tiers > 1 else "silent" if outage.drops else "refuses"
    attempts = sum(map(len, history.attempts))
    # With a second tier, tasks are connected long before the end of the outage.
    until = ["-"] * 3
    if outage.tiers == 1:
        until = [f"{seconds_until(history, share):.1f}" for share in (0.5, 0.99, 1.0)]
    head = f"{kind:>18} {outage.down_seconds:5.0f} {until[0]:>6} {until[1]:>6} {until[2]:>6} "
    head += f"{attempts:10,}"
    rows = [
        _row(name, waves(history.attempts[-1], *span))
        for name, span in spans(outage, history).items()
    ]
    return [f"{head}  {rows[0]}", *(f"{'':{len(head)}}  {row}" for row in rows[1:])]


def _row(name: str, found: Waves) -> str:
    return (
        f"{name:5} {found.mean:7,.0f} {found.peak_bin:11.2f} {found.poisson_bin:9.2f} "
        f"{found.peak_second:9.2f} {found.correlation:11.2f} {found.noise:7.2f}"
    )


if __name__ == "__main__":
    sys.exit(main())
