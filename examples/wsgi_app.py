"""A WSGI application, for gunicorn and uWSGI; how to start it is in README.md."""

import logging

import logship

logship.install()

log = logging.getLogger("orders")


def app(environ, start_response):
    log.info("%s placed", environ["PATH_INFO"], extra={"method": environ["REQUEST_METHOD"]})
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]
