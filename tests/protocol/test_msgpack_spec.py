"""The judge itself: the examples of the msgpack specification, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.protocol.msgpack_spec import Extension, decode


@pytest.mark.parametrize(
    ("packed", "value"),
    [
        ("c0", None), ("c2", False), ("c3", True),
        ("7f", 127), ("e0", -32), ("ff", -1),
        ("cc80", 128), ("cd0100", 256), ("ce00010000", 65536), ("cf0000000100000000", 1 << 32),
        ("d080", -128), ("d1ff7f", -129), ("d2ffff7fff", -32769),
        ("d3ffffffff7fffffff", -2147483649),
        ("cb3ff8000000000000", 1.5), ("ca3fc00000", 1.5),
        ("a0", ""), ("a26869", "hi"), ("d9026869", "hi"), ("da00026869", "hi"),
        ("db000000026869", "hi"), ("c4020001", b"\x00\x01"), ("c500020001", b"\x00\x01"),
        ("920102", [1, 2]), ("dc00020102", [1, 2]), ("dd000000020102", [1, 2]),
        ("81a16101", {"a": 1}), ("de0001a16101", {"a": 1}), ("df00000001a16101", {"a": 1}),
        ("d400ff", Extension(0, b"\xff")),
        ("d7000000000100000002", Extension(0, b"\0\0\0\1\0\0\0\2")),
        ("c708000000000100000002", Extension(0, b"\0\0\0\1\0\0\0\2")),
    ],
)  # fmt: skip
def test_decodes_each_format(packed: str, value: Any) -> None:
    assert decode(bytes.fromhex(packed)) == value


@pytest.mark.parametrize(
    ("packed", "fault"),
    [
        ("c1", "begins no value"),
        ("a26f", "end in the middle"),
        ("9201", "end in the middle"),
        ("0102", "2 values"),
        ("a1ff", "utf-8"),
        ("82a16101a16102", "twice"),
    ],
)
def test_refuses_what_is_not_msgpack(packed: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        decode(bytes.fromhex(packed))
