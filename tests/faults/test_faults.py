"""A part of `make faults`, the same one in each run; and that its judge sees a loss."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.faults.bench import Bench, Judged
from tests.faults.cases import CALLS, COMPONENTS, Case
from tests.support.programs import Ended
from tests.support.receiver_process import ReceiverProcess

SOME = {
    "client": (
        "open:EMFILE:2 mmap:ENOMEM:1 pipe:EMFILE:1 connect:EIO:1 send:ENOMEM:2 send:short:1 "
        "recv:EIO:2 recv:short:1 thread:EAGAIN:1 fork:EAGAIN:1"
    ),
    "spill": "write:EIO:2 write:short:1+ write:EINTR:1",
    "spool": (
        "open:EMFILE:1 mkdir:EROFS:1 flock:EIO:1 rename:ENOSPC:1 fallocate:ENOSPC:1 "
        "mmap:ENOMEM:2 unlink:EIO:1 read:EIO:1"
    ),
    "outage": "fsync:EIO:1 write:ENOSPC:1 fallocate:ENOSPC:1+",
    "killed": "open:EMFILE:2 fallocate:EDQUOT:1",
    "recover": "open:EMFILE:2 read:EIO:1 read:short:2 flock:EINTR:1 unlink:EROFS:1",
    "receive": (
        "open:EROFS:1 write:ENOSPC:1+ write:short:2 accept:EMFILE:1 recv:ENOMEM:2 send:EIO:1"
    ),
    "run": (
        "open:EMFILE:1 pipe:EMFILE:2 fork:ENOMEM:1 read:EIO:2 read:EIO:3 unlink:EROFS:1+ "
        "thread:EAGAIN:1 thread:EAGAIN:2+"
    ),
}
"""Faults by component; each is one that its component meets in every run.

Where two components make a call in the same code, it fails in one of them.
"""


def _some_cases() -> Iterator[Case]:
    for component in COMPONENTS:
        for fault in SOME[component].split():
            call, error, occurrence = fault.split(":")
            assert error in CALLS[call]
            yield Case(component, call, error, occurrence)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    directory = tmp_path_factory.mktemp("faults")
    with ReceiverProcess.start(directory / "out") as receiver:
        yield Bench(directory, receiver)


@pytest.mark.parametrize("case", [*_some_cases()], ids=str)
def test_a_call_that_fails_loses_nothing_in_silence(bench: Bench, case: Case) -> None:
    outcome = bench.play(case)
    assert not outcome.is_fault, f"{outcome.kind} {outcome.where}\n{outcome.said}"
    assert outcome.kind != "passed by", outcome.said


def test_what_a_report_calls_spooled_must_have_been_shipped() -> None:
    stream = {"stream": "s", "last": 2, "dropped": [], "unacked": [], "spooled": [[2, 2]]}
    report = {"logship": "drain report", "streams": [stream]}
    ended = Ended(0, "", json.dumps(report) + "\n", ("run-1-1", "run-1-2"), ())
    first, second = ({"message": f"run-1-{n}", "logship_id": f"s:{n}"} for n in (1, 2))
    assert Judged(ended, ({"record": first},)).lost == ["run-1-2"]
    assert not Judged(ended, ({"record": first}, {"record": second})).lost
