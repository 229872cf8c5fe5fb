"""What puts entries together does as joining their parts does, and keeps no more than it says."""

from __future__ import annotations

import msgpack
import pytest

from logship.protocol import layouts
from logship.protocol.layouts import DATA_BYTES_MAX, PAIR_SHIFT, Around, Layouts, text_header

BEGINNING, NANOSECONDS = b"\x92\xd7\x00abcd", 123_456_789
STAMP = b"stamp:", b"007"


def an_around(behind: bytes = b"\xa1b\xa1c") -> Around:
    return Around(b"\x83", b"\xa1a", b"\xa1m", behind, {}, {})


def put_together(layout: layouts.Layout, *parts: bytes) -> bytes:
    put, size = layout
    assert put is not None
    memory = bytearray(b"." * (size + 4))
    put(memory, 2, BEGINNING, NANOSECONDS, *parts, *STAMP)
    assert memory.startswith(b"..")
    assert memory.endswith(b"..")
    return bytes(memory[2:-2])


def joined(*parts: bytes) -> bytes:
    return b"".join((BEGINNING, NANOSECONDS.to_bytes(4, "big"), *parts, *STAMP))


@pytest.mark.parametrize("size", [0, 31, 32, 255, 256, 511, 512, 0xFFFF, 0x10000, 1 << 20])
def test_a_header_is_that_of_msgpack(size: int) -> None:
    packed = msgpack.packb("x" * size)
    assert text_header(size) + b"x" * size == packed


@pytest.mark.parametrize("size", [0, 1, 31, 32, 255, 256, 4000])
def test_an_entry_of_a_text_is_put_together_as_it_would_be_joined(size: int) -> None:
    kept, around, data = Layouts((6, 3)), an_around(), b"x" * size
    lead, same, behind, put, entry_bytes = kept.of_text(around, data)
    whole = joined(b"\x83", b"\xa1a", text_header(size), data, around.behind)
    assert put_together((put, entry_bytes), lead, same, behind) == whole
    assert around.of_text == {size: (lead, put, entry_bytes)}


@pytest.mark.parametrize("size", [0, 31, 32, 255, 256])
@pytest.mark.parametrize("more_size", [0, 31, 32, 300])
def test_an_entry_of_two_texts_is_put_together_in_the_same_way(size: int, more_size: int) -> None:
    kept, around, data, more = Layouts((6, 3)), an_around(), b"x" * size, b"y" * more_size
    headers = text_header(size), text_header(more_size)
    parts = b"\x83", b"\xa1a", headers[0], data, b"\xa1m", headers[1], more, around.behind
    for kept_max in (1, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(layouts, "KEPT_MAX", kept_max)
            lead, data, middle, second, behind, put, entry_bytes = kept.of_texts(around, data, more)
        texts = (data,) if second is None else (data, middle, second)
        assert put_together((put, entry_bytes), lead, *texts, behind) == joined(*parts)
        data = b"x" * size
    assert [*around.of_texts] == [size << PAIR_SHIFT | more_size]
    assert [*kept.of_rest] == [sum(map(len, parts)) - 1]


def test_more_texts_than_are_kept_are_joined_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "KEPT_MAX", 2)
    kept, around = Layouts((6, 3)), an_around()
    for size in (1, 2, 3, 3, 4):
        lead, data, behind, put, entry_bytes = kept.of_text(around, b"x" * size)
        whole = joined(b"\x83", b"\xa1a", text_header(size), b"x" * size, around.behind)
        assert put_together((put, entry_bytes), lead, data, behind) == whole
    assert [*around.of_text] == [1, 2]
    assert [*kept.of_rest] == [3 + 3 + 4, 3 + 4 + 4]
    kept.forget()
    assert not around.of_text  # somebody may still ask for what is around them
    kept.of_text(around, b"x")
    assert [*around.of_text] == [1]


def test_of_long_entries_none_is_kept() -> None:
    kept, around = Layouts((6, 3)), an_around()
    for size in (DATA_BYTES_MAX - 3, DATA_BYTES_MAX + 1, 1 << 20):
        lead, data, behind, put, _ = kept.of_text(around, b"x" * size)
        assert put is None
        whole = b"\x83\xa1a" + text_header(size) + b"x" * size + around.behind
        assert lead + data + behind == whole
        assert kept.keep_of_rest(size + 4)[0] is None
        lead, data, middle, more, behind, put, _ = kept.of_texts(around, b"x" * size, b"yz")
        assert put is None
        assert more is not None
        assert (
            lead + data + middle + more + behind
            == whole.removesuffix(around.behind) + b"\xa1m\xa2yz" + around.behind
        )
    assert not around.of_text
    assert not around.of_texts
    assert not kept.of_rest


def test_the_rest_behind_a_map_header() -> None:
    kept = Layouts((6, 3))
    for rest in (b"", b"\xa1a\xa1b", b"x" * DATA_BYTES_MAX):
        layout = kept.keep_of_rest(len(rest))
        assert put_together(layout, b"\x81", rest, b"") == joined(b"\x81", rest)
        assert kept.of_rest[len(rest)] is layout
