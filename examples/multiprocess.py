"""Workers by multiprocessing: `python multiprocess.py fork|spawn|forkserver`."""

import itertools
import logging
import multiprocessing
import sys
import time

import logship

logship.install()  # not below `if __name__`: spawned children import this module, and need it too

log = logging.getLogger("orders")


def work(worker):
    for order in itertools.count(1):
        log.info("order %d placed", order, extra={"worker": worker})
        time.sleep(0.005)


if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    # Daemons: Python sends them SIGTERM and waits for them when this process ends.
    workers = [context.Process(target=work, args=(n,), daemon=True) for n in range(2)]
    for worker in workers:
        worker.start()
    log.info("the workers have started")
    for worker in workers:
        worker.join()
