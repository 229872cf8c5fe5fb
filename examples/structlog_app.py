"""structlog, whose key-value pairs become fields of the record: `python structlog_app.py`."""

import structlog

import logship

logship.install()
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.filter_by_level,
        structlog.stdlib.render_to_log_kwargs,  # the event is the message, the rest is `extra`
    ],
    wrapper_class=structlog.stdlib.BoundLogger,
    logger_factory=structlog.stdlib.LoggerFactory(),
)

log = structlog.get_logger("orders").bind(shop="north")
log.info("order placed", order=4711, items=["tea", "cup"])
try:
    raise ValueError("out of tea")
except ValueError:
    log.exception("order failed", order=4712)
