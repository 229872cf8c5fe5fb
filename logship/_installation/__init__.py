"""One line in an entrypoint: from `logging`, structlog and loguru to a client."""
