"""Checks from where the application runs whether its records would arrive, and survive its end.

These are not health checks. An application can wait for a sidecar that is down, and must not be
killed for it. The results are for a person, or for the step before a rollout.
"""
