"""Checks from where the application runs: would its records arrive, and survive its end?

Nothing here is a health check. A sidecar that is down must not get an application killed that can
wait for it, so what fails here is for a person, or for the step before a rollout.
"""
