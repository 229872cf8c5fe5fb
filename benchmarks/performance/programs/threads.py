"""How many records one thread and two threads hand to `emit`, in the same process.

`python -m benchmarks.performance.programs.threads HOST PORT ROUNDS` prints records a second for
each number of threads, the median of so many rounds, and whether the interpreter has a global lock.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median
from threading import Barrier, Thread

import logship
from benchmarks.performance.programs.shared import answer, background_client, wait_until_acked
from benchmarks.records import VARIED

THREADS = (1, 2)
RECORDS = 3 * len(VARIED)
"""Of each thread in a round: less than the buffer holds."""


def rate(client: logship.BackgroundClient, threads: int) -> float:
    """Return records a second of so many threads together."""
    start = Barrier(threads + 1)
    workers = [Thread(target=_emit, args=(client, start)) for _ in range(threads)]
    for worker in workers:
        worker.start()
    start.wait()
    begun = time.perf_counter()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - begun
    wait_until_acked(client)
    return threads * RECORDS / seconds


def _emit(client: logship.BackgroundClient, start: Barrier) -> None:
    records = [dict(record) for record in VARIED]  # no thread touches another one's records
    start.wait()
    for _ in range(RECORDS // len(records)):
        for record in records:
            client.emit(record)


def main() -> None:
    """Run what the arguments say."""
    host, port, rounds = sys.argv[1:]
    client = background_client(host, port)
    found: dict[int, list[float]] = {threads: [] for threads in THREADS}
    for number in range(int(rounds) + 1):
        for threads in THREADS:
            value = rate(client, threads)
            if number:  # the first round warms up
                found[threads].append(value)
    client.close()
    has_lock: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
    rates = {str(threads): median(values) for threads, values in found.items()}
    answer({"rates": rates, "has_lock": has_lock()})


if __name__ == "__main__":
    main()
