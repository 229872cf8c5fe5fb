"""The old place of `logship.stderr`, for imports that are not changed yet."""

from logship.stderr.last_resort import LastResort
from logship.stderr.spill import Spill, SpillCost, spilled_lines
from logship.stderr.streams import flush_standard_streams

__all__ = ["LastResort", "Spill", "SpillCost", "flush_standard_streams", "spilled_lines"]
