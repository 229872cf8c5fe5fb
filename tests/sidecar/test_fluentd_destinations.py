"""Fluentd delivers everything to each destination, through throttling, death and a restart."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.contract.certificates import Certificates
from tests.contract.shipping import CLOSE_SECONDS_MAX, Ledger, RecordProperty, markers_of
from tests.interop.conftest import Connect, needs
from tests.interop.raw import RawConnection, entries, packed_forward
from tests.sidecar.deployed import DeployedFluentd, has_fluentd_output
from tests.sidecar.destinations import (
    FIELDS,
    KINDS,
    Destination,
    lose_nothing_at_length,
    why_no_stand_in,
)
from tests.support.servers import json_objects, why_no_fluentd
from tests.support.waiting import wait_until

pytestmark = needs(why_no_fluentd)


@pytest.fixture(params=KINDS)
def destination(
    request: pytest.FixtureRequest, tmp_path: Path, certificates: Certificates
) -> Iterator[Destination]:
    """Give each destination that this machine can have."""
    kind = KINDS[request.param]
    if why := why_no_stand_in(kind.package):
        pytest.skip(why)
    if kind.fluentd and not has_fluentd_output(kind.fluentd):
        pytest.skip(f"this fluentd has no plugin for {kind.fluentd}")
    with Destination(request.param, tmp_path / "destination", certificates) as made:
        yield made


FINAL = {
    "loki": {"level": "too long for a label of Loki" * 100},
    "opensearch": {"amount": "not a number, as in the documents before"},
}
"""Fields that a destination refuses for good."""


@pytest.mark.parametrize("kind", FINAL)
def test_what_is_refused_for_good_is_put_aside_as_lines_of_json(
    ledger: Ledger, kind: str, connect: Connect, tmp_path: Path, certificates: Certificates
) -> None:
    """The records after it are delivered. What is neither there nor in backup/ would be lost."""
    with (
        Destination(kind, tmp_path / "destination", certificates) as destination,
        DeployedFluentd(tmp_path / "sidecar", environ=destination.environ_for_fluentd()) as sidecar,
    ):
        client = connect(sidecar.endpoint)
        ledger.emit(client, 10, **FINAL[kind])
        assert client.flush(timeout=CLOSE_SECONDS_MAX).all_acked
        wait_until(lambda: put_aside(sidecar, kind) != set(), "they are put aside", 60)
        ledger.ship(client, 100, amount=1)
        wait_until(lambda: has_end(destination, ledger.tag), "the others are delivered", 60)
        assert put_aside(sidecar, kind) == set(ledger.markers[:10])
        assert set(markers_of(destination.arrived(ledger.tag))) == set(ledger.markers[10:])


def test_a_records_own_fields_are_sent_to_datadog(
    connect: Connect, tmp_path: Path, certificates: Certificates
) -> None:
    ledger, own = Ledger(), {"service": "own", "ddsource": "own", "timestamp": "yesterday"}
    with (
        Destination("datadog", tmp_path / "destination", certificates) as destination,
        DeployedFluentd(tmp_path / "sidecar", environ=destination.environ_for_fluentd()) as sidecar,
    ):
        client = connect(sidecar.endpoint)
        ledger.ship(client, 1, **own)
        wait_until(lambda: has_end(destination, ledger.tag), "they are delivered", 60)
        (sent,) = [each.record for each in destination.arrived("") if "marker" in each.record]
    assert (sent["service"], sent["ddsource"], sent["record_timestamp"]) == tuple(own.values())
    assert isinstance(sent["timestamp"], int)


def test_a_number_that_is_no_int64_is_a_text_for_otlp(
    connect: Connect, tmp_path: Path, certificates: Certificates
) -> None:
    """As a number the collector would refuse it, and with it the whole chunk."""
    if why := why_no_stand_in(KINDS["otlp"].package):
        pytest.skip(why)
    ledger, amounts = Ledger(), [2**63 - 1, -(2**63), 2**63, 2**64 - 1]
    with (
        Destination("otlp", tmp_path / "destination", certificates) as destination,
        DeployedFluentd(tmp_path / "sidecar", environ=destination.environ_for_fluentd()) as sidecar,
    ):
        client = connect(sidecar.endpoint)
        for amount in amounts:
            ledger.emit(client, 1, amount=amount)
        assert client.close(timeout=CLOSE_SECONDS_MAX).all_acked
        wait_until(lambda: has_end(destination, ledger.tag), "they are delivered", 60)
        stored = [each.record for each in destination.arrived("") if "marker" in each.record]
    assert [each["amount"] for each in stored] == [*amounts[:2], *map(str, amounts[2:])]


def test_an_error_of_a_proxy_before_the_destination_is_no_refusal(tmp_path: Path) -> None:
    """Proxies have more of them than the four that are common, 520 and 507 for example."""
    statuses = [520, 507, 200]
    answered: list[int] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            answered.append(statuses[len(answered)])
            self.send_response(answered[-1])
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        environ = KINDS["splunk"].environ | {
            "LOGSHIP_OUTPUT": "splunk",
            "LOGSHIP_OUTPUT_HOST": "127.0.0.1",
            "LOGSHIP_OUTPUT_PORT": str(proxy.server_port),
            "LOGSHIP_OUTPUT_TLS": "off",
        }
        with DeployedFluentd(tmp_path / "sidecar", environ=environ) as sidecar:
            with RawConnection(sidecar) as connection:
                connection.send(packed_forward("web", entries({"marker": "one"}), chunk="one"))
                assert connection.acks_until("one") == ([], True)
            wait_until(lambda: len(answered) == 3, "it is tried again", 30)
            assert put_aside(sidecar, "splunk") == set()
        proxy.shutdown()


def has_end(destination: Destination, tag: str) -> bool:
    return any("logship_end" in each.record for each in destination.arrived(tag))


def put_aside(sidecar: DeployedFluentd, kind: str) -> set[str]:
    """Return the markers of the records in backup/, read as the docs say."""
    paths = (sidecar.directory / "buffer" / "backup").rglob("*.log")
    lines = [line for path in paths for line in json_objects(path)]
    if kind == "loki":
        lines = [json.loads(line["values"][0][1]) for line in lines]
    return {line["marker"] for line in lines if "marker" in line}


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_nothing_is_lost_at_length(
    destination: Destination, connect: Connect, tmp_path: Path, record_property: RecordProperty
) -> None:
    """100,000 records, 3,000 a second: three deaths, throttling throughout, a SIGTERM between."""
    ledger, environ = Ledger(), destination.environ_for_fluentd()
    with DeployedFluentd(tmp_path / "sidecar", environ=environ) as sidecar:
        client = connect(sidecar.endpoint)
        ledger.emit(client, 1000, **FIELDS)
        lose_nothing_at_length(client, ledger, sidecar, destination, record_property)
