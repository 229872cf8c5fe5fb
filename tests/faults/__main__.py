"""`python -m tests.faults --seed 1`: every call, error and occurrence in every component."""

from __future__ import annotations

import argparse
import queue
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tests.faults.bench import Bench, Outcome
from tests.faults.cases import CALLS, COMPONENTS, Case, whole_matrix
from tests.support.receiver_process import ReceiverProcess

SHORT_WORDS = {"delivered": "d", "told": "t", "refused": "r", "passed by": "-"}


def main() -> int:
    """Play the matrix; print each fault when it is found, and the table at the end."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    arguments = parser.parse_args()
    began = time.monotonic()
    with ExitStack() as stack, ThreadPoolExecutor(arguments.workers) as pool:
        benches: queue.SimpleQueue[Bench] = queue.SimpleQueue()
        for _ in range(arguments.workers):
            benches.put(_bench(stack))

        def play(case: Case) -> Outcome:
            bench = benches.get()
            try:
                outcome = bench.play(case)
            finally:
                benches.put(bench)
            if outcome.is_fault:
                print(f"{case}: {outcome.kind.upper()} {outcome.where}\n{outcome.said}", flush=True)
            return outcome

        bench = benches.get()
        counts = {each: bench.count_calls(each) for each in COMPONENTS}
        benches.put(bench)
        cases = [
            each for each in whole_matrix(counts, arguments.seed) if arguments.only in str(each)
        ]
        outcomes = list(pool.map(play, cases))
    print("\n".join(table(outcomes)))
    kinds = Counter(each.kind for each in outcomes)
    records = sum(each.records for each in outcomes)
    seconds = time.monotonic() - began
    print(f"{len(outcomes)} cases, {records:,} records accepted, {seconds:.0f} s: {dict(kinds)}")
    return any(each.is_fault for each in outcomes)


def _bench(stack: ExitStack) -> Bench:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-")))
    return Bench(directory, stack.enter_context(ReceiverProcess.start(directory / "out")))


def table(outcomes: Sequence[Outcome]) -> Iterable[str]:
    """Yield the lines of call x error: in each component, an outcome for each occurrence."""
    yield "d delivered, t told, r refused, - passed by, blank: the component does not make the call"
    cells: dict[tuple[str, str, str], str] = defaultdict(str)
    for each in outcomes:
        place = (each.case.call, each.case.error, each.case.component)
        cells[place] += SHORT_WORDS.get(each.kind, each.kind.upper() + " ")
    yield f"{'call':10}{'error':8}" + "".join(f"{each:9}" for each in COMPONENTS)
    for call, errors in CALLS.items():
        for error in errors:
            row = (cells[call, error, each] for each in COMPONENTS)
            yield f"{call:10}{error:8}" + "".join(f"{each:9}" for each in row)


if __name__ == "__main__":
    sys.exit(main())
