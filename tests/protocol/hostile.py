"""Messages made to cost a receiver much: each small, each found in an attack or beside one."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Iterable
from typing import Any

import msgpack

from logship._protocol.compression import zstd_module

NAN = b"\xca\x7f\xc0\x00\x00"
"""Nothing that JSON knows, so that its record goes the longer way."""

HIDDEN = "".join(map(chr, [0x7F, *range(0x80, 0xA0), 0x2028, 0x2029]))
"""What JSON allows in a line and logship escapes: 71 bytes, which become 210."""


def forward(entries: bytes, tag: str = "t", **option: Any) -> bytes:
    packed: bytes = msgpack.packb([tag, entries, option])
    return packed


def entry(value: bytes) -> bytes:
    """Return an entry of one field."""
    return b"\x92\x00\x81\xa1a" + value


def array(*values: bytes, times: int = 1) -> bytes:
    """Return an array of the values, over and over."""
    return b"\xdd" + struct.pack(">I", len(values) * times) + b"".join(values) * times


def mapping(keys: Iterable[bytes]) -> bytes:
    """Return a map of these packed keys, with nil under each."""
    body = [key + b"\xc0" for key in keys]
    return b"\xdf" + struct.pack(">I", len(body)) + b"".join(body)


def json_message(value: bytes, times: int = 1) -> bytes:
    """Return a message in JSON with an array of so many of the value."""
    return b'["t",1,{"a":[' + b",".join([value] * times) + b"]}]"


def colliding(candidates: Iterable[Any]) -> Callable[[int], bytes]:
    """Return what makes a message with one key over and over that costs thousands of look-ups.

    CPython's dict looks at places in an order that the hash alone decides. Numbers fill the places
    that such an order comes by last; the key is the candidate that comes by most of them.
    """

    def message(bytes_count: int) -> bytes:
        size, place, places = 1 << 15, 7, set[int]()
        for _ in range(20_000):
            places.add(place)
            place = (5 * place + 1) % size
        key = max(candidates, key=lambda each: _looked_at(hash(_hashed(each)), places, size))
        fill = [msgpack.packb(each) for each in sorted(places)]
        repeated: bytes = msgpack.packb(key)
        repeats = (bytes_count - sum(map(len, fill))) // (len(repeated) + 1)
        return forward(entry(mapping([*fill, *[repeated] * repeats])))

    return message


def _looked_at(hash_value: int, places: set[int], size: int) -> int:
    """Return how many places a dict of `size` looks at until it comes to one that is free."""
    perturb = hash_value & 0xFFFF_FFFF_FFFF_FFFF
    place, looked_at = perturb % size, 0
    while place in places and looked_at < size:
        perturb >>= 5
        place = (5 * place + perturb + 1) % size
        looked_at += 1
    return looked_at


def _hashed(candidate: Any) -> Any:
    """Return what a decoder puts into a dict for a key."""
    if isinstance(candidate, msgpack.ExtType):
        return struct.unpack(">II", candidate.data)
    return tuple(candidate) if isinstance(candidate, list) else candidate


def _with_zstd_frames(bytes_count: int) -> bytes:
    frame = bytes(zstd_module().compress(b""))
    return forward(frame * (bytes_count // len(frame)), compressed="zstd")


def _with_gzip_members(bytes_count: int) -> bytes:
    member = gzip.compress(b"", mtime=0)
    return forward(member * (bytes_count // len(member)), compressed="gzip")


def _wide_and_narrow(bytes_count: int) -> bytes:
    wide = mapping(msgpack.packb(f"{n:x}") for n in range(bytes_count // 7))
    return forward(b"\x92\x00" + wide + b"\x92\x00\x80" * 1023)


HOSTILE: dict[str, tuple[int, Callable[[int], bytes]]] = {
    "numbers for keys, colliding": (1000, colliding(range(1 << 18, 1 << 19, 999))),
    "fractions for keys, colliding": (
        1000,
        colliding([n / 8 for n in range(1 << 18, 1 << 19, 999)]),
    ),
    "arrays for keys, colliding": (2500, colliding([[n, 1] for n in range(20_000)])),
    "times for keys, colliding": (
        2500,
        colliding([msgpack.ExtType(0, struct.pack(">II", n, 1)) for n in range(20_000)]),
    ),
    "gzip members of nothing": (400, _with_gzip_members),
    "zstd frames of nothing": (5000, _with_zstd_frames),
    "a long tag and many records": (
        5000,
        lambda n: forward(b"\x92\x00\x80" * (n // 6), tag="t" * (n // 2)),
    ),
    "one wide record among narrow ones": (1200, _wide_and_narrow),
    "arrays that say they are long": (
        500,
        lambda n: forward(entry(b"\xdd\x00\x10\x00\x00" * (n // 5))),
    ),
    "arrays that say they are as long as the message": (
        2500,
        lambda n: forward(entry((b"\xdd" + struct.pack(">I", n)) * 100 + b"\xc0" * n)),
    ),
    "arrays in arrays": (300, lambda n: forward(entry(b"\x91" * n))),
    "records of nothing": (2000, lambda n: forward(b"\x92\x00\x80" * (n // 3))),
    "records of one number that is none": (10_000, lambda n: forward(entry(NAN) * (n // 10))),
    "maps of nothing": (5000, lambda n: forward(entry(array(NAN, b"\x80", times=n // 6)))),
    "control characters": (300, lambda n: forward(entry(msgpack.packb("\0" * n)))),
    "hidden characters": (250, lambda n: forward(entry(msgpack.packb("\x7f" * n)))),
    "hidden characters of all kinds": (
        300,
        lambda n: forward(entry(msgpack.packb(HIDDEN * (n // 71)))),
    ),
    "bytes that are no text": (1500, lambda n: forward(entry(msgpack.packb(b"\xff" * n)))),
    "entries in an array, of nothing": (
        2000,
        lambda n: b"\x92\xa1t" + array(b"\x92\x00\x80", times=n // 3),
    ),
    "messages of nothing": (40_000, lambda n: b"\x92\xa1t\x90" * (n // 4)),
    "heartbeats": (3000, lambda n: b"\xc0" * n),
    "JSON: messages of nothing": (15_000, lambda n: b'["t",[]]' * (n // 64)),
    "JSON: blanks": (500, lambda n: b'["t",[]]' + b" " * n),
    "JSON: entries of nothing": (4000, lambda n: b'["t",[' + b"[0,{}]," * (n // 7) + b"[0,{}]]]"),
    "JSON: maps of nothing": (4000, lambda n: json_message(b"{}", n // 3)),
    "JSON: maps of one": (2500, lambda n: json_message(b'{"":0}', n // 7)),
    "JSON: arrays without an end": (5000, lambda n: b"[" * n),
    "JSON: arrays in arrays": (5000, lambda n: b"[" * (n // 2) + b"]" * (n // 2)),
    "JSON: texts of nothing": (500, lambda n: json_message(b'""', n // 3)),
    "JSON: texts of an escape": (1500, lambda n: json_message(b'"\\""', n // 5)),
    "JSON: escapes": (250, lambda n: json_message(b'"' + b"\\u007f" * (n // 6) + b'"')),
    "JSON: hidden characters": (350, lambda n: json_message(b'"' + b"\x7f" * n + b'"')),
    "JSON: digits": (150, lambda n: json_message(b"1" * n)),
    "JSON: digits of a fraction": (150, lambda n: json_message(b"1." + b"1" * n)),
    "JSON: numbers that are none": (1000, lambda n: json_message(b"NaN", n // 4)),
    "JSON: integers": (1000, lambda n: json_message(b"1", n // 2)),
    "JSON: one name over and over": (
        500,
        lambda n: json_message(b"{" + b'"a":0,' * (n // 6) + b'"a":0}'),
    ),
}
"""For each kind, the nanoseconds of CPU that a byte may cost, several times what was measured, and
what makes a message of about so many bytes."""
