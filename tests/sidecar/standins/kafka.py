"""`python -m tests.sidecar.standins.kafka DIRECTORY`: a broker, and a consumer that writes lines.

The broker is the mock cluster of librdkafka, which listens on loopback and speaks Kafka's protocol.
It keeps 5 MB a partition, so the consumer follows.
"""

from __future__ import annotations

import sys
from pathlib import Path

from confluent_kafka import Consumer, Producer

TOPIC = "logs"


def main(directory: Path) -> None:
    """Write `address` when the broker takes connections, and what is stored to `stored.jsonl`."""
    broker = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1})
    broker.produce(TOPIC, b"", partition=0)  # makes the topic
    broker.flush(10)
    (found,) = broker.list_topics(timeout=10).brokers.values()
    address = f"{found.host}:{found.port}"
    (directory / "address").write_text(address)
    consumer = Consumer(
        {"bootstrap.servers": address, "group.id": "test", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([TOPIC])
    with (directory / "stored.jsonl").open("wb") as stored:
        while True:
            message = consumer.poll(1)
            value = None if message is None or message.error() else message.value()
            if value:
                stored.write(value + b"\n")
                stored.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
