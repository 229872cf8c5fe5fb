"""`python -m tests.storms --records 10000000 --seed 1`: storms with full counts."""

from __future__ import annotations

import argparse
import sys

from tests.storms.campaign import campaign

parser = argparse.ArgumentParser(prog="python -m tests.storms", description=__doc__)
parser.add_argument("--records", type=int, default=1_000_000)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--run-records", type=int, default=400_000, help="in one process")
arguments = parser.parse_args()
sys.exit(bool(campaign(arguments.records, arguments.seed, arguments.run_records)))
