"""Shows that a recovery which could not do its work says so: in its exit code, report and words."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from logship._buffer.buffer import Buffer
from logship._buffer.entrance import Outcome
from logship._spool.inspection import inspect_spool
from logship._spool.orphans import Orphans
from tests.spool.programs import NOWHERE, Spools
from tests.spool.recoveries import Sidecar, dead_life, log_some, recover
from tests.spool.spools import KEY, offer
from tests.support.packing import pack_record
from tests.support.raising import raising
from tests.support.volumes import small_volume

MIB = 1024 * 1024


def run(spools: Spools, program: str, *words: str) -> tuple[int, dict[str, object]]:
    """Run `logship recover` after this program; return its exit code and report."""
    code = f"{program}\nfrom logship._cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", code, "recover", "--spool", str(spools.spool), *words],
        env=spools.environ(LOGSHIP_EXIT_STALL_SECONDS="2"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in ended.stderr
    assert ended.stdout, ended.stderr
    return ended.returncode, {**json.loads(ended.stdout), "stderr": ended.stderr}


# -- locks that say nothing about their owner ---------------------------------------------------


def no_lock(directory: Path) -> None:
    (directory / "lock").unlink()


def lock_is_a_directory(directory: Path) -> None:
    (directory / "lock").unlink()
    (directory / "lock").mkdir()


def lock_is_a_link(directory: Path) -> None:
    (directory / "lock").rename(directory / "elsewhere")
    (directory / "lock").symlink_to("elsewhere")


def lock_is_a_fifo(directory: Path) -> None:
    (directory / "lock").unlink()
    os.mkfifo(directory / "lock")


def directory_is_a_link(directory: Path) -> None:
    elsewhere = directory.rename(directory.with_name("elsewhere"))
    directory.symlink_to(elsewhere.name)


def directory_is_a_file(directory: Path) -> None:
    directory.rename(directory.with_name("elsewhere too"))
    directory.write_bytes(b"")


DISGUISES = [
    no_lock,
    lock_is_a_directory,
    lock_is_a_link,
    lock_is_a_fifo,
    directory_is_a_link,
    directory_is_a_file,
]


def test_directories_that_cannot_be_locked_are_refused_and_named(spools: Spools) -> None:
    healthy = dead_life(spools.spool, lambda buffer: log_some(buffer, 3))
    all_strange = [dead_life(spools.spool, log_some) for _ in DISGUISES]
    for disguise, strange in zip(DISGUISES, all_strange, strict=True):
        disguise(strange)
    code, report = spools.recover()
    assert (code, report["complete"], report["refused"]) == (1, False, len(DISGUISES))
    for strange in all_strange:
        assert any(strange.name in note for note in report["notes"]), strange.name
        assert f"logship: recovery: {spools.spool}/{strange.name}" in spools.stderr
        assert os.path.lexists(strange)
    assert f"incomplete: what was not acked stays on {spools.spool} for" in spools.stderr
    assert report["records_acked"] == 3  # the neighbour is recovered all the same
    assert not healthy.exists()


def test_a_directory_whose_owner_is_alive_is_no_reason_to_complain(spools: Spools) -> None:
    alive = spools.start_application(1000, endpoint=NOWHERE)
    spools.wait_for_ledger(30)
    code, report = spools.recover()
    assert (code, report["complete"], report["refused"], report["lives"]) == (0, True, 0, 0)
    assert alive.poll() is None
    assert spools.delivered == []


def test_a_read_only_spool_is_refused(spools: Spools, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    left = dead_life(tmp_path / "elsewhere", log_some)
    with small_volume(spools.spool):
        shutil.copytree(left, spools.spool / left.name)
        subprocess.run(["mount", "-o", "remount,ro", str(spools.spool)], check=True)
        code, report = spools.recover()
        assert (code, report["complete"], report["refused"]) == (1, False, 1)
        assert left.name in report["notes"][0]
        assert "Read-only file system" in report["notes"][0]


def test_a_spool_that_goes_away_is_not_an_empty_one(spools: Spools) -> None:
    """`recover` looks at it once at its start; what happens then counts too."""
    dead_life(spools.spool, log_some)
    program = (
        "import logship._recover as recovery, pathlib\n"
        "real = recovery.Recoverer.run\n"
        "def run(self):\n"
        "    self._path.rename(str(self._path) + '-gone')\n"
        "    return real(self)\n"
        "recovery.Recoverer.run = run"
    )
    code, report = run(spools, program)
    assert (code, report["complete"], report["refused"]) == (1, False, 1)
    assert "No such file" in str(report["notes"])


# -- exceptions of any kind ---------------------------------------------------------------------

PLACES = {
    "reading a payload": "logship._spool.adoption.read_payload",
    "reading a segment": "logship._spool.survey.find_chunks",
    "listing the directories": "logship._spool.orphans.process_directories",
    "taking one over": "logship._spool.directories.ProcessDirectory.take_over",
    "the end record": "logship._spool.adoption.pack_control",
    "marking an ack": "logship._spool.orphan.Orphan.mark",
    "removing the directory": "logship._spool.directories.ProcessDirectory.remove",
}


@pytest.mark.parametrize("error", [ValueError, MemoryError])
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_an_exception_of_any_kind_leaves_the_recovery_incomplete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, error: type[Exception]
) -> None:
    directory = dead_life(tmp_path, log_some)
    monkeypatch.setattr(place, raising(error("injected")))
    sidecar = recover(tmp_path)
    assert not sidecar.orphans.is_complete
    assert sidecar.orphans.counters.refused
    for said in (sidecar.orphans.counters.notes, sidecar.told):
        assert "injected" in str(said)
    assert error.__name__ in str(sidecar.orphans.counters.notes)
    assert directory.exists()
    monkeypatch.undo()
    assert recover(tmp_path).orphans.is_complete
    assert not directory.exists()


def test_an_exception_is_in_the_exit_code_the_report_and_the_words(spools: Spools) -> None:
    dead_life(spools.spool, log_some)
    program = (
        "from logship._spool.orphan import Orphan\n"
        "def fail(*_, **__): raise MemoryError('injected')\n"
        "Orphan.mark = fail"
    )
    code, report = run(spools, program)
    assert (code, report["complete"]) == (1, False)
    assert report["refused"]
    assert "MemoryError" in str(report["notes"])
    assert "injected" in str(report["stderr"])


# -- files that no spool has ----------------------------------------------------------------------


def test_an_enormous_file_is_left_alone_and_the_others_are_shipped(tmp_path: Path) -> None:
    """The disk hardly holds it; to read what it claims would take all memory."""
    directory = dead_life(tmp_path, log_some)
    with (directory / "segment-00000099.spool").open("wb") as sparse:
        sparse.truncate(1 << 40)
    (looked,) = inspect_spool(tmp_path)
    sidecar = recover(tmp_path)
    assert len(sidecar.markers) == 30
    assert not sidecar.orphans.is_complete
    for said in (looked["reason"], str(sidecar.orphans.counters.notes)):
        assert "no file of a spool has" in str(said)


# -- segments that are not there ----------------------------------------------------------------


def log_in_segments(buffer: Buffer) -> None:
    log_some(buffer, 300)


def segments_of(directory: Path) -> list[Path]:
    return sorted(directory.glob("segment-*"))


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_missing_segment_is_named(tmp_path: Path, which: int) -> None:
    """No chunk was ever acked, so every number below the last one must be on the spool."""
    directory = dead_life(tmp_path, log_in_segments)
    assert len(segments_of(directory)) > 3
    segments_of(directory)[which].unlink()
    sidecar = recover(tmp_path)
    notes = "\n".join(sidecar.orphans.counters.notes)
    assert "a segment is missing" in notes
    assert sidecar.orphans.counters.damaged
    assert not sidecar.orphans.is_complete
    named = {stream for stream in {each[KEY][:12] for each in sidecar.records} if stream in notes}
    assert named


HARMS: dict[str, Callable[[Path], object]] = {
    "removed": Path.unlink,
    "emptied": lambda path: path.write_bytes(b""),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}
"""What a power cut or a person may do to a file."""


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("left", [0, 1, 2])
def test_where_the_last_segments_are_gone_nothing_is_called_complete(
    tmp_path: Path, harm: str, left: int
) -> None:
    directory = dead_life(tmp_path, log_in_segments)
    for segment in segments_of(directory)[left:]:
        HARMS[harm](segment)
    sidecar = recover(tmp_path)
    assert "a segment is missing or empty" in "\n".join(sidecar.orphans.counters.notes)
    assert not sidecar.orphans.is_complete
    ended = [each for each in sidecar.controls if "logship_end" in each]
    assert ended == [], "a number that follows the last one known may have been given out"


def test_chunks_that_were_acked_are_not_missed(tmp_path: Path) -> None:
    def acks_all(buffer: Buffer) -> None:
        log_in_segments(buffer)
        buffer.seal_all()
        for chunk in iter(buffer.departure.take, None):
            buffer.release(chunk)

    directory = dead_life(tmp_path, acks_all)
    for segment in segments_of(directory):
        segment.unlink()
    sidecar = recover(tmp_path)
    assert sidecar.orphans.counters.notes == []
    assert sidecar.orphans.is_complete


def test_acks_in_any_order_and_dropped_records_are_no_missing_segment(tmp_path: Path) -> None:
    def acks_the_second(buffer: Buffer) -> None:
        log_some(buffer, 30)
        buffer.seal_all()
        taken = [buffer.departure.take() for _ in range(3)]
        assert offer(buffer, "between", "a")
        buffer.number_and_drop("a", b"")
        assert offer(buffer, "last", "a")
        assert taken[1] is not None
        buffer.release(taken[1])

    dead_life(tmp_path, acks_the_second)
    sidecar = recover(tmp_path)
    assert sidecar.orphans.counters.notes == []
    assert sidecar.orphans.is_complete


def test_without_stamps_a_dropped_record_is_no_missing_segment(tmp_path: Path) -> None:
    """A chunk does not show the number that was dropped while it was open."""

    def drop_one(buffer: Buffer) -> None:
        def log(text: str) -> None:
            entry = pack_record({"message": text}, 1, extra_fields=0)
            assert buffer.offer("tag", entry) is Outcome.ACCEPTED

        log("before")
        assert buffer.number_and_drop("tag", b"") is not None
        log("after")
        buffer.seal_all()
        log("next chunk")

    dead_life(tmp_path, drop_one, stamp_key=None)
    sidecar = recover(tmp_path)
    assert sidecar.markers == ["before", "after", "next chunk"]
    assert sidecar.orphans.counters.notes == []
    assert sidecar.orphans.is_complete


@pytest.mark.parametrize(
    ("missing", "chunks"),
    [(slice(2, None), 1), *((slice(1, 2), chunks) for chunks in range(1, 9))],
)
def test_a_recoverer_that_dies_leaves_missing_segments_to_be_named(
    tmp_path: Path, missing: slice, chunks: int
) -> None:
    directory = dead_life(tmp_path, log_in_segments)
    for segment in segments_of(directory)[missing]:
        segment.unlink()
    first = Sidecar(Orphans(tmp_path))
    first.take_in(chunks)
    first.ack_all()
    first.orphans.close()
    second = recover(tmp_path)
    notes = [*first.orphans.counters.notes, *second.orphans.counters.notes]
    assert "a segment is missing" in "\n".join(notes)
    assert second.orphans.counters.notes == [] or not second.orphans.is_complete
