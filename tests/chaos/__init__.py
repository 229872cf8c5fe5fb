"""Real clients and real servers with something terrible between them, or a server that dies."""
