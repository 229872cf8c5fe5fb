"""The example for uvicorn, with a handler of its own."""

import own_handler  # noqa: F401
from asgi_app import app  # noqa: F401
