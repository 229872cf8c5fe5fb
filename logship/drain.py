"""The old place of `logship.delivery.drain`, for imports that are not changed yet."""

from logship.delivery.drain import (
    RESERVE_SECONDS_MIN,
    SPILL_SECONDS_PER_BYTE,
    DrainPlan,
    Progress,
    Step,
)

__all__ = ["RESERVE_SECONDS_MIN", "SPILL_SECONDS_PER_BYTE", "DrainPlan", "Progress", "Step"]
