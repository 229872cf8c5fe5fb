"""Why a record is not delivered: the words of gap records, drain reports and metrics. PURE."""

from __future__ import annotations

from typing import Final

OVERFLOW: Final = "overflow"
"""The buffer was full."""

QUARANTINED: Final = "quarantined"
"""No server takes the record."""

SPILLED: Final = "spilled"
"""The record is on stderr, so it is counted as spilled and not as dropped."""

DAMAGED: Final = "damaged"
"""The spool of a dead process cannot be read there."""

EXPORTED: Final = (OVERFLOW, QUARANTINED)
"""The reasons for a drop that metrics tell apart."""

WITHHELD: Final = "withheld"
"""The application's `redact` gave no record, or failed."""

SAMPLED: Final = "sampled"
"""The setting `sample` keeps a share of such records only."""

RATE_LIMITED: Final = "rate-limited"
"""There were more records of this logger or template than a limit allows."""

ON_PURPOSE: Final = (WITHHELD, SAMPLED, RATE_LIMITED)
"""The reasons of a record that settings keep back. It is dropped, and that is not a loss."""
