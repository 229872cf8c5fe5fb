"""A watch recognises a file that it has read before, and reads only what is new in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from logship._audit.outputs import FilePart, Files
from tests.audit.lines import ONE, TWO, append, delivered, plain, stamp, text
from tests.audit.watched import Watched, watching_three

OUT, ROTATED = Path("out.log"), Path("out.log.1")


def test_a_file_that_is_rotated_before_it_is_opened_is_left_to_the_next_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched = Watched("out.log*")
    append(OUT, delivered(1, 3))
    whole = Files.parts

    def parts(files: Files) -> list[FilePart]:
        found = list(whole(files))
        if not ROTATED.exists():
            OUT.rename(ROTATED)
            append(OUT, delivered(4, 6))
        return found

    monkeypatch.setattr(Files, "parts", parts)
    assert watched.look() == (0, 0, 0)
    assert watched.resumed().look() == (6, 0, 0)
    assert watched.look() == (6, 0, 0)
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
