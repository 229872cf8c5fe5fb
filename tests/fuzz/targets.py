"""What is fuzzed, and what must hold for any bytes.

A target takes bytes. Whatever they are, it raises nothing: the errors that the fuzzed code
documents are caught here, and everything else is a finding.
"""

from __future__ import annotations

import dataclasses
import io
import json
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import msgpack

from logship._audit.audit import Audit
from logship._audit.sources import CannotRead, Source
from logship._audit.text import verdict_as_json, verdict_as_text
from logship._deployment.linting.formats import as_github, as_json, as_sarif, as_text
from logship._deployment.linting.marks import LintError
from logship._deployment.linting.report import judge
from logship._metrics.page_format import parsed_page, parsed_sum, total_of
from logship._protocol.entries import unpack_entries
from logship._protocol.frames import AckReader, AnswerError
from logship._protocol.handshake import ClientHandshake, ServerHandshake
from logship._protocol.jsonlines import json_line
from logship._protocol.messages import Message
from logship._protocol.readable import plain_value
from logship._receiver.session import Answer, Close, Session
from logship._redaction import redactor
from logship._run import multiline
from logship._run.lines import Line, LineSplitter, record_of_line
from logship._run.multiline import LineJoiner
from logship._settings import Settings, variable_name
from logship._settings.fields import Number, converter_of
from logship._settings.unknown import unknown_variables
from logship.errors import HandshakeError, ProtocolError, SettingsError
from tests.spool.recoveries import dead_life, log_some, recover
from tests.support.memory import traced_memory
from tests.support.packing import pack_record

CORPUS = Path(__file__).with_name("corpus")
KEY = "fuzzed-key"
RECORDS = 30
UNITS_MAX = 5
_WITH_UNITS = {
    each.name.upper()
    for each in dataclasses.fields(Settings)
    if isinstance(converter := converter_of(each), Number) and converter.units
}
_REDACT = redactor("default", plain_value)


@dataclass(frozen=True)
class Target:
    """Something that reads foreign bytes.

    Attributes:
        run: Reads them, and asserts what must hold.
        seconds: CPU that any input may cost.
        seconds_a_byte: And so much more for each byte of it.
        bytes_max: Memory that any input may cost.
        bytes_a_byte: And so much more for each byte of it.
    """

    run: Callable[[bytes], None]
    seconds: float = 0.2
    seconds_a_byte: float = 20e-6
    bytes_max: int = 8_000_000
    bytes_a_byte: int = 150


def measure(target: Target, data: bytes, *, slowness: float = 1.0) -> None:
    """Run a target, and hold it to its bounds.

    Args:
        target: What reads.
        data: What it reads.
        slowness: How many times slower everything is: traced code is.

    Raises:
        AssertionError: Something does not hold, or it costs too much.
    """
    began = time.process_time()
    target.run(data)
    spent = time.process_time() - began
    allowed = slowness * (target.seconds + target.seconds_a_byte * len(data))
    assert spent < allowed, f"{len(data)} bytes took {spent:.2f} s of CPU, {allowed:.2f} allowed"


def measure_memory(target: Target, data: bytes) -> None:
    """Run a target, and hold its memory to its bound.

    Raises:
        AssertionError: Something does not hold, or it takes too much.
    """
    with traced_memory() as memory:
        target.run(data)
    most = memory.peak_bytes
    allowed = target.bytes_max + target.bytes_a_byte * len(data)
    assert most < allowed, f"{len(data)} bytes took {most:,} bytes of memory, {allowed:,} allowed"


# -- the receiver ----------------------------------------------------------------------------------


def _session(data: bytes) -> None:
    """Any split of the bytes means the same, and nothing follows a close."""
    whole = _receive([data])
    middle = data[0] * len(data) // 256 if data else 0
    assert _receive([data[:middle], data[middle:]]) == whole


def _receive(parts: list[bytes]) -> tuple[bytes, bytes, int, bool]:
    session = Session()
    lines, acks, records, closed = b"", b"", 0, False
    for part in parts:
        for event in [] if closed else session.receive(part):
            assert not closed
            if isinstance(event, Message):
                assert event.lines.count(b"\n") == event.records
                lines, acks = lines + event.lines, acks + event.ack
                records += event.records
            closed = isinstance(event, Close)
    for line in lines.splitlines():
        json.loads(line)
    return lines, acks, records, closed


def _compressed(data: bytes) -> None:
    """A payload that says that it is compressed; the first byte says how."""
    how = ("gzip", "zstd")[data[0] % 2] if data else "gzip"
    _receive([msgpack.packb(["tag", data[1:], {"chunk": "id", "compressed": how}])])


def _client_handshake(data: bytes) -> None:
    """No server that does not know the key gets past it."""
    handshake = ClientHandshake(hostname="client", shared_key=KEY, salt="salt", username="user")
    middle, said = len(data) // 2, ""
    try:
        for part in (data[:middle], data[middle:]):
            said += handshake.feed(part).decode("latin-1")
    except HandshakeError as error:
        said += str(error)
    assert KEY not in said
    assert not handshake.done


def _server_handshake(data: bytes) -> None:
    """No client that does not know the key gets past it."""
    handshake = ServerHandshake(hostname="server", shared_key=KEY, nonce=b"n" * 16, auth=b"a" * 16)
    session = Session(handshake)
    for event in session.receive(data):
        assert isinstance(event, Answer | Close)
    assert not handshake.done


def _acks(data: bytes) -> None:
    reader = AckReader()
    try:
        ids = reader.feed(data)
    except AnswerError as error:
        ids = error.acks
    assert all(isinstance(each, str) for each in ids)


# -- what is read from files -----------------------------------------------------------------------


def _recovery(data: bytes) -> None:
    """A file of a dead process is replaced by the bytes: what is gone is told."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        life = dead_life(path, log_some)
        files = sorted(each for each in life.iterdir() if each.name != "lock")
        file = files[data[0] % len(files)] if data else files[0]
        at = int.from_bytes(data[1:3]) % (file.stat().st_size + 1)
        with file.open("r+b") as opened:
            opened.seek(at)
            opened.write(data[3:])
        sidecar = recover(path)
        counters = sidecar.orphans.counters
        told = counters.damaged or counters.refused or "logship_gap" in str(sidecar.controls)
        assert told or len(sidecar.records) >= RECORDS, "records are gone without a word"


def _audit(data: bytes) -> None:
    """A file for `logship audit`, plain or gzip; every verdict can be shown."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        audit, source = Audit(), Source(file.name)
        try:
            for lines in source.batches():
                audit.feed(lines)
        except CannotRead:
            return
    verdict = audit.verdict()
    json.loads(verdict_as_json(verdict, []))
    list(verdict_as_text(verdict, [], "logship_id"))


def _lint(data: bytes) -> None:
    """A file for `logship lint`; the first byte chooses what it is called."""
    names = ("a.yaml", "a.json", "a.conf", "Dockerfile", "a")
    name = names[data[0] % len(names)] if data else "a"
    try:
        report = judge(name, data[1:].decode("utf-8", "replace"), is_spot=True)
    except LintError:
        return
    json.dumps([as_json([report]), as_sarif([report], [])])
    assert list(as_text([report]))
    assert len(list(as_github([report]))) == len(report.findings)


def _metrics_pages(data: bytes) -> None:
    page = parsed_page("page", data, lives=False)
    total_of(parsed_sum(data), [page] if page else [], 0)


# -- lines and settings ----------------------------------------------------------------------------


def _json_lines(data: bytes) -> None:
    """Whatever msgpack can hold becomes one line of JSON."""
    try:
        entries = list(unpack_entries(data))
    except ProtocolError:
        return
    for time_ns, record in entries:
        line = json_line("tag", time_ns, record)
        assert line.count(b"\n") == 1
        assert isinstance(json.loads(line), dict)


def _multiline(data: bytes) -> None:
    """Joined or not, no byte of any line is lost; each record can be sent."""
    splitter = LineSplitter()
    joiner = LineJoiner(re.compile(rb"^\S").search)
    records: list[Line] = []
    stream = io.BytesIO(data)
    with mock.patch.multiple(multiline, LINES_MAX=5, BYTES_MAX=200):
        while part := stream.read(97):
            records += joiner.feed([(0, text) for text in splitter.feed(part)], 0.0)
        records += joiner.feed([(0, text) for text in splitter.finish()], 0.0)
    records += joiner.finish()
    joined = [text for _, text in records]
    *lines, last = data.split(b"\n")
    lines = [*(each.removesuffix(b"\r") for each in lines), last]
    expected = lines[:-1] if data.endswith(b"\n") or not data else lines
    assert b"\n".join(joined).split(b"\n") == (expected or [b""])
    for each in joined:
        list(unpack_entries(pack_record(record_of_line(each, "stdout"), 1, extra_fields=0)))


def _redaction(data: bytes) -> None:
    """A text, alone and as a field's name. Whatever comes before a secret does not save it."""
    text = data.decode("utf-8", "replace")
    found = _REDACT({text: text, "in": [text, f"{text}\npassword={KEY}"]})
    assert found.keys() == {text, "in"}
    assert text == "in" or KEY not in found["in"][1]


def _settings(data: bytes) -> None:
    """Lines `NAME=value` of an environment: a setting, or one error that keeps the secrets."""
    pairs = [line.partition("=") for line in data.decode("utf-8", "surrogateescape").splitlines()]
    given = {name: value for name, _, value in pairs if "FILE" not in name}
    environ = {f"LOGSHIP_{name}": value for name, value in given.items()}
    unknown = unknown_variables({**environ, f"LOGSHIP_{KEY}": KEY})
    assert unknown.isprintable()
    try:
        said = repr(Settings.from_env({"LOGSHIP_SHARED_KEY": KEY, **environ}))
    except SettingsError as error:
        said = str(error)
    assert KEY not in said
    for name in list(_WITH_UNITS & given.keys())[:UNITS_MAX]:
        _means_one_thing(name.lower(), given[name])


def _means_one_thing(name: str, text: str) -> None:
    """A text with a unit is one number or one error, as a variable and as an argument."""
    variable = _meaning(name, lambda: Settings.from_env({variable_name(name): text}))
    argument = _meaning(name, lambda: Settings(**dict[str, Any]({name: text})))
    assert variable == argument or not text


def _meaning(name: str, make: Callable[[], Settings]) -> object:
    try:
        return getattr(make(), name)
    except SettingsError as error:
        return str(error)


TARGETS: dict[str, Target] = {
    "session": Target(_session, seconds_a_byte=50e-6),
    "compressed": Target(_compressed, seconds=3.0, bytes_max=400_000_000, bytes_a_byte=3_000),
    "client-handshake": Target(_client_handshake),
    "server-handshake": Target(_server_handshake),
    "acks": Target(_acks),
    "recovery": Target(_recovery, seconds=1.0),
    "audit": Target(_audit, bytes_a_byte=2_000),
    "lint": Target(_lint, seconds=0.5, seconds_a_byte=300e-6, bytes_a_byte=1_000),
    "metrics-pages": Target(_metrics_pages),
    "json-lines": Target(_json_lines),
    "multiline": Target(_multiline),
    "redaction": Target(_redaction),
    "settings": Target(_settings),
}
