"""The sidecar is SIGKILLed and started again while an application logs.

The receiver's file is cut where it was killed, so that each of its lives can be judged by itself.
Within one life numbers only rise: nothing came twice on one connection, and the order was kept.
A record that came twice came in two lives, because its ack died with the first of them: that is
a resend, and the only explanation that is accepted.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from tests.chaos.pacing import PacedLogging
from tests.contract.shipping import CLOSE_SECONDS_MAX, Ledger, RecordProperty, audit, wait_for_end
from tests.interop.conftest import Connect
from tests.support.servers import EmbeddedReceiver
from tests.support.waiting import wait_until

RECORDS_PER_SECOND = 3000
TAIL_BYTES = 4096


@pytest.mark.parametrize(
    "kills", [pytest.param(5), pytest.param(200, marks=[pytest.mark.proof, pytest.mark.timeout(0)])]
)
def test_a_sidecar_killed_again_and_again_loses_nothing_and_keeps_the_order(
    ledger: Ledger,
    kills: int,
    connect: Connect,
    tmp_path: Path,
    record_property: RecordProperty,
) -> None:
    with EmbeddedReceiver(tmp_path / "sidecar") as sidecar:
        client = connect(sidecar.endpoint)
        out, lives = sidecar.directory / "out" / "all.jsonl", _Lives()
        with PacedLogging(client, ledger, RECORDS_PER_SECOND, "x" * 200):
            for _ in range(kills):
                _wait_until_caught_up(out, ledger)
                sidecar.kill()
                lives.end_at(_size(out))
                sidecar.start()
        client.close(timeout=CLOSE_SECONDS_MAX)
        wait_for_end(sidecar, ledger.tag)
        lives.end_at(_size(out))
        numbers = lives.numbers(out)
        code, verdict = audit(out)
    record_property("records, duplicates", (len(ledger.markers), duplicates_of(numbers)))
    assert len(numbers) == kills + 1
    assert_explained(numbers, len(ledger.markers))
    assert code == 0, verdict


def assert_explained(lives: list[list[int]], records: int) -> None:
    """Fail unless every number came, in order, and twice only in different lives."""
    highest = 0
    for life in lives:
        assert life, "a life without a record"
        assert all(a < b for a, b in pairwise(life)), "not in order in one life"
        assert life[0] <= highest + 1, f"{highest + 1} was passed over: {life[0]} came first"
        assert life == list(range(life[0], life[-1] + 1)), "a hole within one life"
        highest = max(highest, life[-1])
    assert highest == records


def duplicates_of(lives: list[list[int]]) -> int:
    """Return how many records came again."""
    return sum(map(len, lives)) - len({number for life in lives for number in life})


def test_the_judge_of_lives_sees_each_kind_of_fault() -> None:
    assert_explained([[1, 2, 3], [3, 4], [5]], 5)
    for lives in ([[1, 2], [4]], [[1, 2, 2]], [[1, 3, 2]], [[1, 3]], [[1, 2]]):
        with pytest.raises(AssertionError):
            assert_explained(lives, 4)


class _Lives:
    """Where the receiver's file stood when each of its lives ended."""

    def __init__(self) -> None:
        self._ends = [0]

    def end_at(self, size: int) -> None:
        self._ends.append(size)

    def numbers(self, out: Path) -> list[list[int]]:
        """Return the numbers of the markers that came in each life, in their order."""
        data = out.read_bytes()
        spans = pairwise(self._ends)
        return [list(_numbers(data[begin:end])) for begin, end in spans]


def _numbers(lines: bytes) -> list[int]:
    """Return the markers' numbers; a line torn by the kill was not acked and does not count."""
    numbers = []
    for line in lines.split(b"\n"):
        try:
            record = json.loads(line)["record"]
        except ValueError:
            continue
        if "marker" in record:
            numbers.append(int(record["marker"].partition("#")[2]))
    return numbers


def _wait_until_caught_up(out: Path, ledger: Ledger) -> None:
    """Wait until the file holds what was logged up to now: or the backlog would only grow."""
    target = len(ledger.markers) + 1

    def caught_up() -> bool:
        with out.open("rb") as file:
            file.seek(max(0, _size(out) - TAIL_BYTES))
            return max(_numbers(file.read()), default=0) >= target

    wait_until(lambda: out.exists() and caught_up(), f"record {target} in the file", 60)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
