"""Lines are in the operating system's hands when `write` returns, and an error otherwise."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from logship._receiver.sinks import LineSink, OutputError
from tests.support.raising import raising


def test_a_torn_last_line_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b'whole\n{"torn": ')
    sink = LineSink.open(path)
    sink.write(b"new\n")
    sink.write(b"newer\n")
    assert path.read_bytes() == b'whole\n{"torn": \nnew\nnewer\n'


def test_standard_output_may_be_a_torn_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"torn")
    with path.open("a") as file:
        monkeypatch.setattr(sys, "stdout", file)
        LineSink.stdout().write(b"new\n")
    assert path.read_bytes() == b"torn\nnew\n"


def test_a_closed_standard_output_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(OutputError, match="cannot write to standard output: it is closed"):
        LineSink.stdout()


@pytest.mark.parametrize("is_readable", [True, False])
def test_a_file_that_cannot_be_read_may_be_torn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_readable: bool
) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"whole\n")
    with monkeypatch.context() as patch:
        if not is_readable:
            refused = PermissionError(errno.EACCES, "Permission denied")
            patch.setattr(Path, "open", raising(refused))
        LineSink.open(path).write(b"new\n")
    assert path.read_bytes() == (b"whole\nnew\n" if is_readable else b"whole\n\nnew\n")


def test_a_new_file_is_not_for_all_users(tmp_path: Path) -> None:
    path = tmp_path / "out"
    LineSink.open(path)
    assert path.stat().st_mode & 0o777 == 0o640 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_file_that_was_removed_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "out"
    sink = LineSink.open(path)
    sink.write(b"old\n")
    path.unlink()
    sink.write(b"new\n")
    assert path.read_bytes() == b"new\n"


def test_standard_output_that_was_removed_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out"
    with path.open("a") as file:
        monkeypatch.setattr(sys, "stdout", file)
        by_name = LineSink.open(Path(f"/dev/fd/{file.fileno()}"))
        sinks = LineSink.stdout(), by_name
        for sink in sinks:
            sink.write(b"old\n")
        path.unlink()
        for sink in sinks:
            with pytest.raises(OutputError, match=r"cannot write to .*: the file was removed"):
                sink.write(b"new\n")


def test_a_file_that_never_had_a_name_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryFile(dir=tmp_path) as file:
        monkeypatch.setattr(sys, "stdout", file)
        LineSink.stdout().write(b"line\n")
        file.seek(0)
        assert file.read() == b"line\n"


def test_where_it_cannot_be_opened_anew_nothing_is_lost(tmp_path: Path) -> None:
    directory = tmp_path / "directory"
    directory.mkdir()
    sink = LineSink.open(directory / "out")
    directory.rename(tmp_path / "moved")
    with pytest.raises(OutputError, match="No such file or directory"):
        sink.reopen()
    sink.write(b"line\n")
    assert (tmp_path / "moved" / "out").read_bytes() == b"line\n"
    (tmp_path / "moved" / "out").unlink()
    with pytest.raises(OutputError, match="No such file or directory"):
        sink.write(b"line\n")


def test_a_fifo_in_its_place_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "out"
    sink = LineSink.open(path)
    path.rename(tmp_path / "moved")
    os.mkfifo(path)
    with pytest.raises(OutputError, match="No such device or address"):
        sink.reopen()
    sink.write(b"line\n")
    assert (tmp_path / "moved").read_bytes() == b"line\n"


def test_a_file_that_another_machine_has_removed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As NFS tells it: without one, the receiver would close its connections without a word."""
    sink = LineSink.open(tmp_path / "out")
    fault = "cannot write to .*/out: Stale file handle"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", raising(OSError(errno.ESTALE, "Stale file handle")))
        with pytest.raises(OutputError, match=fault):
            sink.write(b"line\n")


def test_writing_nothing_adds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"torn")
    LineSink.open(path).write(b"")
    assert path.read_bytes() == b"torn"


def test_after_a_write_that_failed_half_way_a_new_line_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_write = os.write
    calls = []

    def fill_up(descriptor: int, data: memoryview) -> int:
        calls.append(data)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real_write(descriptor, data[:5] if len(calls) == 1 else data)

    monkeypatch.setattr(os, "write", fill_up)
    path = tmp_path / "out"
    sink = LineSink.open(path)
    with pytest.raises(OutputError, match=r"cannot write to .*/out: No space left on device"):
        sink.write(b"first line\n")
    sink.write(b"first line\n")
    assert path.read_bytes() == b"first\nfirst line\n"


def test_behind_a_torn_line_of_another_program_a_new_line_begins(tmp_path: Path) -> None:
    """As that of another receiver, whose disk was full for a moment or which was killed."""
    path = tmp_path / "out"
    sink = LineSink.open(path)
    for torn in (b"torn", b"torn again"):
        with path.open("ab") as file:
            file.write(torn)
        sink.write(b"line\n")
        sink.write(b"line\n")
    assert path.read_bytes() == b"torn\nline\nline\ntorn again\nline\nline\n"
    path.write_bytes(b"cut")
    sink.write(b"line\n")
    assert path.read_bytes() == b"cut\nline\n"


def test_a_pipe_that_does_not_wait_is_waited_for() -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    lines = b"0123456789abcde\n" * (1 << 17)
    sink = LineSink(write_end, "the pipe")
    with ThreadPoolExecutor() as pool, os.fdopen(read_end, "rb") as reading:
        pool.submit(sink.write, lines).add_done_callback(lambda _: os.close(write_end))
        assert reading.read() == lines


@pytest.mark.parametrize("path", ["missing/out", "."])
def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path, path: str) -> None:
    with pytest.raises(OutputError, match=f"cannot open {tmp_path / path} for writing: "):
        LineSink.open(tmp_path / path)
