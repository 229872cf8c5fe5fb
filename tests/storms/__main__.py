"""`python -m tests.storms --records 10000000 --seed 1`: storms with full counts."""

from __future__ import annotations

import argparse
import sys

from tests.storms.campaign import campaign
from tests.storms.weather import CAN_HAVE_TOOLS

parser = argparse.ArgumentParser(prog="python -m tests.storms", description=__doc__)
parser.add_argument("--records", type=int, default=1_000_000)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--run-records", type=int, default=400_000, help="in one process")
parser.add_argument("--no-tools", action="store_true", help="without tracers and profilers")
arguments = parser.parse_args()
failed = campaign(
    arguments.records,
    arguments.seed,
    arguments.run_records,
    tools=CAN_HAVE_TOOLS and not arguments.no_tools,
)
sys.exit(bool(failed))
