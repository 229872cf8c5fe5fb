"""python-json-logger for the console, logship for the sidecar: `python json_logger.py`."""

import logging
import sys

from pythonjsonlogger.json import JsonFormatter

import logship

console = logging.StreamHandler(sys.stdout)
console.setFormatter(JsonFormatter("%(levelname)s %(name)s %(message)s"))
logging.basicConfig(level=logging.INFO, handlers=[console])

logship.install()  # no formatter on logship's handler: `extra` is fields there already

log = logging.getLogger("orders")
log.info("order placed", extra={"shop": "north", "order": 4711, "items": ["tea", "cup"]})
try:
    raise ValueError("out of tea")
except ValueError:
    log.exception("order failed", extra={"shop": "north", "order": 4712})
