"""A program whose threads log: `python threads.py`."""

import itertools
import logging
import threading
import time

import logship

logship.install()

log = logging.getLogger("orders")


def work(worker):
    for order in itertools.count(1):
        log.info("order %d placed", order, extra={"worker": worker})
        time.sleep(0.005)


for worker in range(4):
    threading.Thread(target=work, args=(worker,)).start()
