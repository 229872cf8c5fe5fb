"""`logship audit --watch` when a clock is set back, a disk stalls or an inode is used again.

Time is an argument here, so nothing waits.
"""

from __future__ import annotations

import errno
import gzip
import os
from pathlib import Path
from typing import Any

import pytest

from logship._audit import watch
from logship._audit.evidence import Stream
from logship._audit.verdict import StreamVerdict, judge
from tests.audit.lines import ONE, TWO, received, record
from tests.audit.watched import Watched

OUT, ROTATED, PACKED = Path("out.log"), Path("out.log.1"), Path("out.log.1.gz")


def delivered(*numbers: int, stream: str = ONE) -> bytes:
    return b"".join(received(record(number, stream)) + b"\n" for number in numbers)


def append(path: Path, lines: bytes) -> None:
    with path.open("ab") as file:
        file.write(lines)


# --- the clock ------------------------------------------------------------------------------------


def test_a_clock_that_is_set_back_delays_no_alert_and_no_removal() -> None:
    watched = Watched("out.log*", overdue_seconds=60, retention_seconds=100)
    ROTATED.write_bytes(delivered(1))
    OUT.write_bytes(delivered(3))
    watched.look()
    assert watched.look(-3600) == (2, 1, 0)
    assert watched.watch.figures.oldest_missing_seconds == 0
    watched.look(60)
    assert watched.watch.figures.records_overdue == 1
    watched.look(40)
    ROTATED.unlink()
    assert watched.look() == (2, 1, 0)
    assert not any("is gone" in said for said in watched.said)


def test_numbers_that_are_missing_since_one_moment_are_kept_together() -> None:
    watched = Watched("out.log*", overdue_seconds=10)
    OUT.write_bytes(delivered(1, 3))
    watched.look()
    append(OUT, delivered(5))
    watched.look(0)
    watched.look(10)
    assert watched.watch.figures.records_overdue == 2


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mounted", "mounted/*", "mounted/out.log"])
def test_a_file_that_cannot_be_looked_up_is_not_taken_for_gone(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("mounted").mkdir()
    Path("mounted/out.log").write_bytes(delivered(1, 2, 3))
    watched = Watched(name)
    assert watched.look() == (3, 0, 0)

    def stale(path: Path, **_: Any) -> os.stat_result:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))

    with monkeypatch.context() as network_file_system:
        network_file_system.setattr(Path, "stat", stale)
        assert watched.look() == (3, 0, 0)
    [said] = watched.said
    assert said.startswith("cannot read mounted")
    assert watched.look() == (3, 0, 0)


def test_one_file_that_cannot_be_looked_up_hides_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("mounted").mkdir()
    good, bad = Path("mounted/good.log"), Path("mounted/bad.log")
    good.write_bytes(delivered(1, 2))
    bad.write_bytes(delivered(3))
    watched = Watched("mounted")
    assert watched.look() == (3, 0, 0)
    stat_of = Path.stat

    def forbidden(path: Path, **options: Any) -> os.stat_result:
        if path == bad:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat_of(path, **options)

    with monkeypatch.context() as directory_of_another_user:
        directory_of_another_user.setattr(Path, "stat", forbidden)
        append(good, delivered(4))
        assert watched.look() == (4, 0, 0)
        assert watched.look() == (4, 0, 0)
    [said] = watched.said
    assert said.startswith(f"cannot read {bad}")
    assert watched.watch.figures.read_failures == 2
    bad.unlink()
    assert watched.look() == (3, 1, 0)


def test_a_stream_that_only_unreadable_lines_name_goes_with_them() -> None:
    watched = Watched("out.log*")
    OUT.write_bytes(delivered(1)[:-2] + b"\n")
    watched.look()
    assert watched.watch.figures.streams_unended == 1
    OUT.write_bytes(b"started anew\n")
    watched.look()
    assert watched.watch.figures.streams_unended == 0


def test_the_inode_of_a_file_that_could_be_removed_may_be_used_while_nothing_watches() -> None:
    watched = Watched("out.log*", retention_seconds=100)
    ROTATED.write_bytes(delivered(1, 2, 3))
    OUT.write_bytes(delivered(4, 5))
    watched.look()
    after = watched.resumed()
    ROTATED.write_bytes(delivered(6, 7, 8))
    assert after.look(500) == (8, 0, 0)
    assert after.said == []


def test_gzip_that_grew_while_nothing_watched_has_no_duplicates() -> None:
    watched = Watched("out.log*", retention_seconds=100)
    PACKED.write_bytes(gzip.compress(delivered(1, 2, 3)))
    watched.look()
    append(PACKED, gzip.compress(delivered(4, 5)))
    assert watched.resumed().look(500) == (5, 0, 0)


def test_a_file_that_grows_costs_by_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[str] = []

    def noting(stream: Stream) -> StreamVerdict:
        judged.append(stream.name)
        return judge(stream)

    monkeypatch.setattr(watch, "judge", noting)
    watched = Watched("out.log*")
    OUT.write_bytes(delivered(1, 2) + delivered(1, 2, stream=TWO))
    watched.look()
    judged.clear()
    append(OUT, delivered(3, stream=TWO))
    assert watched.look() == (5, 0, 0)
    assert judged == [TWO]
