"""The record that is measured: a text of 400 characters and the two fields that handlers add."""

from __future__ import annotations

LINE_CHARS = 400
LINE = ("GET /orders/1234567 200 " + "the quick brown fox jumps over the lazy dog; " * 9)[
    :LINE_CHARS
]
RECORD = {"message": LINE, "level": "INFO", "logger": "benchmark"}
