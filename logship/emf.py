"""The old place of `logship.metrics.emf`, for imports that are not changed yet."""

from logship.metrics.emf import emf_line

__all__ = ["emf_line"]
