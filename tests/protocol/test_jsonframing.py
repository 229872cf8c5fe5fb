"""Messages in JSON: as fluent-logger for PHP and Go send them, and as an attacker would."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from logship._protocol import jsonframing
from logship._protocol.jsonframing import JsonFramer
from logship._protocol.messages import Message
from logship._receiver.session import Answer, Close, Session, counted
from tests.protocol.test_jsonlines import decoded
from tests.support.memory import traced_memory
from tests.support.pace import costs_less
from tests.support.packing import pieces

PHP = rb'["debug.test",1700000000,{"hello":"w\/\u00f6\"rld]"}]'
PHP_LINE = '{"tag":"debug.test","time_ns":1700000000000000000,"record":{"hello":"w/ö\\"rld]"}}\n'
GO = rb'["app",1700000000,{"n":1,"message":"\u003chi\u003e \\"},{"chunk":"APFTZQAAAABm=="}]'
GO_LINE = '{"tag":"app","time_ns":1700000000000000000,"record":{"n":1,"message":"<hi> \\\\"}}\n'
FORWARD = b'["app",[[1,{"n":1}],[[1.5,{"m":2}],{"n":2}]],{"chunk":"id","size":2}]'
FORWARD_LINES = (
    '{"tag":"app","time_ns":1000000000,"record":{"n":1}}\n'
    '{"tag":"app","time_ns":1500000000,"metadata":{"m":2},"record":{"n":2}}\n'
)
MESSAGES = {
    PHP: Message(PHP_LINE.encode(), 1, b""),
    GO: Message(GO_LINE.encode(), 1, b'{"ack":"APFTZQAAAABm=="}'),
    FORWARD: Message(FORWARD_LINES.encode(), 2, b'{"ack":"id"}'),
}


def received(*pieces: bytes) -> list[Message | Answer | Close]:
    session = Session()
    events = [event for piece in pieces for event in session.receive(piece)]
    assert isinstance(events[-1], Close) or session.pending_bytes == 0
    return events


def record_of(value: str) -> Any:
    """Return what the line has for a value of a record."""
    [event] = received(f'["app",1,{{"a":{value}}}]'.encode())
    assert isinstance(event, Message), event
    return decoded(event.lines)["record"]["a"]


@pytest.mark.parametrize("sent", MESSAGES, ids=["PHP", "Go", "Forward"])
def test_each_sender_by_its_bytes(sent: bytes) -> None:
    assert received(sent) == [MESSAGES[sent]]
    [event] = Session(form=counted).receive(sent)
    assert event == Message(b"", MESSAGES[sent].records, MESSAGES[sent].ack)


@pytest.mark.parametrize("between", [b"", b"\n", b" \r\n\t"])
def test_what_may_be_between_messages(between: bytes) -> None:
    assert received(PHP + between + GO + between + FORWARD + between) == [*MESSAGES.values()]


@given(
    st.lists(st.sampled_from([*MESSAGES, b"\n"]), min_size=1, max_size=6),
    st.lists(st.integers(0, 500), max_size=8),
)
@example([b"\n", GO, b"\n", FORWARD], [*range(500)])  # byte by byte
def test_any_split_of_the_bytes_reads_the_same(messages: list[bytes], cuts: list[int]) -> None:
    sent = PHP + b"".join(messages)
    expected = [MESSAGES[each] for each in [PHP, *messages] if each in MESSAGES]
    assert received(*pieces(sent, cuts)) == expected


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("1e999", "Infinity"),
        ("18446744073709551615", (1 << 64) - 1),
        ("-9223372036854775808", -(1 << 63)),
        ("18446744073709551616", "18446744073709551616"),
        ("-9223372036854775809", "-9223372036854775809"),
        ("1" * 100_000, "1" * 100_000),
        (r'"\ud83d"', r"\ud83d"),
        (r'"\ud83d\ude00 \u2028 \u0000"', "\U0001f600 \u2028 \0"),
        (r'{"k":1,"k":2}', {"k": 2}),
        ("[[],{},null,true,-0]", [[], {}, None, True, 0]),
    ],
)
def test_what_msgpack_cannot_say_is_readable(value: str, written: Any) -> None:
    assert record_of(value) == written


def test_an_id_that_is_no_text_elsewhere_is_acknowledged_as_json() -> None:
    [event] = received(b'["t",[],{"chunk":"\\u2028\\""}]')
    assert isinstance(event, Message)
    assert event.ack == b'{"ack":"\\u2028\\""}'


@pytest.mark.parametrize(
    ("sent", "fault"),
    [
        (b'{"a":1}', "a message begins with b'{\"a\":1}', not an array"),
        (PHP + b"x", "a message begins with b'x', not an array"),
        (PHP + b"\xc0", "a message begins with"),
        (PHP + b"null", "a message begins with b'null', not an array"),
        (b"[]", "a message begins with b'[]', not an array of 2 to 4 items"),
        (b'["t"]', "not an array of 2 to 4 items"),
        (b'["t",1,{},{},{}]', "not an array of 2 to 4 items"),
        (b"[1,[]]", "a tag is not text"),
        (b'["t",1]', "neither entries nor a time"),
        (b'["t","x"]', "not an array of a time and a record"),
        (b'["t",1,[]]', "a record is a list"),
        (b'["t",null,{}]', "a time is NoneType"),
        (b'["t",1e300,{}]', "a time is float"),
        (b'["t",' + b"9" * 30 + b",{}]", "not an array of a time and a record"),
        (b'["t",[1],{}]', "an entry is not an array"),
        (b'["t",[],[]]', 'an option is "[]", not a map'),
        (b'["t",[],{"chunk":1}]', "the option `chunk` is"),
        (b'["t",[],{"x":"' + b"x" * 65_536 + b'"}]', "an option is not a map of at most 65536"),
        (b'["' + b"t" * 8193 + b'",[]]', "a tag is longer than 8192 bytes"),
        (b'["t",1,{}}', "not JSON: "),
        (b'["t" 1,{}]', "not JSON: Expecting ',' delimiter"),
        (b'["t",01,{}]', "not JSON: "),
        (b'["t",1,{"a":"\n"}]', "not JSON: Invalid control character"),
        (b'["t",1,{"a":"\xff"}]', "not JSON: 'utf-8' codec can't decode"),
        (b"[" * 5000 + b"]" * 5000, "not JSON: "),
        (b'["t",1,{"a":' + b"[" * 1500 + b"]" * 1500 + b"}]", "not "),
        (b'["t",1,{"a":"' + b"x" * (1 << 24), "longer than 16777216 bytes"),
    ],
    ids=lambda value: repr(value)[:40] if isinstance(value, bytes) else "",
)
@pytest.mark.parametrize("size", [1 << 25, 50_001])
def test_what_is_not_whole_and_valid_is_refused(sent: bytes, fault: str, size: int) -> None:
    [*_, event] = received(*(sent[at : at + size] for at in range(0, len(sent), size)))
    assert isinstance(event, Close)
    assert fault in event.reason
    assert len(event.reason) < 350


@pytest.mark.parametrize("more", ["[" * 1000, '["t",[' + "{}," * 998, '["t",[' + '{"a":[]},' * 499])
def test_arrays_and_maps_are_counted_before_they_are_made(
    monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    monkeypatch.setattr(jsonframing, "VALUES_MAX", 1000)
    session = Session()
    assert [*session.receive(more.encode())] == []
    assert [*session.receive(b'"[[[{"')] == [], "brackets in a text are none"
    assert [*session.receive(b"{")] == [Close("there are more than 1000 values")]


def test_what_was_good_before_a_fault_is_kept() -> None:
    good, close = received(GO + b"[1]")
    assert good == MESSAGES[GO]
    assert isinstance(close, Close)


def test_json_behind_msgpack_is_no_json() -> None:
    [_, close] = received(b"\x92\xa1t\x90" + PHP)
    assert isinstance(close, Close)


def test_a_long_text_in_small_reads_is_looked_at_once() -> None:
    """Searched from its beginning at each read, it would cost its length squared: seconds."""
    text = b'["t",1,{"a":"' + b"x" * 2_000_000 + b'"}]'
    events: list[object] = []

    def receive() -> None:
        session = Session()
        events[:] = [
            event
            for at in range(0, len(text), 100)
            for event in session.receive(text[at : at + 100])
        ]

    assert costs_less(1e-6 * len(text), receive)
    assert [type(event) for event in events] == [Message]


@pytest.mark.parametrize("value", [b"x", rb"\n"])
def test_a_long_text_is_not_held_beside_what_is_decoded_from_it(value: bytes) -> None:
    text = b'["t","' + value * 2_000_000 + b'"]'
    framer = JsonFramer(1 << 24)
    with traced_memory() as memory:
        for at in range(0, len(text), 65536):
            items = [*framer.feed(text[at : at + 65536])]
    assert len(items) == 1
    assert memory.peak_bytes < 2.7 * len(text)


def test_half_a_message_is_told_at_the_end() -> None:
    session = Session()
    assert session.end() is None
    assert list(session.receive(GO + b"\n" + GO[:9])) == [MESSAGES[GO]]
    assert session.end() == "it ended 9 bytes into a message"
