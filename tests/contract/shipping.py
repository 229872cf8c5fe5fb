"""Ships numbered records and compares the ledger with what a server wrote down.

The ledger holds a marker for each record whose `emit` returned True. Verdicts come from the
server's files alone: nothing that the client counts is believed.
"""

from __future__ import annotations

import itertools
import json
import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from logship._cli import main
from logship._client.background import BackgroundClient
from tests.support.servers import Arrived, ServerProcess
from tests.support.waiting import wait_until

RecordProperty = Callable[[str, object], None]
"""pytest's fixture `record_property`: figures for the test report."""

CLOSE_SECONDS_MAX = 40.0
"""A bound; a drain that needs it has failed."""


def new_tag() -> str:
    """Return a unique tag, safe as the name of a file."""
    return f"contract.{secrets.token_hex(6)}"


@dataclass
class Ledger:
    """What was logged, in order.

    Attributes:
        tag: Of all its records.
        markers: One for each record that was accepted.
    """

    tag: str = field(default_factory=new_tag)
    markers: list[str] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def emit(self, client: BackgroundClient, records: int, **fields: Any) -> None:
        """Log so many records, each with a marker of its own."""
        for _ in range(records):
            marker = f"{self.tag}#{next(self._numbers)}"
            if client.emit({"marker": marker, **fields}, self.tag):
                self.markers.append(marker)

    def ship(self, client: BackgroundClient, records: int, **fields: Any) -> None:
        """Log so many records, and close the client, which must get all of them acknowledged."""
        self.emit(client, records, **fields)
        assert client.close(timeout=CLOSE_SECONDS_MAX).all_acked


def markers_of(arrived: Iterable[Arrived]) -> list[str]:
    """Return the markers in the order of arrival, control records left out."""
    return [each.record["marker"] for each in arrived if "marker" in each.record]


def wait_for_end(server: ServerProcess, tag: str) -> list[Arrived]:
    """Return what arrived once the stream's end record is in the server's files."""

    def has_end() -> bool:
        # The text first: it is much cheaper than to decode all lines again and again.
        return any(
            b"logship_end" in path.read_bytes() for path in server.output_files(tag)
        ) and any("logship_end" in each.record for each in server.arrived(tag))

    wait_until(has_end, f"the end record of {tag}", CLOSE_SECONDS_MAX)
    return server.arrived(tag)


def assert_once_in_order(ledger: Ledger, arrived: Iterable[Arrived]) -> None:
    """Fail unless exactly the ledger's records arrived, in its order."""
    found = markers_of(arrived)
    assert found == ledger.markers, told(ledger, found)


def assert_records_arrive(
    client: BackgroundClient, server: ServerProcess, records: int, **fields: Any
) -> None:
    """Log so many records, close the client, and fail unless each arrives once, in order."""
    ledger = Ledger()
    ledger.emit(client, records, **fields)
    client.close(timeout=CLOSE_SECONDS_MAX)
    assert len(ledger.markers) == records
    assert_once_in_order(ledger, wait_for_end(server, ledger.tag))


def wait_for_all(ledger: Ledger, server: ServerProcess) -> list[Arrived]:
    """Return what arrived once there are as many different records as the ledger has.

    For servers that write down after a restart what they had taken before, whenever they like.
    """
    arrived: list[Arrived] = []

    def has_all() -> bool:
        arrived[:] = server.arrived(ledger.tag)
        ended = any("logship_end" in each.record for each in arrived)
        return ended and len(set(markers_of(arrived))) >= len(ledger.markers)

    try:
        wait_until(has_all, f"all of {ledger.tag}", CLOSE_SECONDS_MAX)
    except AssertionError as error:
        raise AssertionError(told(ledger, markers_of(arrived))) from error
    return arrived


def assert_nothing_lost(
    ledger: Ledger, arrived: Iterable[Arrived], *, in_order: bool = True
) -> Counter[str]:
    """Fail if a record is missing, or the first copies are out of order.

    Args:
        ledger: What must be there.
        arrived: What is.
        in_order: Whether the server keeps the order in which it took records.

    Returns:
        How often each came.
    """
    found = markers_of(arrived)
    firsts = list(dict.fromkeys(found))
    expected = ledger.markers
    assert (firsts if in_order else sorted(firsts)) == (
        expected if in_order else sorted(expected)
    ), told(ledger, firsts)
    return Counter(found)


def told(ledger: Ledger, found: list[str]) -> str:
    """Return what one needs to know when the lists differ, instead of the lists."""
    missing = [each for each in ledger.markers if each not in set(found)]
    extra = len(found) - len(set(found))
    swapped = sum(a != b for a, b in zip(dict.fromkeys(found), ledger.markers, strict=False))
    return (
        f"of {len(ledger.markers)} records {len(missing)} are missing {missing[:3]}, "
        f"{extra} came again, {swapped} stand elsewhere"
    )


def assert_complete(*paths: Path | str) -> None:
    """Fail unless `logship audit` finds everything in these files."""
    code, verdict = audit(*paths)
    assert code == 0, verdict


def audit(*paths: Path | str) -> tuple[int, dict[str, Any]]:
    """Run `logship audit --json` with these words; return its exit code and its verdict."""
    result = CliRunner().invoke(main, ["audit", "--json", *map(str, paths)])
    return result.exit_code, json.loads(result.output)
