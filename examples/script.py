"""A plain script that works until it is stopped: `python script.py`."""

import itertools
import logging
import time

import logship

logship.install()

log = logging.getLogger("orders")

for order in itertools.count(1):
    log.info("order %d placed", order, extra={"order": order})
    time.sleep(0.002)
