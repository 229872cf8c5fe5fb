"""loguru, whose `extra` becomes fields of the record: `python loguru_app.py`."""

import logging

from loguru import logger

import logship

logship.install()
logging.addLevelName(5, "TRACE")  # loguru's own levels
logging.addLevelName(25, "SUCCESS")


def ship(message):
    record = message.record
    logging.getLogger(record["name"]).log(
        record["level"].no,
        record["message"],
        exc_info=record["exception"],
        extra=record["extra"],
    )


logger.remove()
logger.add(ship, level="INFO")

log = logger.bind(shop="north")
log.success("order placed", order=4711, items=["tea", "cup"])
try:
    raise ValueError("out of tea")
except ValueError:
    log.bind(order=4712).exception("order failed")
