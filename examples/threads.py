"""A program whose threads log: `python threads.py`."""

import logging
import threading

import logship

logship.install()

log = logging.getLogger("orders")
stopping = threading.Event()


def work(worker):
    order = 0
    while not stopping.wait(0.005):
        order += 1
        log.info("order %d placed", order, extra={"worker": worker})
    log.info("worker %d has ended", worker)


threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
for thread in threads:
    thread.start()
try:
    threading.Event().wait()  # until SIGTERM, which logship turns into SystemExit
finally:
    stopping.set()  # without this the interpreter would wait for the threads for ever
    for thread in threads:
        thread.join()
