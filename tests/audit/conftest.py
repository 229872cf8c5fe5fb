"""How many examples the property tests of the audit take: the same ones on every run."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "audit",
    max_examples=150,
    deadline=None,  # no test asserts a time
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("audit")
