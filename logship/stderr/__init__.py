"""Standard error as the last resort: written without ever waiting for it."""
