"""Records of every kind that an application may log, by name; the same on every Python."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import logging
import pathlib
import uuid
from collections import OrderedDict, deque, namedtuple
from collections.abc import Mapping
from typing import Any, NamedTuple

NOON_NS = 1_760_000_000_123_456_789


class Input(NamedTuple):
    """What is logged, and when.

    Attributes:
        record: Anything.
        time_ns: Nanoseconds since 1970.
    """

    record: Any
    time_ns: int = NOON_NS


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Person:
    name: str
    age: int


class Text(str):
    __slots__ = ()


class Shown:
    def __repr__(self) -> str:
        return "<shown>"


class Unreadable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


Point = namedtuple("Point", "x y")


def _inside_itself() -> dict[str, Any]:
    items: list[Any] = [1]
    items.append(items)
    return {"message": "m", "items": items}


def _nested(depth: int) -> dict[str, Any]:
    value: Any = "leaf"
    for level in range(depth):
        value = {"in": value} if level % 2 else [value]
    return {"message": "m", "value": value}


def inputs() -> dict[str, Input]:
    records: dict[str, Any] = {
        "text": {"message": "hello"},
        "empty": {},
        "unicode": {"message": "Grüße 世界 🦀 e\u0301 \u2028 \x00 \x7f", "ключ": "значение"},
        "lone surrogates": {"message": "a\udc80b", "\ud800": 1},
        "text lengths": {f"t{n}": "y" * n for n in (0, 31, 32, 255, 256, 65_535, 65_536)},
        "nested": {"a": {"b": [1, {"c": [None, True, 2.5]}]}, "message": "m"},
        "nested 64": _nested(62),
        "nested 100": _nested(100),
        "floats": {"list": [0.1, -0.0, 1e308, 5e-324, 1.0, 2.0**53], "top": 3.5},
        "not finite": {"nan": float("nan"), "in": [float("inf"), -float("inf")]},
        "integers": {f"i{n}": n for n in _WIDTHS},
        "big integers": {"a": 2**64, "b": -(2**63) - 1, "c": [10**30], "d": 10**5000},
        "plain": {"none": None, "true": True, "false": False},
        "bytes": {"utf8": "ä".encode(), "raw": b"\xff\x00", "array": bytearray(b"abc"), b"k": 1},
        "keys": {1: "a", None: "b", 2.5: "c", (1, "t"): "d", False: "e", Colour.RED: "f"},
        "keys that become equal": {"1": "text", 1: "number", Text("x"): 1},
        "key in a nested mapping": {"in": {1: {None: 2}}},
        "dates": {
            "time": datetime.datetime(2026, 11, 20, 8, 15, 2, 117, datetime.UTC),
            "date": datetime.date(1969, 12, 31),
            "delta": datetime.timedelta(days=1, microseconds=1),
        },
        "standard types": {
            "decimal": decimal.Decimal("1.10"),
            "uuid": uuid.UUID(int=5),
            "path": pathlib.PurePosixPath("/a/b"),
            "enum": Colour.RED,
            "int enum": Level.HIGH,
            "complex": 1 + 2j,
            "range": range(3),
        },
        "containers": {
            "tuple": (1, "b"),
            "set": {7},
            "frozen": frozenset({"q"}),
            "deque": deque([1, 2]),
            "named": Point(1, 2),
            "ordered": OrderedDict(z=1, a=2),
        },
        "dataclass": {"person": Person("Zoë", 3)},
        "subclasses": {"text": Text("sub"), "flag": Level.HIGH, Text("key"): Text("value")},
        "objects": {"shown": Shown(), "unreadable": Unreadable(), "error": ValueError("why")},
        "inside itself": _inside_itself(),
        "16 fields": {f"f{n}": n for n in range(16)},
        "15 fields": {f"f{n}": n for n in range(15)},
        "14 fields": {f"f{n}": n for n in range(14)},
        "300 fields": {f"f{n}": f"v{n}" for n in range(300)},
        "reserved names": {
            "logship_id": "forged",
            "logship_gap": [1, 2, "x"],
            "logship_end": True,
            "logship": "drain report",
            "app_logship_id": "taken",
            "in": {"logship_id": "not at the top"},
        },
        "no mapping: text": "just text",
        "no mapping: list": [1, "two"],
        "no mapping: none": None,
    }
    times = {
        "time 0": 0,
        "time 1 ns": 1,
        "time end of second": 999_999_999,
        "time before 1970": -1,
        "time long before 1970": -62_135_596_800_000_000_000,
        "time last of 2106": (2**32 - 1) * 10**9 + 999_999_999,
        "time after 2106": 2**32 * 10**9,
        "time of 64 bits": 2**64 - 1,
        "time of 100 bits": 2**100,
        "time below 64 bits": -(2**63) - 1,
        "time of 10000 digits": 10**10_000,
    }
    found = {name: Input(record) for name, record in records.items()}
    return found | {name: Input({"message": name}, time_ns) for name, time_ns in times.items()}


_EDGES = [n for bits in (7, 8, 15, 16, 31, 32, 63) for n in (2**bits - 1, 2**bits, -(2**bits))]
_WIDTHS = [0, -1, -32, -33, 2**64 - 1, *_EDGES]


def redacted(record: Mapping[Any, Any]) -> dict[Any, Any]:
    """Be an application's `redact`: it takes the password away."""
    return {**record, "password": "***"} if "password" in record else dict(record)


REDACTED: dict[str, Input] = {
    "redact: password": Input({"message": "login", "password": "hunter2"}),
    "redact: nothing to do": Input({"message": "plain"}),
}

TOO_LARGE: dict[str, Input] = {
    "too large: one text": Input({"message": "z" * 40_000, "short": "kept", "n": 5}),
    "too large: several texts": Input({f"t{n}": "w" * 9_000 for n in range(5)}),
    "too large: cut in a character": Input({"message": "ü🦀" * 10_000}),
    "too large: many fields": Input({f"field {n}": n for n in range(5_000)}),
}
"""For a client whose `buffer_bytes_max` is 64 KiB, so that an entry may have 32 KiB."""


def log_records() -> dict[str, logging.LogRecord]:
    """Return what `logging` gives a handler, by name, all of one moment."""

    def made(text: Any, *args: Any, severity: int = logging.INFO, **more: Any) -> logging.LogRecord:
        record = logging.LogRecord("shop.cart", severity, "cart.py", 7, text, args, None, "add")
        record.created = 1_760_000_000.25
        record.__dict__.update(more)
        return record

    return {
        "plain": made("hello"),
        "arguments": made("%s bought %d at %.2f", "Zoë", 3, 9.99, severity=logging.WARNING),
        "extra": made("paid", amount=12.5, order={"id": 7, "lines": [1, 2]}),
        "extra with taken names": made("paid", level="mine", logger="mine"),
        "reserved extra": made("paid", logship_id="forged"),
        "thread": made("in a thread", threadName="worker-1"),
        "error of another process": made("failed", exc_text="Traceback: ValueError"),
        "stack": made("where", stack_info="Stack (most recent call last):\n  here"),
        "no text": made({"a": 1}),
        "level of its own": made("trace", severity=5, levelname="TRACE"),
        "arguments that do not fit": made("%d items", "many"),
    }
