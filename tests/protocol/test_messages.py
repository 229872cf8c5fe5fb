"""The server's side: all four modes as clients send them, and nothing taken that is not whole."""

from __future__ import annotations

import bz2
import gzip
import json
import sys
from types import ModuleType
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from logship._protocol.compression import compressor
from logship._protocol.frames import frame_parts
from logship._protocol.messages import Message, MessageReader, ack_message
from logship._protocol.payloads import payload_lines
from logship.errors import ProtocolError
from tests.support.memory import traced_memory
from tests.support.packing import pack_record, pieces

OPTION = "82 a5 6368756e6b a2 6964 a4 73697a65 01"  # {"chunk": "id", "size": 1}
ENTRY = "92 d700 00000001 00000002 81 a161 01"
ENTRY_BYTES = bytes.fromhex(ENTRY)
LINE = b'{"tag":"app","time_ns":1000000002,"record":{"a":1}}\n'
ACK = ack_message("id")


def read(*pieces: bytes | str) -> list[Message]:
    """Feed the pieces, given as bytes or in hexadecimal, to one reader; return all messages."""
    reader = MessageReader(payload_lines)
    messages: list[Message] = []
    for piece in pieces:
        messages += reader.feed(bytes.fromhex(piece) if isinstance(piece, str) else piece)
    assert reader.pending_bytes == 0
    return messages


def packed_forward(payload: Any, **option: Any) -> bytes:
    sent: bytes = msgpack.packb(["app", payload, option])
    return sent


@pytest.mark.parametrize(
    "sent",
    [
        f"94 a3 617070 d700 00000001 00000002 81 a161 01 {OPTION}",
        f"93 a3 617070 91 {ENTRY} {OPTION}",
        f"93 a3 617070 c40f {ENTRY} {OPTION}",
        f"93 a3 617070 af {ENTRY} {OPTION}",
        f"93 c403 617070 c40f {ENTRY} {OPTION}",
        f"dc0003 da0003 617070 dd00000001 {ENTRY} {OPTION}",
        f"93 a3 617070 dc0001 {ENTRY} {OPTION}",
    ],
)
def test_each_mode_by_its_bytes(sent: str) -> None:
    assert read(sent) == [Message(LINE, 1, ACK)]


def test_a_frame_of_our_client_is_a_message() -> None:
    before, behind = frame_parts("app", "id", 2, 2 * len(ENTRY_BYTES))
    expected = Message(LINE * 2, 2, ACK)
    assert read(before, ENTRY_BYTES, ENTRY_BYTES, behind) == [expected]


@pytest.mark.parametrize(
    "payload",
    [
        gzip.compress(ENTRY_BYTES * 2),
        gzip.compress(ENTRY_BYTES) + gzip.compress(ENTRY_BYTES),
        gzip.compress(ENTRY_BYTES[:5]) + gzip.compress(ENTRY_BYTES[5:] + ENTRY_BYTES),
    ],
    ids=["one", "two", "an entry across two"],
)
def test_gzip_of_one_member_and_of_several(payload: bytes) -> None:
    [message] = read(packed_forward(payload, compressed="gzip", size=2))
    assert message == Message(LINE * 2, 2, b"")


def test_zstd_without_a_python_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    monkeypatch.setitem(sys.modules, "backports.zstd", None)
    with pytest.raises(ProtocolError, match=r"pip install backports\.zstd"):
        read(packed_forward(b"x", compressed="zstd"))


def test_zstd_through_the_interface_that_python_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # bz2's decompressor has the interface that compression.zstd documents for its own.
    stand_in = ModuleType("compression.zstd")
    stand_in.ZstdDecompressor = bz2.BZ2Decompressor  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "compression", ModuleType("compression"))
    monkeypatch.setitem(sys.modules, "compression.zstd", stand_in)
    payload = bz2.compress(ENTRY_BYTES) + bz2.compress(ENTRY_BYTES)
    [message] = read(packed_forward(payload, compressed="zstd"))
    assert message.lines == LINE * 2


@pytest.mark.parametrize("method", ["none", "gzip", "zstd"])
def test_what_the_client_compresses_is_read(method: str) -> None:
    try:
        compress = compressor(method)
    except ImportError:
        pytest.skip("no zstd: since Python 3.14, or from backports.zstd")
    if compress is None:
        assert method == "none"
        return
    payload = compress(bytearray(ENTRY_BYTES * 50))
    assert len(payload) < len(ENTRY_BYTES) * 50
    assert read(packed_forward(payload, compressed=method))[0].lines == LINE * 50


@pytest.mark.parametrize("option", [{}, None])
def test_without_a_chunk_no_acknowledgement_is_wanted(option: Any) -> None:
    [message] = read(msgpack.packb(["app", ENTRY_BYTES, option]))
    assert message.ack == b""
    assert read(msgpack.packb(["app", ENTRY_BYTES])) == [message]


def test_a_message_may_have_no_records() -> None:
    assert read(packed_forward(b"", chunk="id")) == [Message(b"", 0, ACK)]
    assert read(msgpack.packb(["app", [], {"size": 0}])) == [Message(b"", 0, b"")]


def test_a_heartbeat_stands_for_nothing() -> None:
    assert read("c0 c0", packed_forward(ENTRY_BYTES), "c0") == [Message(LINE, 1, b"")]


@pytest.mark.parametrize("option", [{"fluent_signal": 0}, {"size": len(ENTRY_BYTES)}, {"size": ""}])
def test_other_options_are_left_alone(option: dict[str, Any]) -> None:
    """Some clients have the number of bytes as `size`, and servers ignore it."""
    sent = packed_forward(ENTRY_BYTES, compressed="text", chunk="id", **option)
    assert read(sent) == [Message(LINE, 1, ACK)]


def test_a_payload_sent_as_text_keeps_every_byte() -> None:
    entry = pack_record({"message": "é", "n": -1.5, "all": [200, -200, 1 << 40]}, 255, 0)
    as_text = b"\x93\xa3app\xd9" + bytes([len(entry)]) + entry + b"\x80"
    expected = {"message": "é", "n": -1.5, "all": [200, -200, 1 << 40]}
    assert json.loads(read(as_text)[0].lines)["record"] == expected


@pytest.mark.parametrize(
    ("chunk", "ack"),
    [
        ("a2 6964", "81 a3 61636b a2 6964"),
        ("c402 6964", "81 a3 61636b a2 6964"),
        ("a2 ff00", "81 a3 61636b a2 ff00"),
    ],
)
def test_the_acknowledgement_repeats_the_id_byte_for_byte(chunk: str, ack: str) -> None:
    [message] = read(f"93 a3 617070 c400 81 a5 6368756e6b {chunk}")
    assert message.ack == bytes.fromhex(ack)


@pytest.mark.parametrize(
    ("sent", "fault"),
    [
        ("05", r"a message begins with b'\\x05', not an array"),
        ("a2 6869", "a message begins with b'.xa2hi'"),
        ("80", "a message begins with"),
        ("90", "a message begins with"),
        ("91 a3 617070", "a message begins with"),
        ("95 a3 617070 00 80 80 80", "a message begins with"),
        ("93 05 90 80", "a tag is not text"),
        ("92 a3 617070 00", "neither entries nor a time"),
        (f"93 a3 617070 c40f {ENTRY} 05", 'an option is "5"'),
        (f"93 a3 617070 c40f {ENTRY} 81 a5 6368756e6b 05", 'the option `chunk` is "5"'),
        (f"94 a3 617070 c40f {ENTRY} 80 80", "neither entries nor a time"),
        ("93 a3 617070 c40e 92 d700 00000001 00000002 81 a161 80", "entries end 14 bytes into one"),
        ("93 a3 617070 c403 78797a 80", "not an array"),
        ("93 a3 617070 91 92 00 a161 80", "a record is a str"),
        ("93 a3 617070 91 05 80", "an entry is not an array"),
        ("93 a3 617070 00 05", "a record is a int"),
        ("93 a3 617070 a5 6e6f772121 80", "not an array"),
        ("93 a3 617070 c0 80", "a time is NoneType"),
        ("93 a1 61" + "91" * 3000 + "90 80", "not msgpack"),
        ("93 db 00ffffff", "longer than 16777216 bytes"),
        ("92 da 2001" + "61" * 8193 + "90", "a tag is longer than 8192 bytes"),
        ("93 a1 61 90 81 a161 c5 ffff" + "00" * 65535, "a map of at most 65536 bytes"),
        ("93 a1 61 90 81 01 00", "an option cannot be decoded"),
        ("93 a1 61 90 a161", "an option is not a map"),
        ("c1", "a message begins with"),
        (
            "16 0301 0200 01 00 01 fc 03 03",
            r"a message begins with b'.x16.x03.x01.*; the peer speaks TLS, and this side does not",
        ),  # a TLS ClientHello
        ("474554202f20485454502f312e31", "a message begins with b'GET / HT'"),  # GET / HTTP/1.1
        ("96 a4 50494e47 a0 a0 a0 a0 a0", "a message begins with b'.x96.xa4PING"),
    ],
)
def test_what_is_not_whole_and_valid_is_refused(sent: str, fault: str) -> None:
    with pytest.raises(ProtocolError, match=fault):
        read(sent)


@pytest.mark.parametrize(
    ("payload", "compressed", "fault"),
    [
        (ENTRY_BYTES, "gzip", "are not gzip"),
        (gzip.compress(ENTRY_BYTES)[:-1], "gzip", "middle of their gzip"),
        (gzip.compress(ENTRY_BYTES) + b"rest", "gzip", "are not gzip"),
        (gzip.compress(ENTRY_BYTES[:-1]), "gzip", "entries end 14 bytes into one"),
        (ENTRY_BYTES, "lzma", "compressed with \"'lzma'\""),
        (ENTRY_BYTES, 5, 'compressed with "5"'),
        (ENTRY_BYTES, ["gzip"], "compressed with"),
    ],
    ids=["plain", "cut", "rest", "cut entry", "unknown", "number", "list"],
)
def test_what_does_not_decompress_is_refused(payload: bytes, compressed: Any, fault: str) -> None:
    with pytest.raises(ProtocolError, match=fault):
        read(packed_forward(payload, compressed=compressed))


def test_good_messages_before_a_fault_are_not_lost() -> None:
    messages = MessageReader(payload_lines).feed(
        packed_forward(ENTRY_BYTES, chunk="id") * 2 + b"\xc1"
    )
    assert [next(messages).ack, next(messages).ack] == [ACK, ACK]
    with pytest.raises(ProtocolError):
        next(messages)


def test_a_decompression_bomb_is_bounded() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < 100_000
    reader = MessageReader(payload_lines, bytes_max=1_000_000)
    sent = packed_forward(bomb, compressed="gzip")
    with (
        traced_memory() as memory,
        pytest.raises(ProtocolError, match="decompress to more than 1000000 bytes"),
    ):
        list(reader.feed(sent))
    assert memory.peak_bytes < 10_000_000


def test_a_bomb_of_many_members_is_bounded() -> None:
    bomb = gzip.compress(bytes(400_000)) * 3
    reader = MessageReader(payload_lines, bytes_max=1_000_000)
    with pytest.raises(ProtocolError, match="decompress to more than 1000000 bytes"):
        list(reader.feed(packed_forward(bomb, compressed="gzip")))


def test_exactly_as_much_as_is_allowed_decompresses() -> None:
    payload = gzip.compress(ENTRY_BYTES)
    reader = MessageReader(payload_lines, bytes_max=len(packed_forward(payload, compressed="gzip")))
    assert list(reader.feed(packed_forward(payload, compressed="gzip")))
    tight = gzip.compress(ENTRY_BYTES * 1000)
    sent = packed_forward(tight, compressed="gzip")
    assert list(MessageReader(payload_lines, bytes_max=1000 * len(ENTRY_BYTES)).feed(sent))
    with pytest.raises(ProtocolError):
        list(MessageReader(payload_lines, bytes_max=1000 * len(ENTRY_BYTES) - 1).feed(sent))


def test_a_message_longer_than_allowed_is_refused_before_it_is_whole() -> None:
    reader = MessageReader(payload_lines, bytes_max=10_000)
    with pytest.raises(ProtocolError, match="longer than 10000 bytes"):
        list(reader.feed(b"\x93\xa3app\xc6\x00\x01\x00\x00"))  # bin of 65,536 bytes
    reader = MessageReader(payload_lines, bytes_max=10_000)
    assert not list(reader.feed(b"\x93\xa3app\xdd\x00\x00\x50\x00"))  # 20,480 entries
    with pytest.raises(ProtocolError, match="longer than 10000 bytes"):
        list(reader.feed(ENTRY_BYTES * 700))


def test_many_messages_in_one_read_are_not_one_long_message() -> None:
    sent = packed_forward(ENTRY_BYTES, chunk="id")
    reader = MessageReader(payload_lines, bytes_max=len(sent))
    assert len(list(reader.feed(sent * 1000))) == 1000


valid_frames = [
    packed_forward(ENTRY_BYTES * 3, chunk="id", size=3),
    msgpack.packb(["app", [[1, {"a": [1, {"b": None}]}], [2.5, {}]], {"chunk": "id"}]),
    msgpack.packb(["app", 1, {"message": "x" * 40}]),
    packed_forward(gzip.compress(ENTRY_BYTES * 3, mtime=0), chunk="id", compressed="gzip"),
]


@given(
    st.lists(st.sampled_from(valid_frames), max_size=5), st.lists(st.integers(0, 500), max_size=8)
)
@example([*valid_frames, b"\xdc\x00\x02\xa1t\x90"], [*range(500)])  # byte by byte
def test_any_split_of_the_bytes_reads_the_same(frames: list[bytes], cuts: list[int]) -> None:
    sent = b"".join(frames)
    assert read(*pieces(sent, cuts)) == [message for frame in frames for message in read(frame)]
