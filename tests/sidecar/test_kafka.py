"""Fluent Bit delivers to Kafka; what its Kafka library has in memory dies with the process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.shipping import CLOSE_SECONDS_MAX, Ledger, RecordProperty
from tests.interop.conftest import Connect, needs
from tests.sidecar.brokers import Broker, judge
from tests.sidecar.deployed import DeployedFluentBit, has_fluent_bit_output
from tests.sidecar.destinations import kept_by, log_at_length, restart, why_no_stand_in
from tests.support.servers import json_objects, why_no_fluent_bit
from tests.support.waiting import wait_until

pytestmark = [needs(why_no_fluent_bit), needs(lambda: why_no_stand_in("confluent_kafka"))]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    if not has_fluent_bit_output("kafka"):
        pytest.skip("this fluent-bit was built without its output kafka")
    made = Broker(tmp_path)
    yield made
    made.process.kill()
    made.process.wait()


@pytest.fixture
def sidecar(broker: Broker, tmp_path: Path) -> Iterator[DeployedFluentBit]:
    environ = {"LOGSHIP_KAFKA_BROKERS": broker.address(), "LOGSHIP_KAFKA_TOPIC": "logs"}
    with DeployedFluentBit(tmp_path / "sidecar", "kafka", environ=environ) as made:
        yield made


def test_nothing_is_lost_if_a_stop_can_reach_the_brokers(
    broker: Broker, sidecar: DeployedFluentBit, connect: Connect
) -> None:
    ledger = Ledger()
    client = connect(sidecar.endpoint)
    ledger.emit(client, 1000)
    broker.pause()
    ledger.emit(client, 1000)
    assert client.close(timeout=CLOSE_SECONDS_MAX).all_acked
    restart(sidecar)
    judge(ledger, broker)


def test_what_the_brokers_have_not_dies_with_fluent_bit(
    broker: Broker, sidecar: DeployedFluentBit, connect: Connect
) -> None:
    """It is no longer in files. The docs and the configuration say so."""
    lost, later = Ledger(), Ledger()
    broker.stand_still()
    client = connect(sidecar.endpoint)
    lost.emit(client, 100)
    assert client.close(timeout=CLOSE_SECONDS_MAX).all_acked
    wait_until(lambda: not kept_by(sidecar), "the library has all", 30)
    sidecar.kill()
    broker.go_on()
    sidecar.start()
    client = connect(sidecar.endpoint)
    later.emit(client, 100)
    assert client.close(timeout=CLOSE_SECONDS_MAX).all_acked
    judge(later, broker)


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_nothing_is_lost_at_length(
    broker: Broker,
    sidecar: DeployedFluentBit,
    connect: Connect,
    record_property: RecordProperty,
) -> None:
    """100,000 records, 3,000 a second: the broker stands still three times; a SIGTERM between."""
    ledger, started = Ledger(), time.monotonic()
    client = connect(sidecar.endpoint)
    log_at_length(
        client, ledger, broker.pause, lambda: restart(sidecar), broker.pause, broker.pause
    )
    assert client.close(timeout=CLOSE_SECONDS_MAX).all_acked
    wait_until(lambda: not kept_by(sidecar), "all is delivered", 60)
    restart(sidecar)
    judge(ledger, broker)
    record_property("records", len(ledger.markers))
    record_property("duplicates", len(list(json_objects(broker.stored))) - len(ledger.markers) - 1)
    record_property("seconds", round(time.monotonic() - started))
