"""What logship makes of records: entries, JSON lines, reports; as plain data that is stored."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import re
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from prometheus_client.parser import text_string_to_metric_families as parse_classic

import logship
from tests.golden.inputs import REDACTED, TOO_LARGE, Input, inputs, log_records, redacted
from tests.golden.programs import NOWHERE
from tests.golden.recovering import environ
from tests.support.commands import LOGSHIP, ran_python
from tests.support.packing import pack_record
from tests.support.receiver_process import ReceiverProcess
from tests.support.waiting import wait_until

HEX_CHARACTERS_MAX = 600
FLUSH_SECONDS_MAX = 30.0

_STAMP = re.compile(r'"logship_id":"[\w-]{12}:(\d{10})"')


class Way(Protocol):
    """Logs records through a client."""

    def __call__(self, client: logship.BackgroundClient, given: Iterable[Input]) -> None:
        """Do it."""


def entries() -> dict[str, dict[str, str]]:
    """Return what `pack_record` gives for each input, in hexadecimal, by what else is asked."""
    found = {}
    for name, (record, time_ns) in inputs().items():
        found[name] = {
            "bare": _hex(pack_record(record, time_ns, 0)),
            "with a stamp to come": _hex(pack_record(record, time_ns)),
            "own stamp key": _hex(pack_record(record, time_ns, 1, frozenset({"message", "a"}))),
        }
    return found


def _hex(data: bytes) -> str:
    text = data.hex()
    if len(text) <= HEX_CHARACTERS_MAX:
        return text
    return f"{text[:100]}… {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}"


def emit(client: logship.BackgroundClient, given: Iterable[Input]) -> None:
    """Log records one by one, without waiting."""
    for record, time_ns in given:
        assert client.emit(record, time_ns=time_ns)


def send(client: logship.BackgroundClient, given: Iterable[Input]) -> None:
    """Log records one by one, waiting for space."""
    for record, time_ns in given:
        client.send(record, time_ns=time_ns)


def send_many(client: logship.BackgroundClient, given: Iterable[Input]) -> None:
    """Log all records of one time in one call, and so on."""
    for record, time_ns in given:
        client.send_many([record, record], time_ns=time_ns)


WAYS: dict[str, Way] = {"emit": emit, "send": send}


def lines_by(way: Way, receiver: ReceiverProcess) -> dict[str, Any]:
    """Return the JSON line that each input becomes, by name."""
    lines: dict[str, Any] = {}
    parts: list[tuple[dict[str, Input], dict[str, Any]]] = [
        (inputs(), {}),
        (TOO_LARGE, {"buffer_bytes_max": 64 * 1024}),
        (REDACTED, {"redact": redacted}),
    ]
    for given, settings in parts:
        log = functools.partial(way, given=given.values())
        lines.update(zip(given, _received(receiver, log, **settings), strict=True))
    return lines


def lines_of_send_many(receiver: ReceiverProcess) -> dict[str, Any]:
    """Return the same for `send_many`, where each input was sent twice in one call."""
    given = inputs()
    texts = _received(receiver, lambda client: send_many(client, given.values()))
    assert texts[::2] == texts[1::2]
    return dict(zip(given, texts[::2], strict=True))


def lines_of_handler(receiver: ReceiverProcess) -> dict[str, Any]:
    def handle(client: logship.BackgroundClient) -> None:
        handler = logship.Handler(client)
        with contextlib.redirect_stderr(io.StringIO()):  # `logging` complains of bad arguments
            for record in log_records().values():
                handler.handle(record)

    return dict(zip(log_records(), _received(receiver, handle), strict=True))


def _received(
    receiver: ReceiverProcess, log: Callable[[logship.BackgroundClient], None], **settings: Any
) -> list[str]:
    """Return the lines of what `log` logs, as the receiver wrote them, but for their stamps."""
    before = receiver.out.read_bytes().count(b"\n") if receiver.out.exists() else 0
    from_environ = {"LOGSHIP_ENDPOINTS": receiver.endpoint, "LOGSHIP_TAG": "app"}
    chosen = logship.Settings.from_env(from_environ, **settings)
    with logship.BackgroundClient(chosen) as client:
        log(client)
        assert client.flush(FLUSH_SECONDS_MAX).all_acked
    lines = receiver.out.read_text("utf-8").split("\n")[before:-1]
    (ends,) = (line for line in lines if '"logship_end"' in line and '"logship_accepted"' in line)
    assert lines[-1] == ends
    numbers = [int(stamp[1]) for line in lines for stamp in _STAMP.finditer(line)]
    assert numbers == [*range(1, len(lines) + 1)]
    return [_anonymous(line) for line in lines[:-1]]


def _anonymous(line: str) -> str:
    """Return a line without its stamp, shortened if it is long."""
    bare = _STAMP.sub('"logship_id":"<stamp>"', line)
    if len(bare) <= HEX_CHARACTERS_MAX:
        return bare
    digest = hashlib.sha256(bare.encode()).hexdigest()
    return f"{bare[:200]}… {len(bare)} characters, sha256 {digest}"


# -- reports ---------------------------------------------------------------------------------------

_CLOSES = """
    import logship, os, sys
    client = logship.BackgroundClient()
    for number in range(3):
        client.emit({"message": f"record {number}"}, time_ns=1_760_000_000_000_000_000 + number)
    client.emit({"message": "of another tag"}, "web", time_ns=1_760_000_000_000_000_000)
    has_sidecar = not os.environ["LOGSHIP_ENDPOINTS"].endswith(":1")
    report = client.close(timeout=30 if has_sidecar else 3, reason="golden")
    sys.stdout.write(report.to_json())
    assert not client.emit({"message": "too late"})
"""


def reports(receiver: ReceiverProcess, spool: Path) -> dict[str, Any]:
    """Return the JSON lines on stderr of programs that close their client, by what happened.

    Args:
        receiver: Takes what is delivered.
        spool: An empty directory.
    """
    here = {"LOGSHIP_ENDPOINTS": receiver.endpoint}
    nowhere = {"LOGSHIP_ENDPOINTS": NOWHERE}
    programs: dict[str, dict[str, str]] = {
        "all acked, and told so": {"LOGSHIP_REPORT": "1", **here},
        "all acked, and silent": here,
        "all acked, with metrics": {"LOGSHIP_REPORT": "emf", **here},
        "no sidecar, memory": nowhere,
        "no sidecar, no last resort": {"LOGSHIP_LAST_RESORT": "none", **nowhere},
        "no sidecar, spool": {"LOGSHIP_SPOOL_DIR": str(spool), **nowhere},
    }
    with ThreadPoolExecutor() as threads:  # most of them wait for a sidecar that never comes
        return dict(zip(programs, threads.map(_closed, programs.values()), strict=True))


def _closed(settings: dict[str, str]) -> dict[str, Any]:
    environment = environ(LOGSHIP_TAG="app", **settings)
    ended = ran_python(textwrap.dedent(_CLOSES), env=environment, cwd="/", timeout=120)
    lines = [line for line in ended.stderr.splitlines() if line.startswith("{")]
    streams: dict[str, str] = {}
    return {
        "returned": _nameless(ended.stdout, streams),
        "stderr": [_nameless(line, streams) for line in lines],
    }


def _nameless(line: str, streams: dict[str, str]) -> str:
    """Return a line of JSON without times and names that are different in every run."""

    def renamed(found: re.Match[str]) -> str:
        return streams.setdefault(found[0], f"stream {len(streams) + 1}")

    if '"logship_end"' in line:  # its time is that of the close
        line = re.sub(r'("time_ns":)[0-9]+', r"\g<1>0", line)
    line = re.sub(r'(?<="refused_id": ")[\w-]{12}(?=")', "life", line)
    line = re.sub(r'(?<=")[\w-]{12}(?=:\d{10}")|(?<="stream": ")[\w-]{12}(?=")', renamed, line)
    return re.sub(r'("(?:seconds|Timestamp)": )[0-9.]+', r"\g<1>0", line)


# -- metrics ---------------------------------------------------------------------------------------

_SERVES = """
    import logship, sys
    client = logship.BackgroundClient()
    for number in range(20):
        client.emit({"message": f"record {number}"})
    client.emit({"message": "of another tag"}, "web")
    assert client.flush(30).all_acked
    sys.stdin.read()
"""

_SERVED_ON = re.compile(r"metrics are served on (http://\S+)")

_VARYING = re.compile("seconds|build|processes|buffer_bytes_max|received_bytes|connections_open")
"""Samples with such a name have other values in each run, or on each machine."""


def metrics(directory: Path) -> dict[str, list[dict[str, Any]]]:
    """Return what the metrics pages of a client and of `logship receive` say.

    Args:
        directory: An empty one.
    """
    serving = [*LOGSHIP, "receive", "--metrics-port", "0"]
    with ReceiverProcess.start(directory / "out", command=serving) as receiver:
        client = _page_of_client(directory, receiver.endpoint)
        served = _SERVED_ON.search(receiver.stderr())
        assert served, receiver.stderr()
        return {"client": _families(client), "receiver": _families(_fetched(served[1]))}


def _page_of_client(directory: Path, endpoint: str) -> str:
    """Return the page of a client when all of its records are acknowledged."""
    stderr = directory / "stderr"
    with (
        stderr.open("wb") as file,
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(_SERVES)],
            env=environ(
                LOGSHIP_METRICS_PORT="0",
                LOGSHIP_ENDPOINTS=endpoint,
                LOGSHIP_TAG="app",
                LOGSHIP_LINGER_SECONDS="60",
            ),
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=file,
        ) as program,
    ):
        try:
            wait_until(lambda: _SERVED_ON.search(stderr.read_text()) is not None, "it serves")
            served = _SERVED_ON.search(stderr.read_text())
            assert served
            wait_until(lambda: _ALL_ACKED in _fetched(served[1]), "all records are acknowledged")
            return _fetched(served[1])
        finally:
            program.communicate()


_ALL_ACKED = "logship_records_acked_total 21.0"


def _fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        text: str = answer.read().decode()
    return text


def _families(page: str) -> list[dict[str, Any]]:
    """Return the metrics of a page in the classic format, in their order."""
    return [
        {
            "name": family.name,
            "type": family.type,
            "help": family.documentation,
            "samples": [
                [sample.name, _labels(sample), _value(sample)] for sample in family.samples
            ],
        }
        for family in parse_classic(page)
    ]


def _labels(sample: Any) -> dict[str, str]:
    return {
        name: "" if name in ("version", "python") else value
        for name, value in sample.labels.items()
    }


def _value(sample: Any) -> float | None:
    """Return the sample's value, or None where it is different in each run."""
    return None if _VARYING.search(sample.name) else sample.value
