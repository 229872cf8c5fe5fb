"""Why a record is not delivered: the words of gap records, drain reports and metrics. PURE.

A reason is a word, and an entry in one of the tables: what it means, and what to do. The values of
the metrics' labels, their page, and the table in `docs/record.md` are made from these.
"""

from __future__ import annotations

from typing import Final

OVERFLOW: Final = "overflow"
QUARANTINED: Final = "quarantined"
SPILLED: Final = "spilled"
DAMAGED: Final = "damaged"
WITHHELD: Final = "withheld"
SAMPLED: Final = "sampled"
RATE_LIMITED: Final = "rate-limited"
MIXED: Final = "mixed"

DROPPED: Final = {
    OVERFLOW: (
        "The buffer was full.",
        "The sidecar did not keep up for longer than the buffer lasts; give it CPU, or raise "
        "buffer_bytes_max.",
    ),
    QUARANTINED: (
        "The sidecar does not take the record.",
        "No server takes these records; the warning on stderr names them.",
    ),
}
"""The record is lost, and counted as dropped."""

ELSEWHERE: Final = {
    SPILLED: (
        "The record is on stderr, so it is counted as spilled and not as dropped.",
        "Find it there, and see why the sidecar was full or gone.",
    ),
    DAMAGED: (
        "The spool of a dead process cannot be read there.",
        "The recovery report names it. Check the disk.",
    ),
    MIXED: (
        "Gaps of several reasons, one behind the other, were too many to tell apart.",
        "The metrics count the records of each reason.",
    ),
}
"""The record is not counted as dropped by this word."""

ON_PURPOSE: Final = {
    WITHHELD: (
        "The record could not be redacted.",
        "`redact` raised or gave no record; the warning on stderr says which.",
    ),
    SAMPLED: (
        "The setting `sample` keeps a share of such records only.",
        "The settings say so; raise the limits, or log less.",
    ),
    RATE_LIMITED: (
        "There were more records of this logger or template than a limit allows.",
        "The settings say so; raise the limits, or log less.",
    ),
}
"""Settings keep the record back. It is dropped, and that is not a loss."""
