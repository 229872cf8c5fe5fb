"""What puts entries together does as joining their parts does, and keeps no more than it says."""

from __future__ import annotations

import msgpack
import pytest

from logship.protocol import layouts
from logship.protocol.layouts import DATA_BYTES_MAX, TEXT_HEADERS, Around, Layouts, text_header

BEGINNING, NANOSECONDS = b"\x92\xd7\x00abcd", 123_456_789
STAMP = b"stamp:", b"007"


def an_around(behind: bytes = b"\xa1b\xa1c") -> Around:
    return Around(b"\x83", b"\xa1a", b"", behind, {})


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
    assert TEXT_HEADERS[size:][:1] in ((), (text_header(size),))


@pytest.mark.parametrize("size", [0, 1, 31, 32, 255, 256, 4000])
def test_an_entry_of_a_text_is_put_together_as_it_would_be_joined(size: int) -> None:
    kept, around, data = Layouts((6, 3)), an_around(), b"x" * size
    lead, same, behind, *layout = kept.of_text(around, data)
    whole = joined(b"\x83", b"\xa1a", text_header(size), data, around.behind)
    assert put_together((layout[0], layout[1]), lead, same, behind) == whole
    assert around.of_text == {size: (lead, *layout)}


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
    kept.of_text(an_around(), b"x")
    assert kept._of_texts_kept == 1


def test_of_long_entries_none_is_kept() -> None:
    kept, around = Layouts((6, 3)), an_around()
    for size in (DATA_BYTES_MAX - 3, DATA_BYTES_MAX + 1, 1 << 20):
        lead, data, behind, put, _ = kept.of_text(around, b"x" * size)
        assert put is None
        whole = b"\x83\xa1a" + text_header(size) + b"x" * size + around.behind
        assert lead + data + behind == whole
        assert kept.keep_of_rest(size + 4)[0] is None
    assert not around.of_text
    assert not kept.of_rest


def test_the_rest_behind_a_map_header() -> None:
    kept = Layouts((6, 3))
    for rest in (b"", b"\xa1a\xa1b", b"x" * DATA_BYTES_MAX):
        layout = kept.keep_of_rest(len(rest))
        assert put_together(layout, b"\x81", rest, b"") == joined(b"\x81", rest)
        assert kept.of_rest[len(rest)] is layout
