"""A topic of Kafka as an output, against the brokers that librdkafka plays itself."""

from __future__ import annotations

from typing import Any

import pytest

from logship._audit.destinations import output_of
from tests.audit.asking import audit
from tests.audit.lines import compact, end, record, records
from tests.audit.watched import Watched


class Brokers:
    """One broker with one topic."""

    def __init__(self, producer: Any) -> None:
        self._producer = producer
        self.put(0)
        [broker] = producer.list_topics("logs", 10).brokers.values()
        self.address = f"kafka://{broker.host}:{broker.port}/logs"

    def put(self, partition: int, *records: Any) -> None:
        for each in records:
            self._producer.produce("logs", compact(each).encode(), partition=partition)
        assert self._producer.flush(20) == 0


@pytest.fixture
def brokers() -> Brokers:
    kafka = pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed")
    return Brokers(kafka.Producer({"test.mock.num.brokers": 1, "log_level": 0}))


def test_all_partitions_of_a_topic_are_read(brokers: Brokers) -> None:
    brokers.put(0, *records(1, 1500))
    brokers.put(1, *records(1501, 3000), end(3001, 3000))
    result = audit(brokers.address, code=0)
    assert result.output.startswith("complete: 3,000 records of 1 stream, all delivered, 0 dupl")


def test_a_topic_is_read_on_from_where_it_ended(brokers: Brokers) -> None:
    watched = Watched(brokers.address)
    assert watched.look() == (0, 0, 0)
    brokers.put(0, *records(1, 3))
    assert watched.look() == (3, 0, 0)
    assert watched.look() == (3, 0, 0)
    brokers.put(1, *records(6, 6))
    after = watched.resumed()
    assert after.look() == (4, 2, 0)
    brokers.put(0, *records(3, 5))
    assert after.look() == (6, 0, 1)
    assert watched.said == after.said == []


def test_a_reading_ends_where_the_partition_ended_when_it_began(brokers: Brokers) -> None:
    """A partition that always gets more never says that it is at its end."""
    brokers.put(0, *records(1, 1))
    part = {each.key: each for each in output_of(brokers.address).parts()}["0"]
    first = part.read(None)
    brokers.put(0, *records(2, 5000))
    assert first
    count = sum(map(len, first.batches))
    assert 1 <= count < 5000
    rest = part.read(first.position)
    assert rest
    assert count + sum(map(len, rest.batches)) == 5000


def test_what_is_left_is_read_where_older_messages_have_just_been_removed(brokers: Brokers) -> None:
    """As by the topic's retention; the brokers of librdkafka keep 5 MB of a partition."""
    brokers.put(0, *records(1, 2))
    part = {each.key: each for each in output_of(brokers.address).parts()}["0"]
    reading = part.read(None)
    brokers.put(0, *(record(number, text="x" * 100_000) for number in range(3, 80)))
    assert reading
    assert sum(map(len, reading.batches)) > 0


def test_a_topic_that_was_made_anew_proves_nothing_while_it_is_empty() -> None:
    kafka = pytest.importorskip("logship._audit.kafka", reason="confluent-kafka is not installed")

    class Anew:
        def get_watermark_offsets(self, *_: Any) -> tuple[int, int]:
            return 0, 0

    part = kafka.PartitionPart("0", "kafka://broker/logs", Anew(), "logs", 0)
    assert part.read({"next": 0}) is None
    assert part.read({"next": 5}).is_fresh


def test_brokers_that_are_away_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed")
    monkeypatch.setattr("logship._audit.kafka.TIMEOUT_SECONDS", 0.2)
    result = audit("kafka://127.0.0.1:1/logs?log_level=0", code=2)
    assert "cannot read kafka://127.0.0.1:1/logs" in result.output
