"""The old place of `logship.metrics`, for imports that are not changed yet."""

from logship.metrics import process

__all__ = ["process"]
