"""Where a message ends: found without decoding it, in whatever pieces it comes."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logship._protocol.framing import Framer, Item
from logship.errors import ProtocolError
from tests.protocol.test_jsonlines import msgpack_values
from tests.support.memory import traced_memory

BYTES_MAX = 1 << 24
HEAD = b"\x92\xa1t"
LONG_BYTES = 4_000_000


@pytest.mark.parametrize("number", [b"\x03", b"\0\x03", b"\0\0\0\x03"])
def test_a_value_of_each_kind_ends_where_msgpack_says(number: bytes) -> None:
    for first in {*range(256)} - {0xC1}:
        value = bytes([first]) + number + b"\x01" * 100
        judge, framer = msgpack.Unpacker(), Framer(1 << 32)
        judge.feed(value)
        try:
            judge.skip()
        except msgpack.OutOfData:
            assert list(framer.feed(HEAD + value)) == [], hex(first)
            continue
        end = judge.tell()
        assert list(framer.feed(HEAD + value[: end - 1])) == [], hex(first)
        [[_, item]] = framer.feed(value[end - 1 : end])
        assert value[:end].endswith(item.data)
        assert framer.pending_bytes == 0


def test_what_begins_no_value_is_refused() -> None:
    with pytest.raises(ProtocolError, match="not msgpack: a value begins with 0xc1"):
        list(Framer(BYTES_MAX).feed(HEAD + b"\x92\x01\xc1"))


@given(msgpack_values, st.integers(1, 9))
def test_any_value_is_found_in_pieces_of_any_size(value: object, size: int) -> None:
    message = HEAD + msgpack.packb(value, unicode_errors="surrogatepass")
    framer = Framer(BYTES_MAX)
    found: list[list[Item]] = []
    for at in range(0, len(message), size):
        assert found == []
        found += framer.feed(message[at : at + size])
    assert len(found) == 1


@pytest.mark.parametrize("kind", [b"\xc6", b"\xdb", b"\xc9"], ids=["bytes", "text", "extension"])
@pytest.mark.parametrize("before", [HEAD, HEAD + b"\x91"], ids=["an item", "in an item"])
def test_what_is_incomplete_is_held_once(before: bytes, kind: bytes) -> None:
    begins = before + kind + (2 * LONG_BYTES).to_bytes(4)
    framer, piece = Framer(BYTES_MAX), bytes(65536)
    with traced_memory() as memory:
        list(framer.feed(begins))
        for _ in range(0, LONG_BYTES, len(piece)):
            assert list(framer.feed(piece)) == []
    assert LONG_BYTES < framer.pending_bytes < memory.kept_bytes < 1.2 * framer.pending_bytes


@pytest.mark.parametrize("before", [HEAD, HEAD + b"\x91"], ids=["an item", "in an item"])
def test_what_says_that_it_is_too_long_is_refused_at_once(before: bytes) -> None:
    with pytest.raises(ProtocolError, match="a message is longer than 16777216 bytes"):
        list(Framer(BYTES_MAX).feed(before + b"\xc6" + BYTES_MAX.to_bytes(4)))
