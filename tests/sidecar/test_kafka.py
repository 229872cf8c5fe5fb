"""Both sidecars deliver to Kafka; Fluentd keeps in its files what the brokers have not.

What Fluent Bit's Kafka library has in memory dies with the process.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.shipping import CLOSE_SECONDS_MAX, Ledger, RecordProperty
from tests.interop.conftest import Connect, needs
from tests.sidecar.brokers import Broker, judge
from tests.sidecar.deployed import (
    DeployedFluentBit,
    DeployedFluentd,
    has_fluent_bit_output,
    has_fluentd_output,
)
from tests.sidecar.destinations import kept_by, log_at_length, restart, why_no_stand_in
from tests.support.servers import ServerProcess, json_objects, why_no_fluent_bit, why_no_fluentd
from tests.support.waiting import wait_until

pytestmark = needs(lambda: why_no_stand_in("confluent_kafka"))

FIELDS = {"partition": "west", "partition_key": 7, "message_key": [1]}
"""Names that Fluentd's plugin would take for Kafka's own."""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path)
    yield made
    made.process.kill()
    made.process.wait()


@pytest.fixture
def fluent_bit(broker: Broker, tmp_path: Path) -> Iterator[ServerProcess]:
    if why := why_no_fluent_bit():
        pytest.skip(why)
    if not has_fluent_bit_output("kafka"):
        pytest.skip("this fluent-bit was built without its output kafka")
    environ = {"LOGSHIP_KAFKA_BROKERS": broker.address(), "LOGSHIP_KAFKA_TOPIC": "logs"}
    with DeployedFluentBit(tmp_path / "sidecar", "kafka", environ=environ) as made:
        yield made


@pytest.fixture
def fluentd(broker: Broker, tmp_path: Path) -> Iterator[ServerProcess]:
    if why := why_no_fluentd():
        pytest.skip(why)
    if not has_fluentd_output("kafka2"):
        pytest.skip("this fluentd has no plugin for kafka2")
    environ = {"LOGSHIP_OUTPUT": "kafka", "LOGSHIP_KAFKA_BROKERS": broker.address()}
    with DeployedFluentd(tmp_path / "sidecar", environ=environ) as made:
        yield made


def test_nothing_is_lost_if_a_stop_can_reach_the_brokers(
    ledger: Ledger, broker: Broker, fluent_bit: ServerProcess, connect: Connect
) -> None:
    client = connect(fluent_bit.endpoint)
    ledger.emit(client, 1000)
    broker.pause()
    ledger.ship(client, 1000)
    restart(fluent_bit)
    judge(ledger, broker)


def test_what_the_brokers_have_not_dies_with_fluent_bit(
    broker: Broker, fluent_bit: ServerProcess, connect: Connect
) -> None:
    """It is no longer in files. The docs and the configuration say so."""
    lost, later = Ledger(), Ledger()
    broker.stand_still()
    client = connect(fluent_bit.endpoint)
    lost.ship(client, 100)
    wait_until(lambda: not kept_by(fluent_bit), "the library has all", 30)
    fluent_bit.kill()
    broker.go_on()
    fluent_bit.start()
    client = connect(fluent_bit.endpoint)
    later.ship(client, 100)
    judge(later, broker)


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_what_the_brokers_have_not_outlives_fluentd(
    ledger: Ledger, broker: Broker, fluentd: ServerProcess, connect: Connect
) -> None:
    broker.stand_still()
    client = connect(fluentd.endpoint)
    ledger.ship(client, 1000, **FIELDS)
    fluentd.kill()
    broker.go_on()
    fluentd.start()
    judge(ledger, broker)


@pytest.mark.proof
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["fluent_bit", "fluentd"])
def test_nothing_is_lost_at_length(
    kind: str,
    broker: Broker,
    connect: Connect,
    request: pytest.FixtureRequest,
    record_property: RecordProperty,
) -> None:
    """100,000 records, 3,000 a second: the broker stands still three times; a SIGTERM between."""
    sidecar: ServerProcess = request.getfixturevalue(kind)
    ledger, started = Ledger(), time.monotonic()
    client = connect(sidecar.endpoint)
    log_at_length(
        client, ledger, broker.pause, lambda: restart(sidecar), broker.pause, broker.pause
    )
    assert client.close(timeout=CLOSE_SECONDS_MAX).all_acked
    wait_until(lambda: not kept_by(sidecar), "all is delivered", 400)
    restart(sidecar)
    judge(ledger, broker)
    record_property("records", len(ledger.markers))
    record_property("duplicates", len(list(json_objects(broker.stored))) - len(ledger.markers) - 1)
    record_property("seconds", round(time.monotonic() - started))
