"""A Celery worker with its prefork pool: `celery --app celery_app worker --concurrency 2`."""

import logging
import os

from celery import Celery
from celery.signals import setup_logging

import logship

log = logging.getLogger("orders")
app = Celery("orders", broker=os.environ.get("BROKER_URL", "amqp://"))


@setup_logging.connect  # with a receiver of this signal, Celery does not configure logging
def configure_logging(**_):
    logship.install()


@app.task(ignore_result=True)
def place(order):
    log.info("/orders/%d placed", order, extra={"order": order})
