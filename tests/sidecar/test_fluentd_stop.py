"""Fluentd at SIGTERM while its output waits for a retry."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.contract.shipping import (
    Ledger,
    assert_once_in_order,
    wait_for_all,
)
from tests.interop.conftest import Connect, needs
from tests.sidecar.deployed import FLUENTD, DeployedFluentd
from tests.sidecar.destinations import kept_by
from tests.sidecar.test_fluentd import NEEDED, stand_in
from tests.support.servers import Fluentd, json_objects, why_no_fluentd
from tests.support.waiting import wait_until

pytestmark = needs(why_no_fluentd)

FAILED = "failed to flush the buffer."
RECOVERED = "recovered forwarding server"


def patient(directory: Path) -> Path:
    """Copy the configuration, with small chunks and an hour between two attempts."""
    image = shutil.copytree(FLUENTD, directory / "image")
    for path in (image / "outputs").iterdir():
        text = path.read_text().replace("chunk_limit_size 8m", "chunk_limit_size 32k")
        text = text.replace("chunk_limit_size 900k", "chunk_limit_size 32k")
        path.write_text(text.replace("retry_wait 1s", "retry_wait 1h").replace(" 30s\n", " 1h\n"))
    return image / "fluent.conf"


def fill(sidecar: DeployedFluentd, ledger: Ledger, connect: Connect) -> None:
    """Give it several chunks, and wait until an attempt to send them has failed."""
    client = connect(sidecar.endpoint, chunk_bytes_max=8 * 1024)
    ledger.ship(client, 1000, text="x" * 100)
    wait_until(lambda: FAILED in sidecar.log(), "an attempt has failed", 30)


def to_aggregator(aggregator: Fluentd) -> dict[str, str]:
    """Return a sidecar's variables for it."""
    return {
        "LOGSHIP_OUTPUT": "aggregator",
        "LOGSHIP_AGGREGATOR_HOST": "127.0.0.1",
        "LOGSHIP_AGGREGATOR_PORT": str(aggregator.port.number),
        "LOGSHIP_FLUENTD_LOG_LEVEL": "trace",
    }


def test_what_waits_for_a_retry_is_sent_to_an_aggregator_that_is_back(
    connect: Connect, tmp_path: Path
) -> None:
    ledger = Ledger()
    with (
        Fluentd(tmp_path / "aggregator", is_started=False) as aggregator,
        DeployedFluentd(
            tmp_path / "sidecar",
            environ=to_aggregator(aggregator),
            configuration=patient(tmp_path),
        ) as sidecar,
    ):
        fill(sidecar, ledger, connect)
        wait_until(lambda: "detached forwarding server" in sidecar.log(), "it is given up", 60)
        aggregator.start()
        wait_until(lambda: RECOVERED in sidecar.log(), "it is back", 60)
        assert heartbeats_before_it_recovered(sidecar) < 5
        assert aggregator.arrived(ledger.tag) == []
        sidecar.terminate()
        assert_once_in_order(ledger, wait_for_all(ledger, aggregator))


def heartbeats_before_it_recovered(sidecar: DeployedFluentd) -> float:
    """Return how many heartbeats it took; each goes to the aggregator and to the standby."""
    before = sidecar.log().partition(RECOVERED)[0]
    return before.rpartition("failed to send heartbeat")[2].count("sending heartbeat") / 2


SWITCHED = """begin
            raise "it is away" unless File.exist?(ENV["DESTINATION"])
            chunk.msgpack_each do |_, record|
              File.write(ENV["DESTINATION"], "#{record.to_json}\\n", mode: "a")
            end
          end
"""
"""What an output does whose destination is a file that is there, or away."""


def switched(directory: Path) -> tuple[Path, DeployedFluentd]:
    """Return a destination that is away, and a sidecar that waits for its answers."""
    place = directory / "destination"
    environ = {"LOGSHIP_OUTPUT": "kafka", "DESTINATION": str(place), **NEEDED["kafka"]}
    return place, DeployedFluentd(
        directory / "sidecar",
        environ=environ,
        configuration=patient(directory),
        plugins=stand_in("kafka2", directory / "plugins", SWITCHED),
    )


def test_what_waits_for_a_retry_is_sent_to_a_destination_that_is_back(
    connect: Connect, tmp_path: Path
) -> None:
    place, sidecar = switched(tmp_path)
    ledger = Ledger()
    with sidecar:
        fill(sidecar, ledger, connect)
        place.touch()
        sidecar.terminate()
        assert markers_in(place) == ledger.markers
        assert chunks_of(sidecar) == []


def test_a_destination_that_is_away_is_tried_once_and_loses_nothing(
    connect: Connect, tmp_path: Path
) -> None:
    place, sidecar = switched(tmp_path)
    ledger = Ledger()
    with sidecar:
        fill(sidecar, ledger, connect)
        tried_before = sidecar.log().count(FAILED)
        sidecar.terminate()
        assert sidecar.log().count(FAILED) == tried_before + 1
        assert chunks_of(sidecar) != []
        place.touch()
        sidecar.start()
        wait_until(lambda: chunks_of(sidecar) == [], "all is sent", 30)
        assert markers_in(place) == ledger.markers


def markers_in(place: Path) -> list[str]:
    return [line["marker"] for line in json_objects(place) if "marker" in line]


def chunks_of(sidecar: DeployedFluentd) -> list[Path]:
    """Return the chunks that it has not sent."""
    return [path for path in kept_by(sidecar) if path.suffix == ".log"]
