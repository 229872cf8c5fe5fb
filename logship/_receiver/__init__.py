"""The embedded sidecar: a forward server that acknowledges what it has written, and only that."""
