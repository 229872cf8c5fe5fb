"""Fluentd delivers to Kafka, and keeps in its files what the brokers have not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.shipping import CLOSE_SECONDS_MAX, Ledger, RecordProperty
from tests.interop.conftest import Connect, needs
from tests.sidecar.brokers import Broker, judge
from tests.sidecar.deployed import DeployedFluentd, has_fluentd_output
from tests.sidecar.destinations import kept_by, log_at_length, restart, why_no_stand_in
from tests.support.servers import json_objects, why_no_fluentd
from tests.support.waiting import wait_until

pytestmark = [
    needs(why_no_fluentd),
    needs(lambda: why_no_stand_in("confluent_kafka")),
    pytest.mark.proof,
    pytest.mark.timeout(600),
]

FIELDS = {"partition": "west", "partition_key": 7, "message_key": [1]}
"""Names that the plugin would take for Kafka's own."""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    if not has_fluentd_output("kafka2"):
        pytest.skip("this fluentd has no plugin for kafka2")
    made = Broker(tmp_path)
    yield made
    made.process.kill()
    made.process.wait()


@pytest.fixture
def sidecar(broker: Broker, tmp_path: Path) -> Iterator[DeployedFluentd]:
    environ = {"LOGSHIP_OUTPUT": "kafka", "LOGSHIP_KAFKA_BROKERS": broker.address()}
    with DeployedFluentd(tmp_path / "sidecar", environ=environ) as made:
        yield made


def test_what_the_brokers_have_not_outlives_fluentd(
    broker: Broker, sidecar: DeployedFluentd, connect: Connect
) -> None:
    """Fluent Bit loses it."""
    ledger = Ledger()
    broker.stand_still()
    client = connect(sidecar.endpoint)
    ledger.emit(client, 1000, **FIELDS)
    assert client.close(timeout=CLOSE_SECONDS_MAX).all_acked
    sidecar.kill()
    broker.go_on()
    sidecar.start()
    judge(ledger, broker)


def test_nothing_is_lost_at_length(
    broker: Broker, sidecar: DeployedFluentd, connect: Connect, record_property: RecordProperty
) -> None:
    """100,000 records, 3,000 a second: the broker stands still three times; a SIGTERM between."""
    ledger, started = Ledger(), time.monotonic()
    client = connect(sidecar.endpoint)
    log_at_length(
        client, ledger, broker.pause, lambda: restart(sidecar), broker.pause, broker.pause
    )
    assert client.close(timeout=CLOSE_SECONDS_MAX).all_acked
    wait_until(lambda: not kept_by(sidecar), "all is delivered", 400)
    judge(ledger, broker)
    record_property("records", len(ledger.markers))
    record_property("duplicates", len(list(json_objects(broker.stored))) - len(ledger.markers) - 1)
    record_property("seconds", round(time.monotonic() - started))
