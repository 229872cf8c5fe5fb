"""A log group of CloudWatch Logs as an output, against moto's server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from logship._audit.outputs import LATE_MILLISECONDS
from tests.audit.asking import audit
from tests.audit.lines import compact, end, records
from tests.audit.watched import Watched

ADDRESS = "cloudwatch:///ecs/web"
NOW = time.time_ns() // 1_000_000


class Group:
    """The group, with a stream for each task, as Fluent Bit writes it."""

    def __init__(self, client: Any) -> None:
        self.client = client
        client.create_log_group(logGroupName="/ecs/web")
        client.create_log_group(logGroupName="/ecs/web2")
        for stream in ("one", "two"):
            client.create_log_stream(logGroupName="/ecs/web", logStreamName=stream)

    def put(self, stream: str, *records: Any, milliseconds: int = NOW) -> None:
        events = [{"timestamp": milliseconds, "message": compact(each)} for each in records]
        self.client.put_log_events(logGroupName="/ecs/web", logStreamName=stream, logEvents=events)


@pytest.fixture
def group(aws: str) -> Iterator[Group]:
    import boto3

    client = boto3.client("logs")
    yield Group(client)
    client.close()


def test_all_streams_of_a_group_are_read(group: Group) -> None:
    group.put("one", *records(1, 60))
    group.put("two", *records(61, 120), end(121, 120))
    result = audit(ADDRESS, code=0)
    assert result.output.startswith("complete: 120 records of 1 stream, all delivered, 0 dupl")


def test_what_comes_late_is_found_and_what_is_read_twice_is_no_duplicate(group: Group) -> None:
    watched = Watched(ADDRESS)
    assert watched.look() == (0, 0, 0)
    group.put("one", *records(1, 2))
    assert watched.look() == (2, 0, 0)
    group.put("one", *records(4, 5))
    assert watched.look() == (4, 1, 0)
    group.put("two", *records(3, 3), milliseconds=NOW - LATE_MILLISECONDS + 1)
    assert watched.look() == (5, 0, 0)
    after = watched.resumed()
    group.put("one", *records(6, 6))
    assert after.look() == (6, 0, 0)


def test_a_group_that_is_deleted_takes_its_proof_with_it(group: Group) -> None:
    watched = Watched(ADDRESS)
    group.put("one", *records(1, 2), end(3, 2))
    assert watched.look() == (2, 0, 0)
    group.client.delete_log_group(logGroupName="/ecs/web")
    assert watched.look() == (0, 3, 0)
    assert watched.said == [f"{ADDRESS} is gone; what was in it no longer counts"]
