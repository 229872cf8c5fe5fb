"""The old place of `logship.metrics.meter`, for imports that are not changed yet."""

from logship.metrics.meter import Meter

__all__ = ["Meter"]
