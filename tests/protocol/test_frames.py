"""The client's side: what goes around entries, and what the server answers."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logship._protocol.frames import AckReader, AnswerError, frame_parts
from logship.errors import ProtocolError
from tests.support.packing import pieces
from tests.support.strict_msgpack import decode

ACK = bytes.fromhex("81 a3 61636b a2 6964")  # {"ack": "id"}


def test_the_bytes_of_a_frame() -> None:
    before, behind = frame_parts("app", "id", 1, 3)
    assert before == bytes.fromhex("93 a3 617070 c403")
    assert behind == bytes.fromhex("82 a5 6368756e6b a2 6964 a4 73697a65 01")


def test_a_compressed_frame_says_with_what() -> None:
    _, behind = frame_parts("app", "id", 1, 3, compressed="gzip")
    assert decode(behind) == {"chunk": "id", "size": 1, "compressed": "gzip"}


@pytest.mark.parametrize("length", [0, 1, 255, 256, 65_535, 65_536, 1_000_000])
def test_a_frame_is_one_message_at_every_length(length: int) -> None:
    before, behind = frame_parts("app", "id", 7, length)
    frame = decode(before + bytes(length) + behind)
    assert frame == ["app", bytes(length), {"chunk": "id", "size": 7}]


@given(st.text(st.characters(codec=None)), st.text(), st.integers(0, 1 << 32))
def test_any_tag_makes_a_well_formed_frame(tag: str, chunk_id: str, entries: int) -> None:
    before, behind = frame_parts(tag, chunk_id, entries, 1)
    sent_tag, payload, option = decode(before + b"x" + behind)
    assert sent_tag == tag.encode("utf-8", "backslashreplace").decode()
    assert payload == b"x"
    assert option == {"chunk": chunk_id, "size": entries}


def test_an_ack_as_bin_is_an_ack() -> None:
    assert AckReader().feed(bytes.fromhex("81 c403 61636b c402 6964")) == ["id"]


@given(st.lists(st.text(max_size=40)), st.lists(st.integers(0, 2000)))
def test_any_split_of_the_bytes_gives_the_same_acks(ids: list[str], cuts: list[int]) -> None:
    sent = b"".join(msgpack.packb({"ack": chunk_id}) for chunk_id in ids)
    reader = AckReader()
    assert [each for piece in pieces(sent, cuts) for each in reader.feed(piece)] == ids


def test_thousands_of_acks_in_one_read() -> None:
    assert AckReader().feed(ACK * 100_000) == ["id"] * 100_000


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ("c0", 'it is "None"'),
        ("05", r'it is "\\x05", not in the forward protocol'),
        ("80", "no id under `ack`, the chunk was refused"),
        ("81 a3 61636b c0", "no id"),
        ("81 a3 61636b 05", "no id"),
        ("81 a3 6e61636b", "not an acknowledgement"),
        ("92 a4 48454c4f 80", "requires a shared key"),
        (b"HTTP/1.1 400 Bad".hex(), 'it is "HTTP/1.1 400 Bad", not in the forward protocol'),
        (b"HTTP/1.1 400 Bad Request\r\nA: b\r\nC: d".hex(), r'Request\\r\\nA: b\\r\\nC: d", not'),
        (b"HTTP/1.1 400 Bad Request\r\nDate: Sunday, 1\r\n".hex(), r'Sunday.+…" \(43 char'),
        ("c1", "not an acknowledgement"),
        ("81 a3 61636b a1 ff", "not an acknowledgement"),
        ("91" * 2000, "not an acknowledgement"),
        ("dd ffffffff", "not an acknowledgement"),
    ],
)
def test_any_other_answer_is_an_error(answer: str, fault: str) -> None:
    with pytest.raises(AnswerError, match=fault) as caught:
        AckReader().feed(bytes.fromhex(answer))
    assert isinstance(caught.value, ProtocolError)
    assert caught.value.acks == []


def test_acks_before_garbage_are_not_lost() -> None:
    with pytest.raises(AnswerError) as caught:
        AckReader().feed(ACK + ACK + b"\xc1")
    assert caught.value.acks == ["id", "id"]


def test_text_behind_acks_is_shown_from_its_beginning() -> None:
    reader = AckReader()
    reader.feed(ACK + ACK[:3])
    with pytest.raises(AnswerError, match=r'it is "HTTP/1\.1", not') as caught:
        reader.feed(ACK[3:] + b"HTTP/1.1")
    assert caught.value.acks == ["id"]


def test_an_answer_that_never_ends_is_an_error() -> None:
    reader = AckReader()
    endless = bytes.fromhex("81 a3 61636b de ffff") + b"\x01" * 65_500  # a map of 65,535 fields
    assert reader.feed(endless) == []
    with pytest.raises(AnswerError, match="longer than 65536 bytes"):
        reader.feed(b"\x01" * 100)
