"""A topic of Kafka as an output of a sidecar."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from logship._audit.outputs import Part, Position, Reading
from logship._audit.sources import CannotRead, telling

TIMEOUT_SECONDS: Final = 10.0
BATCH_MESSAGES: Final = 1000


class Topic:
    """The partitions of a topic: `kafka://BROKER[,BROKER]/TOPIC[?PROPERTIES of librdkafka]`.

    No group is joined and no offset is committed.
    """

    def __init__(self, name: str) -> None:
        address = urlsplit(name)
        self.name = name.partition("?")[0]  # a property may be a password
        self._topic = address.path.lstrip("/")
        settings = {
            "group.id": "logship-audit",  # it must have one
            "bootstrap.servers": address.netloc,
            "auto.offset.reset": "earliest",  # and not the end, if what comes next was just removed
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            **dict(parse_qsl(address.query.replace("+", "%2B"))),  # as a password has
        }
        with telling(self.name, KafkaException):
            self._consumer = Consumer(settings)

    def parts(self) -> Iterator[PartitionPart]:
        """Yield the partitions; none if there is no such topic."""
        with telling(self.name, KafkaException):
            found = self._consumer.list_topics(self._topic, TIMEOUT_SECONDS).topics[self._topic]
        if found.error is not None and found.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise CannotRead(f"cannot read {self.name}: {found.error}")
        for number in found.partitions:
            name = f"{self.name}, partition {number}"
            yield PartitionPart(str(number), name, self._consumer, self._topic, number)


@dataclass(frozen=True)
class PartitionPart(Part):
    """A partition: its offsets only grow, so each message is read once."""

    consumer: Any
    topic: str
    number: int

    def read(self, position: Position | None) -> Reading | None:
        """Return the messages behind the position; all of them if the topic was made anew."""
        with telling(self.name, KafkaException):
            partition = TopicPartition(self.topic, self.number)
            low, high = self.consumer.get_watermark_offsets(partition, TIMEOUT_SECONDS)
        next_offset = low if position is None else position["next"]
        is_fresh = position is not None and next_offset > high
        start = low if is_fresh else max(low, next_offset)
        if not is_fresh and start >= high:
            return None
        position = {"next": start}
        return Reading(self._batches(position, high), position, is_fresh)

    def _batches(self, position: Position, high: int) -> Iterator[list[bytes]]:
        """Yield messages up to `high`, each a line: a busy partition may never say its end."""
        with telling(self.name, KafkaException):
            self.consumer.assign([TopicPartition(self.topic, self.number, position["next"])])
            is_over = False
            while not is_over:
                first = self.consumer.poll(TIMEOUT_SECONDS)
                if first is None:
                    raise CannotRead(f"cannot read {self.name}: no answer for {TIMEOUT_SECONDS} s")
                # What is there already: `consume` would else wait until the batch is full.
                messages = [first, *self.consumer.consume(BATCH_MESSAGES, 0.0)]
                yield [line for line in map(_line_of, messages) if line]
                is_end = messages[-1].error() is not None  # else it had raised
                position["next"] = messages[-1].offset() + (not is_end)
                is_over = is_end or position["next"] >= high


def _line_of(message: Any) -> bytes | None:
    error = message.error()
    if error is None:
        value: bytes | None = message.value()
        return value
    if error.code() != KafkaError._PARTITION_EOF:
        raise KafkaException(error)
    return None
