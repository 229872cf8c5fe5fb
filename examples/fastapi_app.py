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
        "handlers": {"logship": {"()": "logship.installed_handler"}},
        "root": {"handlers": ["logship"], "level": "INFO"},
        # uvicorn does not pass its own lines to the root logger; this setting does.
        "loggers": {"uvicorn": {"propagate": True}, "uvicorn.access": {"propagate": True}},
    }
)

log = logging.getLogger("orders")
app = FastAPI()


@app.get("/orders/{order}")
async def place(order: int):
    log.info("/orders/%d placed", order, extra={"order": order})
    return {"placed": order}
