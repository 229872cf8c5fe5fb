"""Shows what a recoverer declares at the end of a stream: its gaps, and then its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logship._buffer.buffer import Buffer
from logship._reasons import OVERFLOW, QUARANTINED
from logship._spool import adoption
from logship._spool.directories import ProcessDirectory
from logship._spool.format import SLOT_CHECKSUM_AT, slot_at
from logship._spool.orphans import Orphans
from logship.testing import ManualClock
from tests.spool.recoveries import (
    Sidecar,
    cannot_be_removed,
    dead_life,
    log_some,
    next_chunk,
    number_of,
    recover,
    ship,
)
from tests.spool.spools import KEY, a_buffer, offer
from tests.unit.accounts import gaps_in, taken


def test_a_refused_record_s_chunk_is_shipped_again_where_the_directory_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the same chunk. Its stream is ended behind the gap, and not once more."""

    def fill(buffer: Buffer) -> None:
        assert offer(buffer, "poison")
        assert offer(buffer, "good")
        buffer.close_intake()

    life = dead_life(tmp_path, fill)
    orphans = Orphans(tmp_path)
    with monkeypatch.context() as context:
        context.setattr(ProcessDirectory, "remove", cannot_be_removed)
        first = ship(orphans, takes=lambda record: record["message"] != "poison")
    orphans.close()
    assert life.exists()
    sidecar = recover(tmp_path)
    assert sidecar.markers == ["poison", "good"]
    *shipped, gap, end = first
    assert (gap["logship_gap"], end["logship_end"]) == ([1, 1, "quarantined"], "recovered")
    assert [*sidecar.records[1:], *sidecar.controls] == shipped
    assert not life.exists()


def test_a_stream_without_a_slot_is_ended_by_each_recoverer_with_one_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing stores that it has ended, so the gap of the refused record is declared again."""
    life = dead_life(tmp_path, lambda buffer: log_some(buffer, 4))
    streams = life / "streams"
    data = bytearray(streams.read_bytes())
    data[slot_at(0) + SLOT_CHECKSUM_AT] ^= 1
    streams.write_bytes(data)
    ends = []
    for _ in range(2):
        orphans = Orphans(tmp_path)
        with monkeypatch.context() as context:
            context.setattr(ProcessDirectory, "remove", cannot_be_removed)
            taken = ship(orphans, takes=lambda record: record["message"] != "m3")
        orphans.close()
        ends.append([each[KEY] for each in taken if "logship_end" in each])
    assert len(ends[0]) == 3
    assert set(ends[1]) <= set(ends[0])


def takes_every_second(record: dict[str, Any]) -> bool:
    return "logship_id" not in record or is_ours(record) or number_of(record) % 2 == 0


def is_ours(record: dict[str, Any]) -> bool:
    return "logship_end" in record or "logship_gap" in record


def test_gaps_that_are_too_many_for_one_chunk_are_told_in_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adoption, "_CONTROLS_MAX", 2)
    life = dead_life(tmp_path, log_some)
    taken = ship(Orphans(tmp_path), takes=takes_every_second)
    assert not life.exists()
    for stream in {each[KEY][:12] for each in taken}:
        told = [each for each in taken if each[KEY][:12] == stream and is_ours(each)]
        gaps = [each["logship_gap"][0] for each in told if "logship_gap" in each]
        assert gaps == [1, 3, 5, 7, 9]
        assert [each for each in told if "logship_end" in each] == told[-1:]
        assert [number_of(each) for each in told] == [*range(11, 17)]


def test_an_end_is_not_told_before_all_gaps_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adoption, "_CONTROLS_MAX", 2)
    life = dead_life(tmp_path, log_some)

    def takes_not_all_gaps(record: dict[str, Any]) -> bool:
        return takes_every_second(record) and record.get("logship_gap") != [7, 7, QUARANTINED]

    first = Orphans(tmp_path)
    early = ship(first, takes=takes_not_all_gaps)
    first.close()
    assert not [each for each in early if "logship_end" in each]
    assert life.exists()
    late = ship(Orphans(tmp_path), takes=takes_every_second)
    assert len([each for each in late if "logship_end" in each]) == 3
    assert not life.exists()


def drops_one_and_closes(buffer: Buffer) -> None:
    assert offer(buffer, "m0")
    chunk = taken(buffer)
    buffer.give_up(chunk, QUARANTINED)
    assert offer(buffer, "m2")
    buffer.close_intake()


LAST_WORDS = {
    "an end that a recoverer tells": (log_some, "logship_end"),
    "a gap that a recoverer tells": (log_some, "logship_gap"),
    "an end that the stream told itself": (drops_one_and_closes, "logship_end"),
    "a gap that the stream told itself": (drops_one_and_closes, "logship_gap"),
}


@pytest.mark.parametrize(("fill", "field"), LAST_WORDS.values(), ids=LAST_WORDS)
def test_a_gap_or_an_end_that_no_server_takes_is_told_by_the_next_recoverer(
    tmp_path: Path, fill: Callable[[Buffer], None], field: str
) -> None:
    """As a sidecar that fails for a while may not take it, though it takes everything else."""
    life = dead_life(tmp_path, fill)
    poison = {"m1"}  # so that a recoverer has a gap to tell

    def takes_no_word(record: dict[str, Any]) -> bool:
        return field not in record and record["message"] not in poison

    first = Orphans(tmp_path)
    early = ship(first, takes=takes_no_word)
    first.close()
    assert not [each for each in early if field in each]
    assert life.exists()
    late = ship(Orphans(tmp_path), takes=lambda record: record["message"] not in poison)
    assert not life.exists()
    quarantined = [each.suffix for each in tmp_path.glob("quarantine/*")]
    # None of our own records, though a server refused them.
    assert quarantined == ([".entry"] if fill is log_some else [])
    for stream in {each[KEY][:12] for each in early + late}:
        mine = [each for each in early + late if each[KEY][:12] == stream]
        arrived = {int(each[KEY][13:]) for each in mine}
        gaps = gaps_in(mine)
        declared = {number for begin, last, _ in gaps for number in range(begin, last + 1)}
        (end,) = {int(each[KEY][13:]) for each in mine if "logship_end" in each}
        assert arrived | declared == set(range(1, end + 1))


def test_the_same_process_tells_an_end_again_after_a_while(tmp_path: Path) -> None:
    life, clock = dead_life(tmp_path, log_some), ManualClock(0.0)
    orphans = Orphans(tmp_path, monotonic=clock)
    assert len(ship(orphans, takes=lambda record: "logship_end" not in record)) == 30
    for clock.seconds, lives in ((59.0, 1), (66.0, 2), (130.0, 2), (190.0, 3)):
        taken = ship(orphans, takes=lambda _: clock() > 180)
        assert orphans.counters.lives == lives
    assert [each["logship_end"] for each in taken] == ["recovered"] * 3
    assert not life.exists()


# -- a chunk that is given up ----------------------------------------------------------------------


def test_what_a_chunk_declared_is_declared_again_where_it_is_given_up(tmp_path: Path) -> None:
    def log(buffer: Buffer) -> None:
        assert offer(buffer, "m0", "a")
        buffer.seal_all()
        first = buffer.departure.take()
        assert first is not None
        buffer.give_up(first, OVERFLOW)
        log_some(buffer, 1)
        log_some(buffer, 1)

    dead_life(tmp_path, log)
    sidecar = Sidecar(Orphans(tmp_path))
    chunk = next_chunk(sidecar.orphans)
    assert [*chunk.gaps] == [(1, 1, OVERFLOW)]
    a_buffer().give_up(chunk, QUARANTINED)
    sidecar.take_in()
    assert gaps_in(sidecar.controls) == [[1, 1, OVERFLOW], [2, 4, QUARANTINED]]
    assert list(tmp_path.iterdir()) == [tmp_path / "quarantine"]


def test_what_is_given_up_for_another_reason_is_declared_and_not_quarantined(
    tmp_path: Path,
) -> None:
    dead_life(tmp_path, lambda buffer: log_some(buffer, 1))
    first, second = Sidecar(Orphans(tmp_path)), Sidecar(Orphans(tmp_path))
    a_buffer().give_up(next_chunk(first.orphans), OVERFLOW)
    first.orphans.close()
    chunk = next_chunk(second.orphans)  # it has no mark
    assert chunk.may_be_dropped
    a_buffer().give_up(chunk, OVERFLOW)
    second.take_in()
    assert gaps_in(second.controls) == [[1, 1, OVERFLOW]]
    assert second.orphans.counters.notes == []
    assert list(tmp_path.iterdir()) == []
