"""How many examples the property tests of the protocol take: the same ones on every run."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "protocol",
    max_examples=75,
    deadline=None,  # no test asserts a time
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("protocol")
