"""An ASGI application, for uvicorn and gunicorn's uvicorn workers; see README.md."""

import logging

import logship

logship.install()

log = logging.getLogger("orders")


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    log.info("%s placed", scope["path"], extra={"method": scope["method"]})
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
