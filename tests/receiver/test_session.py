"""A connection without a socket: what each run of bytes makes the receiver do, in which order."""

from __future__ import annotations

import msgpack

from logship._protocol.messages import Message, ack_message
from logship._receiver.session import Answer, Close, Session
from tests.receiver.raw_client import frame


def received(session: Session, data: bytes) -> list[Message | Answer | Close]:
    return list(session.receive(data))


def test_records_are_written_before_they_are_acknowledged() -> None:
    events = received(Session(), frame("id", {"a": 1}, {"b": 2}))
    lines = (
        b'{"tag":"app","time_ns":1000000000,"record":{"a":1}}\n'
        b'{"tag":"app","time_ns":1000000000,"record":{"b":2}}\n'
    )
    assert events == [Message(lines, 2, ack_message("id"))]


def test_several_messages_keep_their_order() -> None:
    events = received(Session(), frame("1", {"n": 1}) + frame("2", {"n": 2}) + frame("3"))
    assert [event.ack for event in events if isinstance(event, Message)] == [
        ack_message("1"),
        ack_message("2"),
        ack_message("3"),
    ]


def test_without_a_chunk_nothing_is_acknowledged() -> None:
    [event] = received(Session(), msgpack.packb(["app", 1, {"a": 1}]))
    assert event == Message(b'{"tag":"app","time_ns":1000000000,"record":{"a":1}}\n', 1, b"")


def test_half_a_message_does_nothing_yet() -> None:
    session = Session()
    sent = frame("id", {"a": 1})
    assert received(session, sent[:10]) == []
    assert session.end() == "it ended 10 bytes into a message"
    assert len(received(session, sent[10:])) == 1
    assert session.end() is None


def test_a_fault_closes_after_what_was_good() -> None:
    good, close = received(Session(), frame("id", {"a": 1}) + b"\xc1")
    assert isinstance(good, Message)
    assert good.ack == ack_message("id")
    assert isinstance(close, Close)
    assert "not an array" in close.reason
