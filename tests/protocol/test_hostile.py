"""The CPU time that a message costs: a bound for each byte, whatever the sender made of it."""

from __future__ import annotations

import gzip
import resource

import msgpack
import pytest

from logship._protocol import payloads, unpacking
from logship._protocol.compression import MEMBERS_MAX, decompressed, zstd_module
from logship._protocol.frames import AckReader, AnswerError
from logship._protocol.messages import TAG_BYTES_MAX, Message
from logship._protocol.payloads import payload_lines
from logship._receiver.session import Close, Session
from logship.errors import ProtocolError
from tests.protocol.hostile import HOSTILE, NAN, array, entry, forward, json_message
from tests.support.memory import traced_memory
from tests.support.pace import costs_less

MESSAGE_BYTES = 250_000
READ_BYTES = 1 << 17
OPTIONS = ("chunk", "compressed")


def zstd_is_there() -> bool:
    try:
        zstd_module()
    except ImportError:
        return False
    return True


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_a_byte_may_cost(kind: str) -> None:
    """The bounds are several times what was measured; what is not linear passes them."""
    if kind.startswith("zstd") and not zstd_is_there():
        pytest.skip("no zstd: since Python 3.14, or from backports.zstd")
    ns_per_byte_max, make = HOSTILE[kind]
    message = make(MESSAGE_BYTES)
    made: list[int] = []

    def receive() -> None:
        made.clear()
        session = Session()
        for at in range(0, len(message), READ_BYTES):
            for event in session.receive(message[at : at + READ_BYTES]):
                made.append(len(event.lines) if isinstance(event, Message) else 0)

    assert costs_less(ns_per_byte_max * len(message) / 1e9, receive)
    assert sum(made) <= 20 * len(message), "nor is much made of little"


def test_arrays_take_memory_for_what_they_hold_and_not_for_what_they_say() -> None:
    _, make = HOSTILE["arrays that say they are as long as the message"]
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    [event] = Session().receive(make(MESSAGE_BYTES))
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    assert isinstance(event, Close)
    assert grown_kib <= 200 * 1024


def test_a_message_of_too_many_values_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "VALUES_MAX", 20_000)
    one = entry(array(NAN, b"\x80", times=4_000))
    assert isinstance(next(Session().receive(forward(one))), Message)
    [event] = Session().receive(forward(one * 2))
    assert event == Close("there are more than 20000 values")


@pytest.mark.parametrize("character", ["t", "\x7f", "\x80", "\U0001f600"])
def test_a_message_that_makes_too_many_lines_is_refused(
    monkeypatch: pytest.MonkeyPatch, character: str
) -> None:
    """A character of a tag becomes up to six bytes, in the line of each record."""
    monkeypatch.setattr(payloads, "LINES_BYTES_MAX", 4_000_000)
    tag = character * (TAG_BYTES_MAX // len(character.encode()))
    line, _ = payload_lines(tag, b"\x92\x00\x80")
    count = 4_000_000 // len(line)
    assert payload_lines(tag, b"\x92\x00\x80" * count)[1] == count
    with pytest.raises(ProtocolError, match="more than 4000000 bytes of lines"):
        payload_lines(tag, b"\x92\x00\x80" * (count + 1))


@pytest.mark.parametrize(
    ("tag", "payload"),
    [
        ("\x7f" * TAG_BYTES_MAX, b"\x92\x00\x80" * 200),
        ("t", entry(msgpack.packb("\x7f" * 1_000_000))),
        ("t", entry(msgpack.packb("\0" * 50_000 + "\U0001f600")) * 20),
    ],
    ids=["a tag of hidden characters", "a text of them", "wide text"],
)
def test_making_lines_needs_a_few_times_their_size(tag: str, payload: bytes) -> None:
    payload_lines("t", b"\x92\x00\x80")  # what the first one makes is kept
    with traced_memory() as memory:
        lines, _ = payload_lines(tag, payload)
    assert memory.peak_bytes <= 5 * len(lines)


NESTED = b"\x91" * 1000 + b"\x90"


@pytest.mark.parametrize(
    "message",
    [
        b"\x93\xa1t\xc4\x00" + NESTED,
        *(b"\x93\xa1t\xc4\x00\x81" + msgpack.packb(key) + NESTED for key in OPTIONS),
        b"\x93\xa1t" + NESTED + b"\x80",
        b"\x92\xa1t" + msgpack.packb(b"\x92" + NESTED + b"\x80"),
    ],
    ids=["option", *OPTIONS, "time", "packed time"],
)
def test_what_is_nested_deep_is_refused_as_any_other_fault(message: bytes) -> None:
    [event] = Session().receive(message)
    assert isinstance(event, Close)
    assert len(event.reason) < 350


@pytest.mark.parametrize("answer", [NESTED, b"\x81\xa3ack" + NESTED, b"\x81\xa1k" + NESTED])
def test_an_answer_that_is_nested_deep_is_a_fault_of_the_sidecar(answer: bytes) -> None:
    with pytest.raises(AnswerError, match="is not an acknowledgement") as caught:
        AckReader().feed(answer)
    assert len(str(caught.value)) < 350


def test_members_are_limited() -> None:
    member = gzip.compress(b"x", mtime=0)
    assert decompressed(member * 1000, "gzip", 1000) == b"x" * 1000
    with pytest.raises(ProtocolError, match="more than 131072 members of gzip"):
        decompressed(member * (MEMBERS_MAX + 1), "gzip", 1 << 20)


@pytest.mark.parametrize(
    "half",
    [b"\x92\xa1t" + array(b"\x80", times=100_000)[:-1], json_message(b"{}", 100_000)[:-1]],
    ids=["msgpack", "JSON"],
)
def test_a_message_is_held_as_it_came_until_it_is_whole(half: bytes) -> None:
    """Decoded early, empty maps would take 64 times their bytes."""
    session = Session()
    assert list(session.receive(half)) == []
    assert session.pending_bytes == len(half)
