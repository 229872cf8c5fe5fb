"""The old place of `logship.stderr`, for imports that are not changed yet."""

from logship.stderr.last_resort import (
    LastResort,
    Spill,
    SpillCost,
    flush_standard_streams,
    spilled_lines,
)

__all__ = ["LastResort", "Spill", "SpillCost", "flush_standard_streams", "spilled_lines"]
