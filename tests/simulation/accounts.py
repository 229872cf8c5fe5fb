"""Compares what a client says of itself with what the judge has seen."""

from __future__ import annotations

import json
from typing import Any

from logship._reasons import MIXED, WITHHELD
from tests.simulation.ledgers import Account, Holdings, Life
from tests.simulation.options import Options
from tests.simulation.wire import Violation

_CONTROL_BYTES_MAX = 200


def check_account(life: Life, said: Account) -> None:
    """Compare what the client says with what was seen; after every event."""
    if said.accepted != life.accepted:
        raise Violation(f"says accepted={said.accepted}; it was {life.accepted}")
    if said.acked != life.acked:
        raise Violation(f"says acked={said.acked}; it was {life.acked}")
    if said.refused != life.refused:
        raise Violation(f"says refused={said.refused}; it was {life.refused}")


def check_holdings(options: Options, said: Account, holds: Holdings) -> None:
    settled = said.acked + said.spilled + said.dropped
    if said.accepted != settled + holds.records:
        raise Violation(f"{said} and {holds.records} pending do not add up")
    if said.bytes_held != holds.data_bytes:
        raise Violation(f"says {said.bytes_held} bytes are held; it is {holds.data_bytes}")
    controls = holds.entries - holds.records
    if said.bytes_held > options.buffer_bytes_max + controls * _CONTROL_BYTES_MAX:
        raise Violation(f"{said.bytes_held} bytes are held, {controls} control records")


def check_report(options: Options, life: Life, text: str, stderr: list[dict[str, Any]]) -> None:
    report = json.loads(text)
    parts = sum(report[key] for key in ("acked", "spooled", "spilled", "dropped", "unacked"))
    if report["accepted"] != parts or report["accepted"] != life.accepted:
        raise Violation(f"the report does not add up to {life.accepted}: {report}")
    if report["acked"] != life.acked or report["refused"] != life.refused:
        raise Violation(f"acked were {life.acked}, refused {life.refused}: {report}")
    named = {each["stream"]: each for each in report["streams"]}
    for name in life.streams:
        if name not in named:
            raise Violation(f"stream {name} is not in the report")
    if sum(each["accepted"] for each in report["streams"]) != life.accepted:
        raise Violation(f"the streams do not add up to {life.accepted}: {report}")
    on_stderr = _spilled_stamps(stderr, options.stamp_key)
    for each in report["streams"]:
        _check_numbers(options, life, each, on_stderr)
    withheld = sum(_withheld_numbers(life, each) for each in report["streams"])
    has_mixed = any(_has_mixed(life, each) for each in report["streams"])
    if report["withheld"] < withheld or (report["withheld"] > withheld and not has_mixed):
        raise Violation(f"{withheld} numbers of withheld records are declared: {report}")


def _check_numbers(options: Options, life: Life, told: dict[str, Any], on_stderr: set[str]) -> None:
    """Every number that was given out is acked or named, and none is both."""
    name = told["stream"]
    stream = life.streams.get(name)
    left = set(stream.acked) if stream is not None else set()
    withheld = stream.withheld if stream is not None else set()
    for key in ("spilled", "dropped", "unacked", "spooled"):
        for first, last, *why in told[key]:
            for number in range(first, last + 1):
                if number in left or (number in withheld and why != [MIXED]):
                    raise Violation(f"{name}:{number} is named twice, again as {key}")
                left.add(number)
                if key == "spilled" and f"{name}:{number:010d}" not in on_stderr:
                    raise Violation(f"{name}:{number} is told as spilled, and is not on stderr")
    if stream is not None:
        left |= stream.withheld | stream.mixed
        left_out = life.may_leave_out(options.lost_max)
        left |= {number for stream_id, number in left_out if stream_id == name}
    expected = range(1, told["last"] + 1)
    if left != set(expected):
        missing = sorted(set(expected) - left)
        raise Violation(f"numbers {missing} of {name} are acked nowhere and named nowhere")
    if told["end"] != told["last"]:
        raise Violation(f"the last number of {name} is {told['last']}, its end {told['end']}")


def _declared_too_late(life: Life, told: dict[str, Any]) -> set[tuple[str, int]]:
    """Return what only the report can name any more.

    A gap record that is given up while the client drains comes after its stream's end record:
    nothing can declare again what it declared.
    """
    name = told["stream"]
    named = {
        number
        for key in ("spilled", "dropped")
        for first, last, *_ in told[key]
        for number in range(first, last + 1)
    }
    return {
        (name, number)
        for frame in life.given_up_late
        if frame.stream == name
        for first, last, _ in frame.gaps
        for number in named.intersection(range(first, last + 1))
    }


def check_declared(life: Life, told: dict[str, Any], excused: set[tuple[str, int]]) -> None:
    """Every number was delivered, or declared in the stream, or is excused.

    Args:
        life: The client's.
        told: What its report says of a stream.
        excused: Stamps of what is left, or was given up too late.
    """
    name = told["stream"]
    excused = excused | _declared_too_late(life, told)
    stream = life.streams.get(name)
    is_left = (name, told["last"]) in excused
    if stream is None or not (is_left or stream.end_number == told["last"]):
        raise Violation(f"the end record of {name} was not delivered")
    if not is_left and stream.accepted_at_end != told["accepted"]:
        raise Violation(f"the end record of {name} says {stream.accepted_at_end} were accepted")
    for number in range(1, told["last"] + 1):
        if number in stream.acked or number in stream.declared:
            continue
        if (name, number) not in excused:
            raise Violation(f"{name}:{number} was neither delivered nor declared")


def _withheld_numbers(life: Life, told: dict[str, Any]) -> int:
    """Return how many numbers of a stream are declared as withheld, in it or in the report."""
    stream = life.streams.get(told["stream"])
    named: list[int] = [last - first + 1 for first, last, why in told["dropped"] if why == WITHHELD]
    return sum(named) + (len(stream.withheld) if stream is not None else 0)


def _has_mixed(life: Life, told: dict[str, Any]) -> bool:
    """Tell whether gaps of a stream were too many, so that some do not tell the reason."""
    stream = life.streams.get(told["stream"])
    is_delivered = stream is not None and bool(stream.mixed)
    return is_delivered or any(why == MIXED for _, _, why in told["dropped"])


def _spilled_stamps(lines: list[dict[str, Any]], stamp_key: str) -> set[str]:
    return {line["record"][stamp_key] for line in lines if line.get("logship") == "spilled"}
