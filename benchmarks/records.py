"""The records that are measured.

`VARIED` come first in every table: log lines of differing length and text, a level and a logger
that change, one integer and one float. `RECORDS` are the older shape: a text of 400 characters
beside a level and a logger that never change. `SHAPES` add to that what a call of `emit` is
measured with. No two texts of a list are the same, so that neither a packer nor a receiver can do
for one what it did for another.
"""

from __future__ import annotations

import random
from typing import Any

Record = dict[str, Any]

LINE_CHARS = 400
COUNT = 1_000
_SEED = 20
_SENTENCE = "the quick brown fox jumps over the lazy dog; " * 9

LINES = [
    f"GET /orders/{number} 200 {_SENTENCE}"[:LINE_CHARS]
    for number in range(1_000_000, 1_000_000 + COUNT)
]
RECORDS: list[Record] = [
    {"message": line, "level": "INFO", "logger": "benchmark"} for line in LINES
]

_WORDS = (
    *("accepted", "order", "payment", "retry", "connection", "from", "upstream", "answered"),
    *("user", "cart", "of", "with", "timeout", "after", "cache", "miss", "for", "key", "job"),
    *("finished", "in", "queue", "worker", "started", "naïve", "café", "no", "route", "to"),
)
_LEVELS = (("DEBUG", "INFO", "WARNING", "ERROR"), (20, 65, 10, 5))
_LOGGERS = tuple(
    f"{package}.{module}"
    for package in ("shop.orders", "shop.payments", "shop.web", "uvicorn", "sqlalchemy")
    for module in ("views", "access", "pool", "tasks")
)


def varied_records(count: int, seed: int = _SEED) -> list[Record]:
    """Return records as applications log them; the same ones for the same arguments.

    Args:
        count: How many.
        seed: Of the random numbers.
    """
    source = random.Random(seed)
    return [_varied_record(source) for _ in range(count)]


def _varied_record(source: random.Random) -> Record:
    words = source.choices(_WORDS, k=source.randint(3, 60))
    words.insert(source.randrange(len(words)), f"{source.getrandbits(48):x}")
    return {
        "message": " ".join(words),
        "level": source.choices(*_LEVELS)[0],
        "logger": source.choice(_LOGGERS),
        "order": source.randrange(10_000_000),
        "seconds": source.random() * 3.0,
    }


VARIED = varied_records(4 * COUNT)


VARIED_NAME, SAME_NAME = "varied", "same"
LISTS = {VARIED_NAME: VARIED, SAME_NAME: RECORDS}
"""What a program may be told to send."""


def _mixed(number: int) -> Record:
    return {
        "status": 200 + number % 300,
        "seconds": number / 7,
        "is_cached": number % 3 == 0,
        "user": None if number % 5 == 0 else f"user-{number}",
        "bytes": number * 1_000,
        "path": f"/orders/{number}",
    }


SHAPES: dict[str, list[Record]] = {
    "one text": RECORDS,
    "one integer": [record | {"order": at} for at, record in enumerate(RECORDS)],
    "one float": [record | {"seconds": at / 7} for at, record in enumerate(RECORDS)],
    "six mixed fields": [record | _mixed(at) for at, record in enumerate(RECORDS)],
    "one nested mapping": [
        record | {"request": {"order": at, "path": f"/orders/{at}", "seconds": at / 7}}
        for at, record in enumerate(RECORDS)
    ],
    "one tuple": [record | {"hosts": ("a", "b", at)} for at, record in enumerate(RECORDS)],
}
"""What a record holds beside the older shape: nothing but its text, and so on."""
