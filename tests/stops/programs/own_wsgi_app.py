"""The example for gunicorn, with a handler of its own."""

import own_handler  # noqa: F401
from wsgi_app import app  # noqa: F401
