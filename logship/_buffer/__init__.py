"""Records wait here between the application and the sidecar."""
