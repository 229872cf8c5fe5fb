"""Deployment files read before anything runs: what would lose logs at night is found by day."""
