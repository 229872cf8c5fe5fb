"""The sizes of a deployment from its load: `logship plan`."""
