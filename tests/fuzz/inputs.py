"""Inputs: the corpora, and what hypothesis makes of them."""

from __future__ import annotations

from functools import reduce

from hypothesis import strategies as st

from tests.fuzz.targets import CORPUS

BYTES_MAX = 60_000
PARTS = [
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b"\\",
        b":",
        b",",
        b" ",
        b"\n",
        b"\t",
        b"\r",
        b"\0",
        b"=",
        b"<",
    ),
    *(b": [1.1, {", b"<match ", b"${A-", b"&a [", b"*a,", b"<<: *a\n", b'{"log":"', b"- ", b"#"),
    *(b"\x1f\x8b\x08\0\0\0\0\0\0\3\3\0\0\0\0\0\0\0\0\0", b"\x28\xb5\x2f\xfd", b"\xc1", b"\x91"),
    *(
        b"\x81",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\x7f\xff\xff\xff",
        b"\xd7\0",
    ),
    *(b"64MiB", b"1e308h", b"5 ms", b"_", b"kB"),
    *(b"logship_id", b'"logship":"drain report"', "\u2028".encode(), b"\x9b31m", b"\xed\xa0\x80"),
]
"""What the readers know, and what has cost one of them its input's length squared."""


def corpus_of(target: str) -> list[bytes]:
    folder = CORPUS / target
    return [each.read_bytes() for each in sorted(folder.iterdir())] if folder.is_dir() else []


def inputs_for(target: str) -> st.SearchStrategy[bytes]:
    """Return what makes inputs: pinned ones that were edited, repetitions, and any bytes."""
    repeated = st.builds(
        lambda part, count, end: (part * count)[:BYTES_MAX] + end,
        st.sampled_from(PARTS),
        st.integers(1, 6_000),
        st.binary(max_size=4),
    )
    pinned = [*corpus_of(target), b""]
    edited = st.builds(
        lambda data, edits: reduce(_edited, edits, data),
        st.sampled_from(pinned),
        st.lists(st.tuples(st.integers(0, 65_535), st.integers(0, 64), _PIECES), max_size=4),
    )
    return st.one_of(edited, repeated, st.binary(max_size=400))


_PIECES = st.one_of(
    st.binary(max_size=8),
    st.sampled_from(PARTS),
    st.builds(lambda part, count: part * count, st.sampled_from(PARTS), st.integers(1, 300)),
)


def _edited(data: bytes, edit: tuple[int, int, bytes]) -> bytes:
    """Put a piece in the place of some bytes."""
    at, removed, piece = edit
    at = at * (len(data) + 1) // 65_536
    return data[:at] + piece + data[at + removed :]
