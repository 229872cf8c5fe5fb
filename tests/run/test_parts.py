"""Shows the parts of `run` that need no process: joining, sharing out time, reading words."""

from __future__ import annotations

import errno
import fcntl
import math
import os
import re
import sysconfig
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from logship._buffer.counters import DrainReport
from logship._client import intake
from logship._process import stopfile
from logship._process.clock import StopClock
from logship._protocol import entries
from logship._run import multiline, pipe_reader, shipping
from logship._run.clients import environment_for
from logship._run.deadlines import Deadlines
from logship._run.lines import LINE_BYTES_MAX, LineSplitter, record_of_line
from logship._run.multiline import LineJoiner
from logship._run.offspring import DIRECTORIES_MAX, Offspring
from logship._run.pipe_reader import PipeReader
from logship._run.private_directory import PrivateDirectory
from logship._run.processes import descendants
from logship._run.receipt import Outcome
from logship._run.shipping import Shipping
from logship._run.statuses import Death, OomWatch
from logship._settings import STOP_FILE_VARIABLE, Endpoint, Settings
from logship._settings.fields import Overflow
from logship._spool.directories import LOCK
from logship._spool.volumes import filesystem_of
from tests.support.commands import ran_python

MIB = 1024 * 1024


@pytest.mark.parametrize("overflow", ["block", "drop_newest", "drop_oldest"])
def test_a_line_that_finds_no_space_is_packed_at_most_twice(
    overflow: Overflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = 0
    pack = entries.record_packer()

    def noted(record: Any, time_ns: int) -> bytes:
        nonlocal packed
        packed += 1
        return pack(record, time_ns)

    monkeypatch.setattr(intake, "record_packer", lambda *_: noted)
    report = shipped(
        (b"%d" % number + b"x" * 100 for number in range(5000)),
        buffer_bytes_max=64 * 1024,
        chunk_bytes_max=8192,
        overflow=overflow,
        block_seconds_max=0.0,
    )
    assert report.accepted == 5000
    assert report.dropped > 4000
    assert packed <= 2 * 5000


def shipped(lines: Iterable[bytes], **settings: Any) -> DrainReport:
    """Ship the lines of a command where there is no sidecar; return the report."""
    settings = {"endpoints": "tcp://127.0.0.1:1", "tag": "t", "last_resort": "none", **settings}
    shipping = Shipping(Settings(**settings), StopClock(1.0), lambda: None, 0.0)
    try:
        reader = PipeReader(-1, "stdout", message_key="message")
        reader.lines.extend((0, text) for text in lines)
        shipping.ship(reader)
        assert not reader.lines
    finally:
        report = shipping.client.close(timeout=0)
    return report


def refused(lines: list[bytes]) -> DrainReport:
    """Refuse the lines of a command after the end of intake; return the corrected report."""
    settings = Settings(endpoints="tcp://127.0.0.1:1", tag="t")
    late = Shipping(settings, StopClock(1.0), lambda: None, 0.0)
    late.client.close(timeout=0)
    reader = PipeReader(-1, "stdout", message_key="message")
    reader.lines.extend((0, text) for text in lines)
    late.refuse(reader)
    assert not reader.lines
    late.client.correct_report()
    return late.drain("end of input")


def test_a_line_that_comes_too_late_and_has_no_memory_is_counted_and_the_others_are_written(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def record_or_fail(line: bytes, *more: str) -> dict[str, Any]:
        if line == b"large":
            raise MemoryError
        return record_of_line(line, *more)

    monkeypatch.setattr(pipe_reader, "record_of_line", record_or_fail)
    report = refused([b"one", b"large", b"two"])
    assert (report.refused, report.refused_lines, report.refused_unwritten) == (3, 2, 0)
    told = capfd.readouterr().err
    assert [word in told for word in ('"one"', '"two"', "no memory for its record")] == [True] * 3


def test_lines_that_come_when_all_time_is_over_are_counted(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shipping, "_REFUSING_SECONDS_MIN", 0.0)
    report = refused([b"one", b"two"])
    assert (report.refused, report.refused_lines, report.refused_unwritten) == (2, 0, 0)
    assert '"one"' not in capfd.readouterr().err


def test_a_line_without_memory_for_its_record_is_refused_once_and_the_others_are_taken_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pack = entries.record_packer()

    def packed(record: Any, time_ns: int) -> bytes:
        if "large" in record["message"]:
            raise MemoryError
        return pack(record, time_ns)

    monkeypatch.setattr(intake, "record_packer", lambda *_: packed)
    report = shipped((b"a", b"b", b"large", b"c", b"large"))
    assert report.accepted == 3
    assert report.refused == 2
    outcome = Outcome(("cmd",), 0, 1.0, report._replace(acked=3), None, is_cut_off=False)
    assert outcome.report.all_acked
    assert not outcome.is_complete


def joiner() -> LineJoiner:
    return LineJoiner(re.compile(rb"^start").search)


def joined(each: LineJoiner, texts: list[bytes]) -> list[bytes]:
    """Feed the lines one at a time, and return the texts of all records."""
    found = [record for text in texts for record in each.feed([(0, text)], 0.0)]
    return [text for _, text in [*found, *each.finish()]]


def test_a_record_is_bounded_in_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiline, "LINES_MAX", 4)
    lines = [b"start", *[b"more"] * 9]
    found = joined(joiner(), lines)
    assert [record.count(b"\n") + 1 for record in found] == [4, 4, 2]
    assert b"\n".join(found).split(b"\n") == lines


def test_a_record_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiline, "BYTES_MAX", 100)
    lines = [b"start", *[b"x" * 40] * 10, b"y" * 500, b"z"]
    found = joined(joiner(), lines)
    assert max(len(record) for record in found if record != b"y" * 500) <= 100
    assert b"\n".join(found).split(b"\n") == lines


def test_a_long_line_is_not_copied_at_each_read() -> None:
    splitter = LineSplitter()
    begin = b"x" * (LINE_BYTES_MAX - 100)
    tracemalloc.start()
    try:
        assert splitter.feed(begin) == []
        held = tracemalloc.get_traced_memory()[0]
        assert splitter.feed(b"y" * 100) == []
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most - held < LINE_BYTES_MAX / 4, "room to grow, and no second copy"
    assert splitter.feed(b"\nz") == [begin + b"y" * 100]
    assert splitter.finish() == [b"z"]


@pytest.mark.parametrize("piece_bytes", [1, 2, 5, 70])
@pytest.mark.parametrize("character", ["é", "€", "😀"])
def test_a_long_line_is_never_cut_in_the_middle_of_a_character(
    monkeypatch: pytest.MonkeyPatch, character: str, piece_bytes: int
) -> None:
    monkeypatch.setattr("logship._run.lines.PART_BYTES", 10)
    monkeypatch.setattr("logship._run.lines.LINE_BYTES_MAX", 75)
    text = "x" + character * 200
    found = split(text.encode(), piece_bytes)
    assert max(map(len, found)) <= 75
    assert "".join(part.decode() for part in found) == text


@pytest.mark.parametrize("byte", [b"\x80", b"\xc3", b"\xff"])
def test_a_long_line_of_bytes_that_are_no_text_comes_whole(
    monkeypatch: pytest.MonkeyPatch, byte: bytes
) -> None:
    monkeypatch.setattr("logship._run.lines.LINE_BYTES_MAX", 75)
    found = split(byte * 400, 7)
    assert max(map(len, found)) <= 75
    assert b"".join(found) == byte * 400


@pytest.mark.parametrize("piece_bytes", [1, 2, 5, 70])
def test_a_line_end_is_found_wherever_the_reads_end(piece_bytes: int) -> None:
    data = b"one\r\ntwo\n\r\n\r\r\nlast\r"
    assert split(data, piece_bytes) == [b"one", b"two", b"", b"\r", b"last\r"]


def test_a_long_line_of_carriage_returns_becomes_records_with_all_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("logship._run.lines.LINE_BYTES_MAX", 75)
    parts = [record_of_line(each, "stdout")["message"] for each in split(b"\r" * 400, 7)]
    assert "".join(parts) == "\r" * 400


def split(data: bytes, piece_bytes: int) -> list[bytes]:
    splitter = LineSplitter()
    pieces = [data[at : at + piece_bytes] for at in range(0, len(data), piece_bytes)]
    return [*(line for piece in pieces for line in splitter.feed(piece)), *splitter.finish()]


@pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")), reason="it has memory beyond such a limit"
)
def test_a_long_line_without_memory_to_join_it_comes_in_its_parts() -> None:
    program = """
import resource
from logship._run.lines import LINE_BYTES_MAX, PART_BYTES, LineSplitter
splitter, data = LineSplitter(), bytes(range(100, 164)) * 128
for _ in range(LINE_BYTES_MAX // len(data)):
    assert splitter.feed(data) == []
here = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (here + (1 << 20), resource.RLIM_INFINITY))
*parts, last = splitter.feed(b"end\\nlast\\n")
assert len(parts) > 50 and max(map(len, parts)) < 2 * PART_BYTES
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert b"".join(parts) == data * (LINE_BYTES_MAX // len(data)) + b"end"
assert last == b"last"
"""
    ran_python(program)


@pytest.mark.parametrize("timeout_seconds", [0.5, 2.0, 9.0, 30.0, 120.0])
@pytest.mark.parametrize("spill_seconds", [0.0, 0.5, 3.0, 1000.0])
def test_each_has_a_part_of_the_stop_timeout(timeout_seconds: float, spill_seconds: float) -> None:
    times = Deadlines.share_out(100.0, 100.0 + timeout_seconds, spill_seconds)
    assert 100.0 < times.clients_seconds < times.kill_seconds < times.end_seconds
    assert times.end_seconds == 100.0 + timeout_seconds
    ours = times.end_seconds - times.kill_seconds
    assert ours <= timeout_seconds / 2
    assert ours >= min(timeout_seconds / 2, 2 * spill_seconds)
    assert ours >= min(5.0, timeout_seconds / 4)


def test_deaths_in_words_and_numbers() -> None:
    assert Death(7, "php", -9).text == "php (process 7) was killed by SIGKILL"
    assert Death(7, "php", -9).exit_code == 137
    assert Death(7, "php", 3).exit_code == 3
    assert Death(7, "php", None).text == "php (process 7) has ended; only its parent knows how"
    assert [Death(7, "php", code).is_violent for code in (-9, -11, -15, 0, 1, None)] == [
        *(True, True),
        *(False, False, False, False),
    ]


@pytest.mark.parametrize("name", ["memory.events", "memory/memory.oom_control"])
def test_a_kill_for_want_of_memory_is_seen_in_both_kinds_of_cgroup(
    tmp_path: Path, name: str
) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("oom 3\noom_kill 3\n")
    watch = OomWatch(tmp_path)
    assert not watch.has_killed()
    file.write_text("oom 4\noom_kill 4\n")
    assert watch.has_killed()
    assert not watch.has_killed()
    assert not OomWatch(tmp_path / "nowhere").has_killed()


def test_the_stop_file_tells_the_deadline_and_nonsense_in_it_is_not_believed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "stop"
    told = stopfile.reader({STOP_FILE_VARIABLE: str(path)})
    assert told() is None
    stopfile.prepare(path)
    assert told() is None
    stopfile.announce(path, 1234.5)
    assert told() == 1234.5
    for text in ("", "soon", "nan", "inf", "1" * 500):
        path.write_text(text)
        assert told() is None or math.isfinite(told() or 0.0)
    path.unlink()
    path.mkdir()
    assert told() is None
    assert stopfile.reader({})() is None


def test_a_spool_in_memory_is_no_larger_than_a_buffer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [tmp_path, Path("/dev/shm")]
    for place in places:
        monkeypatch.setattr("tempfile.tempdir", str(place))
        directory = PrivateDirectory.make(Settings().endpoints)
        try:
            environ = environment_for({"MINE": "1"}, directory, Settings(buffer_bytes_max=64 * MIB))
            assert environ["LOGSHIP_SPOOL_DIR"] == str(directory.spool)
            is_memory = filesystem_of(place) == "tmpfs"
            assert environ.get("LOGSHIP_SPOOL_BYTES_MAX") == (str(64 * MIB) if is_memory else None)
            assert environ["MINE"] == "1"
        finally:
            assert directory.remove()


def test_a_container_without_a_directory_for_temporary_files_has_shared_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what a killed `run` left too, which is looked for before the command is started."""

    def none_to_be_had() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", none_to_be_had)
    monkeypatch.setattr("logship._run.private_directory._SHARED_MEMORY", str(tmp_path))
    endpoints = Settings().endpoints
    path = PrivateDirectory.make(endpoints).path
    assert path.parent == tmp_path
    assert list(PrivateDirectory.take_over_abandoned(endpoints)) == [], "it is not abandoned"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place for temporary files."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("logship._run.private_directory._SHARED_MEMORY", str(tmp_path))
    return tmp_path


def test_any_depth_of_processes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a shell script that calls itself."""
    deepest = 5000

    def children(pid: int) -> list[int]:
        return [pid + 1] if pid < deepest else []

    monkeypatch.setattr("logship._run.processes.children", children)
    assert list(descendants(1)) == list(range(2, deepest + 1))


def test_a_directory_without_a_lock_is_not_left_behind(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS has no locks where its daemon does not run, and no later `run` takes such a directory."""

    def no_locks(*_: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(OSError, match="No locks available"):
        PrivateDirectory.make(Settings().endpoints)
    assert list(temporary.iterdir()) == []


@pytest.mark.usefixtures("temporary")
def test_a_directory_without_a_note_of_its_endpoints_is_taken_over_by_any_run() -> None:
    """An older version has left it."""
    directory = PrivateDirectory.make(Settings().endpoints)
    (directory.spool / "quarantine").mkdir()
    assert not directory.remove(), "something is left on its spool"
    others = (Endpoint.parse("tcp://10.0.0.1:24224"),)
    assert list(PrivateDirectory.take_over_abandoned(others)) == []
    (directory.path / "endpoints").unlink()
    [taken] = PrivateDirectory.take_over_abandoned(others)
    assert taken.path == directory.path


@pytest.mark.usefixtures("temporary")
def test_secrets_stay_while_a_process_lives_and_go_before_its_records() -> None:
    """A daemon that was left alone starts other processes, which read them."""
    endpoints = Settings().endpoints
    directory = PrivateDirectory.make(endpoints)
    secret = directory.keep_secret("a key")
    life = directory.spool / ("ab" * 16)
    life.mkdir()
    with (life / LOCK).open("x") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert not directory.remove()
        assert secret.exists()
    [taken] = PrivateDirectory.take_over_abandoned(endpoints)
    assert not taken.remove()
    assert life.exists()
    assert not secret.exists()


@pytest.mark.usefixtures("temporary")
def test_a_spool_that_begins_while_the_directory_is_removed_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The command may have left a process that begins one at any time."""
    directory = PrivateDirectory.make(Settings().endpoints)
    life = directory.spool / ("ab" * 16)
    with monkeypatch.context() as patched:
        patched.setattr(PrivateDirectory, "has_records", lambda _: life.mkdir())
        assert not directory.remove()
    [taken] = PrivateDirectory.take_over_abandoned(Settings().endpoints)
    assert taken.has_processes()


@pytest.mark.usefixtures("temporary")
def test_pages_and_a_spool_that_a_process_did_not_finish_to_begin_are_removed() -> None:
    directory = PrivateDirectory.make(Settings().endpoints)
    for name in (f".{'ab' * 16}.new", "metrics"):
        (directory.spool / name).mkdir()
        (directory.spool / name / LOCK).touch()
    assert directory.remove()


def test_only_directories_with_something_to_ship_count_as_taken_over(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Path] = []
    monkeypatch.setattr(
        "logship._run.offspring.Recoverer", lambda _, spool, **__: begun.append(spool)
    )
    monkeypatch.setattr("logship._run.offspring.RecoveryThread", lambda *_: None)
    settings, said = Settings(), list[str]()
    left = ["quarantine"] * DIRECTORIES_MAX + ["ab" * 16] * (DIRECTORIES_MAX + 1)
    spools = []
    for number, name in enumerate(left):
        directory = PrivateDirectory.make(settings.endpoints)
        (directory.spool / name).mkdir()
        assert not directory.remove()
        path = directory.path.rename(temporary / f"logship-run-{number}")
        spools.append(path / "spool")
    shipping: Any = SimpleNamespace(say=said.append, client=SimpleNamespace(last_resort=None))
    Offspring(settings, StopClock(1.0), shipping, lambda: None, None)
    assert begun == spools[DIRECTORIES_MAX:-1]
    assert len(said) == len(spools)
    for spool, text in zip(spools, said, strict=True):
        assert str(spool.parent) in text
