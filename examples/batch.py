"""A batch that cron or a scheduled task starts, and that ends by itself: `python batch.py 1000`."""

import logging
import sys

import logship

logship.install()

log = logging.getLogger("batch")

for row in range(int(sys.argv[1])):
    log.info("row %d imported", row, extra={"row": row})
log.info("done")
