"""`logship audit --watch`: outputs that grow, rotate, are cut and go, and what is proved of them.

Time is an argument here, so nothing waits. `test_watch_command.py` runs the program.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from logship._audit.outputs import Files
from tests.audit.lines import (
    ONE,
    TWO,
    append,
    delivered,
    end,
    gap,
    high_water,
    received,
    record,
    report,
    spilled,
    stamp,
    stream_report,
    text,
)
from tests.audit.watched import Watched, watching_three

OUT, ROTATED, PACKED = Path("out.log"), Path("out.log.1"), Path("out.log.1.gz")


# --- files that grow and rotate -------------------------------------------------------------------


def test_a_file_that_grows_is_read_on_from_where_it_ended() -> None:
    watched = Watched("out.log*")
    assert [watched.look(), watched.look()] == [(0, 0, 0)] * 2
    append(OUT, delivered(1, 3))
    assert watched.look() == (3, 0, 0)
    append(OUT, delivered(4, 5))
    assert watched.look() == (5, 0, 0)
    assert watched.look() == (5, 0, 0)
    assert watched.said == ["out.log*: nothing is there yet; logship keeps looking"]


def test_a_line_counts_when_its_end_is_there() -> None:
    watched = Watched("out.log*")
    [line] = delivered(1, 1)
    OUT.write_bytes(line[:50])
    assert watched.look() == (0, 0, 0)
    OUT.write_bytes(line)
    assert watched.look() == (0, 0, 0)
    append(OUT, [b""])
    assert watched.look() == (1, 0, 0)


def test_a_file_that_is_renamed_is_the_same_file() -> None:
    watched = watching_three()
    append(OUT, delivered(4, 4))  # after the last look before the rotation
    OUT.rename(ROTATED)
    append(OUT, delivered(5, 6))
    assert watched.look() == (6, 0, 0)
    assert watched.said == []


def test_a_file_that_is_renamed_while_files_are_listed_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched = watching_three()
    whole = Files._paths

    def paths(files: Files, hidden: list[OSError]) -> list[Path]:
        found = list(whole(files, hidden))
        if OUT.exists():
            OUT.rename(ROTATED)
        return found

    monkeypatch.setattr(Files, "_paths", paths)
    assert watched.look() == (3, 0, 0)
    assert watched.said == []


def test_a_rotated_file_that_is_packed_proves_the_same() -> None:
    watched = watching_three()
    OUT.rename(ROTATED)
    PACKED.write_bytes(gzip.compress(ROTATED.read_bytes()))
    assert watched.look() == (3, 0, 3)  # both are there
    ROTATED.unlink()
    assert watched.look() == (3, 0, 0)
    assert watched.watch.figures.parts == 1


def test_gzip_that_grows_is_read_again() -> None:
    watched = Watched("out.log*")
    for number in (1, 2, 3):
        with PACKED.open("ab") as file:
            file.write(gzip.compress(text(delivered(number, number))))
        assert watched.look() == (number, 0, 0)
    assert watched.said == []


def test_a_file_that_is_copied_and_truncated_loses_nothing() -> None:
    watched = watching_three()
    shutil.copy(OUT, ROTATED)
    os.truncate(OUT, 0)
    append(OUT, delivered(4, 5))
    assert watched.look() == (5, 0, 0)


def test_a_file_with_two_names_is_one_file() -> None:
    append(OUT, delivered(1, 3))
    ROTATED.hardlink_to(OUT)
    watched = Watched("out.log", "out.log.1")
    assert Watched("out.log*").look() == (3, 0, 0)
    assert watched.look() == (3, 0, 3)  # two outputs: each is asked for


def test_a_directory_stands_for_all_files_below_it() -> None:
    below = Path("out/2026/11")
    below.mkdir(parents=True)
    append(below / "a.log", delivered(1, 2))
    append(Path("out/b.log"), delivered(3, 4))
    assert Watched("out").look() == (4, 0, 0)
    assert Watched(str(Path("out").absolute() / "*.log")).look() == (2, 2, 0)


# --- what is lost ---------------------------------------------------------------------------------


def test_a_file_that_is_removed_takes_its_proof_with_it() -> None:
    watched = Watched("out.log*", overdue_seconds=60)
    append(ROTATED, delivered(1, 3))
    append(OUT, delivered(4, 5))
    assert watched.look() == (5, 0, 0)
    ROTATED.unlink()
    assert watched.look() == (2, 3, 0)
    assert watched.said == ["out.log.1 is gone; what was in it no longer counts"]
    watched.look(59)
    assert watched.watch.figures.records_overdue == 0
    watched.look(1)
    assert watched.watch.figures.records_overdue == 3
    assert watched.watch.figures.oldest_missing_seconds == 60
    assert watched.said[1:] == [f"overdue: 3 records of stream {ONE} (tag web), from number 1"]
    watched.look()
    assert len(watched.said) == 2


def test_a_file_without_records_may_go() -> None:
    watched = Watched("out*")
    Path("out.log.meta").write_bytes(b"\x81\xa3\n")
    append(OUT, delivered(1, 3))
    assert watched.look() == (3, 0, 0)
    Path("out.log.meta").unlink()
    assert watched.look() == (3, 0, 0)
    assert watched.said == []


def test_a_removed_file_is_missed_also_if_no_other_file_names_its_streams() -> None:
    watched = Watched("out.log*")
    append(OUT, [*delivered(1, 3), received(end(4, 3))])
    assert watched.look() == (3, 0, 0)
    OUT.unlink()
    assert watched.look() == (0, 4, 0)
    assert watched.resumed().look() == (0, 4, 0)
    append(ROTATED, [*delivered(1, 3), received(end(4, 3))])  # it was only moved away for a while
    assert watched.look() == (3, 0, 0)


def test_a_file_that_is_cut_takes_its_tail_with_it() -> None:
    watched = Watched("out.log*")
    append(OUT, [*delivered(1, 5), received(end(6, 5))])
    append(ROTATED, delivered(1, 2, TWO))
    assert watched.look() == (7, 0, 0)
    os.truncate(OUT, len(text(delivered(1, 3))))
    assert watched.look() == (5, 3, 0)
    append(OUT, [received(end(6, 5))])
    assert watched.look() == (5, 2, 0)
    assert watched.said == ["out.log was cut or replaced; 3 records of it no longer count"]


KNOWN_FROM_STDERR = {
    "a report": report(stream_report(9, 8, end=9)),
    "a copy": spilled(record(9)),
    "a stated number": spilled(high_water(1, stamp(9))),
}


@pytest.mark.parametrize("how", ["removed", "cut"])
@pytest.mark.parametrize("line", KNOWN_FROM_STDERR.values(), ids=KNOWN_FROM_STDERR)
def test_what_only_stderr_knew_of_is_missing_when_stderr_is_gone(line: bytes, how: str) -> None:
    watched, stderr = Watched("out.log", "stderr.log"), Path("stderr.log")
    append(OUT, [*delivered(1, 2), *delivered(1, 1, TWO)])
    append(stderr, [line])
    watched.look()
    if how == "removed":
        stderr.unlink()
    else:
        os.truncate(stderr, 0)
    watched.look()
    assert list(watched.watch.verdicts[ONE].lost) == [(3, 9)]
    after = watched.resumed()
    after.look()
    assert list(after.watch.verdicts[ONE].lost) == [(3, 9)]
    [said] = watched.said
    assert said.startswith("stderr.log")


# --- what cannot be read --------------------------------------------------------------------------


def test_what_cannot_be_read_is_told_once_and_still_counts() -> None:
    watched = Watched("out.log*")
    append(OUT, delivered(1, 3))
    PACKED.write_bytes(gzip.compress(text(delivered(4, 5))))
    assert watched.look() == (5, 0, 0)
    PACKED.write_bytes(PACKED.read_bytes()[:12] + b"damaged" * 9)
    for _ in "12":
        assert watched.look() == (5, 0, 0)
    assert watched.watch.figures.read_failures == 2
    [said] = watched.said
    assert said.startswith("cannot read out.log.1.gz: its gzip data is damaged")
    PACKED.write_bytes(gzip.compress(text(delivered(4, 6))))
    assert watched.look() == (6, 0, 0)


# --- what may be removed --------------------------------------------------------------------------


def test_what_is_old_enough_may_be_removed() -> None:
    watched = Watched("out.log*", retention_seconds=100)
    append(ROTATED, delivered(1, 3))
    append(OUT, delivered(4, 5))
    watched.look()
    watched.look(100)
    ROTATED.unlink()
    assert watched.look() == (5, 0, 0)
    OUT.unlink()
    assert watched.look() == (5, 0, 0)
    assert watched.said == []


def test_a_file_that_may_be_removed_needs_no_memory_of_its_own() -> None:
    watched = Watched("out.log*", retention_seconds=100)
    append(ROTATED, delivered(1, 3))
    watched.look()
    append(OUT, delivered(4, 5))
    watched.look(100)
    parts = watched.watch.state()["outputs"]["out.log*"].values()
    assert {part["name"]: len(part["streams"]) for part in parts} == {"out.log.1": 0, "out.log": 1}
    append(OUT, delivered(3, 3))
    assert watched.look() == (5, 0, 1)
    append(ROTATED, delivered(6, 6))
    assert watched.look() == (6, 0, 1)


def test_a_young_file_may_not() -> None:
    watched = Watched("out.log*", retention_seconds=100)
    append(ROTATED, delivered(1, 3))
    append(OUT, delivered(4, 5))
    watched.look()
    watched.look(99)
    append(ROTATED, [b"it is written to"])
    watched.look(1)
    watched.look(99)
    ROTATED.unlink()
    assert watched.look(0) == (2, 3, 0)


# --- its state ------------------------------------------------------------------------------------


def test_a_watch_goes_on_with_the_state_of_another() -> None:
    """At each moment: one that was killed and started again says what one says that lives."""
    chance = random.Random(7)
    lines = [
        *(received(record(number)) for number in range(1, 40) if number % 9),
        *(received(record(number, TWO)) for number in range(1, 30)),
        received(gap(40, 9, 9)),
        spilled(record(18)),
        received(end(41, 38)),
        received(end(41, 37, kind="recovered")),
        report(stream_report(29, 29, stream=TWO, spilled=[(3, 4)], dropped=[(5, 5, "overflow")])),
        received(high_water(30, stamp(90, TWO))),
    ]
    chance.shuffle(lines)
    living = killed = Watched("out.log*", overdue_seconds=3)
    while lines:
        count = chance.randint(1, 9)
        append(chance.choice([OUT, ROTATED]), lines[:count])
        del lines[:count]
        killed = killed.resumed()
        assert killed.look() == living.look()
        assert killed.watch.state() == living.watch.state()
        assert {name: each.outcome for name, each in killed.watch.verdicts.items()} == {
            name: each.outcome for name, each in living.watch.verdicts.items()
        }


def test_an_output_that_is_no_longer_named_no_longer_counts() -> None:
    watched = Watched("out.log", "out.log.1")
    append(OUT, delivered(1, 3))
    append(ROTATED, delivered(4, 5))
    watched.look()
    assert watched.resumed("out.log").look() == (3, 0, 0)


@pytest.mark.parametrize("change", [{"version": 2}, {"stamp_key": "id"}, {"outputs": 7}])
def test_the_state_of_another_watch_is_refused(change: dict[str, Any]) -> None:
    state = {**Watched("out.log*").watch.state(), **change}
    with pytest.raises((AttributeError, KeyError, TypeError, ValueError)):
        Watched("out.log*").watch.resume(state)


def test_the_state_grows_with_gaps_and_not_with_records() -> None:
    watched = Watched("out.log*")
    append(OUT, delivered(1, 100))
    watched.look()
    size = len(json.dumps(watched.watch.state()))
    append(OUT, delivered(101, 20_000))
    assert watched.look() == (20_000, 0, 0)
    assert len(json.dumps(watched.watch.state())) < size + 50
