"""`logship audit --watch` when clocks, disks, files and its own state are not as usual.

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
from logship._audit.outputs import FilePart, Files
from logship._audit.verdict import StreamVerdict, judge
from logship._cli.watching import BadState, resume, save
from tests.audit.lines import ONE, TWO, append, delivered, plain, received, record, stamp, text
from tests.audit.watched import Watched, watching_three

OUT, ROTATED, PACKED = Path("out.log"), Path("out.log.1"), Path("out.log.1.gz")


def lines_of(*numbers: int, stream: str = ONE) -> bytes:
    return text(received(record(number, stream)) for number in numbers)


# --- the clock ------------------------------------------------------------------------------------


def test_a_clock_that_is_set_back_delays_no_alert_and_no_removal() -> None:
    watched = Watched("out.log*", overdue_seconds=60, retention_seconds=100)
    ROTATED.write_bytes(lines_of(1))
    OUT.write_bytes(lines_of(3))
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
    OUT.write_bytes(lines_of(1, 3))
    watched.look()
    append(OUT, delivered(5, 5))
    watched.look(0)
    watched.look(10)
    assert watched.watch.figures.records_overdue == 2


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "owner", "call"),
    [
        ("mounted", Path, "stat"),
        ("mounted/*", Path, "stat"),
        ("mounted/out.log", Path, "stat"),
        ("mounted", os, "scandir"),
        ("mounted/*", os, "scandir"),
    ],
)
def test_a_file_that_cannot_be_looked_up_is_not_taken_for_gone(
    name: str, owner: Any, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("mounted").mkdir()
    Path("mounted/out.log").write_bytes(lines_of(1, 2, 3))
    watched = Watched(name)
    assert watched.look() == (3, 0, 0)

    def stale(path: Any, **_: Any) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))

    with monkeypatch.context() as network_file_system:
        network_file_system.setattr(owner, call, stale)
        assert watched.look() == (3, 0, 0)
    [said] = watched.said
    assert said.startswith("cannot read mounted")
    assert watched.look() == (3, 0, 0)


@pytest.mark.parametrize(
    ("owner", "call", "hidden"),
    [(Path, "stat", "logs/mounted/bad.log"), (os, "scandir", "logs/mounted")],
)
def test_what_cannot_be_looked_up_hides_no_other(
    owner: Any, call: str, hidden: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = Path("logs/good.log"), Path("logs/mounted/bad.log")
    bad.parent.mkdir(parents=True)
    good.write_bytes(lines_of(1, 2))
    bad.write_bytes(lines_of(3))
    watched = Watched("logs")
    assert watched.look() == (3, 0, 0)
    real = getattr(owner, call)

    def forbidden(path: Any, **options: Any) -> Any:
        if str(path) == hidden:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, **options)

    with monkeypatch.context() as directory_of_another_user:
        directory_of_another_user.setattr(owner, call, forbidden)
        append(good, delivered(4, 4))
        assert watched.look() == (4, 0, 0)
        assert watched.look() == (4, 0, 0)
    assert watched.said == [
        f"cannot read {hidden}: Permission denied; what is known of it still counts"
    ]
    assert watched.watch.figures.read_failures == 2
    bad.unlink()
    assert watched.look() == (3, 1, 0)


def test_a_stream_that_only_unreadable_lines_name_goes_with_them() -> None:
    watched = Watched("out.log*")
    OUT.write_bytes(lines_of(1)[:-2] + b"\n")
    watched.look()
    assert watched.watch.figures.streams_unended == 1
    OUT.write_bytes(b"started anew\n")
    watched.look()
    assert watched.watch.figures.streams_unended == 0


def test_the_inode_of_a_file_that_could_be_removed_may_be_used_while_nothing_watches() -> None:
    watched = Watched("out.log*", retention_seconds=100)
    ROTATED.write_bytes(lines_of(1, 2, 3))
    OUT.write_bytes(lines_of(4, 5))
    watched.look()
    after = watched.resumed()
    ROTATED.write_bytes(lines_of(6, 7, 8))
    assert after.look(500) == (8, 0, 0)
    assert after.said == []


def test_gzip_that_grew_while_nothing_watched_has_no_duplicates() -> None:
    watched = Watched("out.log*", retention_seconds=100)
    PACKED.write_bytes(gzip.compress(lines_of(1, 2, 3)))
    watched.look()
    PACKED.write_bytes(PACKED.read_bytes() + gzip.compress(lines_of(4, 5)))
    assert watched.resumed().look(500) == (5, 0, 0)


def test_a_file_that_grows_costs_by_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[str] = []

    def noting(stream: Stream) -> StreamVerdict:
        judged.append(stream.name)
        return judge(stream)

    monkeypatch.setattr(watch, "judge", noting)
    watched = Watched("out.log*")
    OUT.write_bytes(lines_of(1, 2) + lines_of(1, 2, stream=TWO))
    watched.look()
    judged.clear()
    append(OUT, delivered(3, 3, TWO))
    assert watched.look() == (5, 0, 0)
    assert judged == [TWO]


# --- files that were read before -----------------------------------------------------------------


@pytest.mark.parametrize("last", [3, 6])
def test_a_file_that_is_rotated_before_it_is_opened_is_left_to_the_next_look(
    last: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched("out.log*")
    append(OUT, delivered(1, 3))
    whole = Files.parts

    def parts(files: Files) -> list[FilePart]:
        found = list(whole(files))
        if not ROTATED.exists():
            OUT.rename(ROTATED)
            if last > 3:  # a sidecar makes its file when it writes the first record
                append(OUT, delivered(4, last))
        return found

    monkeypatch.setattr(Files, "parts", parts)
    assert watched.look() == (0, 0, 0)
    assert watched.resumed().look() == (last, 0, 0)
    assert watched.look() == (last, 0, 0)
    assert watched.watch.figures.read_failures == 0
    assert watched.said == []


def test_another_file_that_begins_with_the_same_bytes_is_another_file() -> None:
    def long(number: int, stream: str) -> bytes:
        return plain({"message": "x" * 300, "logship_id": stamp(number, stream)})

    watched = Watched("out.log*")
    append(OUT, [long(1, ONE), long(2, ONE)])
    assert watched.look() == (2, 0, 0)
    OUT.write_bytes(text(long(number, TWO) for number in (1, 2, 3)))
    watched.look()
    lost = {name: list(each.lost) for name, each in watched.watch.verdicts.items()}
    assert lost == {ONE: [(1, 2)], TWO: []}


@pytest.mark.parametrize("magic", [b"\x1f\x8b", b"\x28\xb5\x2f\xfd"])
def test_a_plain_file_that_goes_on_like_a_packed_one_stays_plain(magic: bytes) -> None:
    watched = watching_three()
    append(OUT, [magic + b" of another program", *delivered(4, 5)])
    assert watched.look() == (5, 0, 0)
    assert watched.said == []


# --- the file of its state ------------------------------------------------------------------------


def test_two_watches_with_one_state_do_not_hinder_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.json"
    watch, other, fsync = Watched("out.log").watch, Watched("out.log").watch, os.fsync

    def while_the_other_writes(number: int) -> None:
        fsync(number)
        monkeypatch.setattr(os, "fsync", fsync)
        save(other, path)

    monkeypatch.setattr(os, "fsync", while_the_other_writes)
    save(watch, path)
    resume(watch, path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_state_that_cannot_be_put_in_its_place_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.mkdir()
    with pytest.raises(BadState, match="cannot write"):
        save(Watched("out.log").watch, path)
    assert list(tmp_path.iterdir()) == [path]
