"""The records that are measured: a text of 400 characters and the two fields that handlers add.

No two texts are the same, as in life: neither a packer nor a receiver must do for one what it did
for another. Level and logger are, as in life.
"""

from __future__ import annotations

LINE_CHARS = 400
_WORDS = "the quick brown fox jumps over the lazy dog; " * 9

LINES = [
    f"GET /orders/{number} 200 {_WORDS}"[:LINE_CHARS] for number in range(1_000_000, 1_001_000)
]
RECORDS = [{"message": line, "level": "INFO", "logger": "benchmark"} for line in LINES]
