"""Reads deployment files before a rollout, and finds mistakes that would lose logs."""
