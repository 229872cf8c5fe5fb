"""FastAPI with `dictConfig`: `uvicorn fastapi_app:app`."""

import logging
import logging.config

from fastapi import FastAPI

import logship

logship.install()
logging.config.dictConfig(
    {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {
            "logship": {"()": "logship.installed_handler"},
            "console": {"class": "logging.StreamHandler"},
        },
        "root": {"handlers": ["logship", "console"], "level": "INFO"},
        # uvicorn's own handlers go; its lines pass to the root logger instead.
        "loggers": {"uvicorn": {"propagate": True}, "uvicorn.access": {"propagate": True}},
    }
)

log = logging.getLogger("orders")
app = FastAPI()


@app.get("/orders/{order}")
async def place(order: int):
    log.info("/orders/%d placed", order, extra={"order": order})
    return {"placed": order}
