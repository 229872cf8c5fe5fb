"""What high-water records prove: a lost tail, of a stream whose end nothing shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from logship._audit.verdict import Outcome, StreamVerdict
from logship._client.background import BackgroundClient
from logship._settings import Settings
from tests.audit.asking import judged
from tests.audit.lines import (
    FORMATS,
    ONE,
    TWO,
    Format,
    delivered,
    end,
    high_water,
    received,
    report,
    spilled,
    stamp,
    stream_report,
)
from tests.support.receiver_process import ReceiverProcess
from tests.support.waiting import wait_until


def judge(*lines: bytes) -> dict[str, StreamVerdict]:
    return {stream.stream: stream for stream in judged(lines).streams}


@pytest.mark.parametrize("line_format", FORMATS)
def test_a_tail_below_the_stated_number_is_lost(line_format: Format) -> None:
    lines = [*delivered(1, 2), line_format(high_water(1, stamp(5)))]
    for order in (lines, lines[::-1]):
        streams = judge(*order)
        assert (list(streams[ONE].lost), streams[ONE].tag) == ([(3, 5)], "web")
        assert (streams[ONE].outcome, streams[ONE].last) == (Outcome.LOST, 5)
        assert (streams[TWO].records, streams[TWO].delivered.count) == (0, 1)


def test_a_stream_of_which_nothing_arrived_is_lost_as_far_as_it_is_known() -> None:
    assert list(judge(received(high_water(1, stamp(3))))[ONE].lost) == [(1, 3)]


def test_a_number_that_arrived_proves_no_end() -> None:
    stream = judge(*delivered(1, 2), received(high_water(1, stamp(1), stamp(2))))[ONE]
    assert (stream.outcome, stream.proof) == (Outcome.UNPROVEN, None)


def test_the_highest_statement_counts_whichever_is_read_last() -> None:
    stated = [received(high_water(1, stamp(4))), received(high_water(2, stamp(2)))]
    assert list(judge(*delivered(1, 1), *stated)[ONE].lost) == [(2, 4)]


def test_a_spilled_statement_counts_too() -> None:
    streams = judge(*delivered(1, 1), spilled(high_water(1, stamp(2))))
    assert list(streams[ONE].lost) == [(2, 2)]
    assert list(streams[TWO].spilled) == [(1, 1)]


def test_an_old_report_does_not_excuse_what_was_numbered_after_it() -> None:
    lines = [*delivered(1, 1), report(stream_report(1, 1)), received(high_water(1, stamp(3)))]
    assert list(judge(*lines)[ONE].lost) == [(2, 3)]


def test_high_water_records_are_no_records_of_the_application() -> None:
    lines = [*delivered(1, 1), received(end(2, 1)), received(high_water(1, stamp(1)))]
    streams = judge(*lines, received(end(2, 0, TWO)))
    assert {each.outcome for each in streams.values()} == {Outcome.COMPLETE}
    assert [streams[name].records for name in (ONE, TWO)] == [1, 0]


def test_statements_are_not_behind_the_end_of_a_stream_without_records() -> None:
    lines = [received(high_water(number, stamp(1))) for number in (1, 2)]
    told = report(stream_report(1, 1), stream_report(3, 0, stream=TWO, end=3))
    stream = judge(*delivered(1, 1), *lines, told)[TWO]
    assert (stream.outcome, list(stream.beyond)) == (Outcome.COMPLETE, [])


def test_a_statement_beyond_the_end_contradicts_it() -> None:
    lines = [*delivered(1, 1), received(end(2, 1)), received(high_water(1, stamp(3)))]
    [problem] = judge(*lines)[ONE].problems
    assert problem == "goes on to 3 after its end record 2"


@pytest.mark.parametrize("value", [None, 7, "text", [7, None, "no stamp", f"{ONE}:0000000000"]])
def test_what_is_no_stamp_states_nothing(value: Any) -> None:
    odd = {**high_water(1), "logship_high_water": value}
    assert list(judge(received(odd))) == [TWO]


def test_a_tail_that_a_real_sidecar_loses_is_found_while_the_client_lives(tmp_path: Path) -> None:
    def is_stated() -> bool:
        return (
            re.search(rb'high_water":\["[^"]*:0000000101"', receiver.out.read_bytes()) is not None
        )

    with ReceiverProcess.start(tmp_path / "out.jsonl") as receiver:
        settings = Settings(endpoints=receiver.endpoint, tag="web", high_water_seconds=0.001)
        client = BackgroundClient(settings)
        for number in range(1, 101):
            client.emit({"message": f"line {number}"})
        client.flush()
        client.emit({"message": "the last one"})
        wait_until(is_stated, "the number of the last one is stated")
        lines = receiver.out.read_bytes().splitlines()
        client.close()
    whole = [line for line in lines if not re.search(rb'"line (9[6-9]|100)"|the last one', line)]
    [lost] = [stream.lost for stream in judge(*whole).values() if stream.lost]
    assert list(lost) == [(96, 101)]
