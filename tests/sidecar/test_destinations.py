"""Fluent Bit delivers everything to each destination, through throttling, death and a restart."""

from __future__ import annotations

import re
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.alerts.expressions import FLUENT_BIT
from tests.contract.certificates import Certificates
from tests.contract.shipping import Ledger, RecordProperty, audit
from tests.interop.conftest import Connect, needs
from tests.sidecar.deployed import REPOSITORY, DeployedFluentBit, has_fluent_bit_output, run
from tests.sidecar.destinations import (
    FIELDS,
    KINDS,
    Destination,
    judge,
    kept_by,
    lose_nothing_at_length,
    why_no_stand_in,
)
from tests.support.servers import why_no_fluent_bit
from tests.support.waiting import wait_until

pytestmark = needs(why_no_fluent_bit)


@pytest.fixture(params=KINDS)
def destination(
    request: pytest.FixtureRequest, tmp_path: Path, certificates: Certificates
) -> Iterator[Destination]:
    """Give each destination that this machine can have."""
    kind = KINDS[request.param]
    if why := why_no_stand_in(kind.package):
        pytest.skip(why)
    if not has_fluent_bit_output(kind.plugin):
        pytest.skip(f"this fluent-bit was built without its output {kind.plugin}")
    with Destination(request.param, tmp_path / "destination", certificates) as made:
        yield made


def sidecar_for(destination: Destination, directory: Path) -> DeployedFluentBit:
    environ = destination.environ() | {"LOGSHIP_GRACE_SECONDS": "2"}
    return DeployedFluentBit(directory, destination.kind, environ=environ)


def test_nothing_is_lost(destination: Destination, connect: Connect, tmp_path: Path) -> None:
    """The first requests fail; the second half meets a death of the destination and a SIGKILL."""
    ledger, first = Ledger(), KINDS[destination.kind].first_requests
    with sidecar_for(destination, tmp_path / "sidecar") as sidecar:
        client = connect(sidecar.endpoint, chunk_bytes_max=32 * 1024)
        ledger.emit(client, 1000, **FIELDS)
        wait_until(lambda: len(destination.answers()) >= first, "the first requests", 30)
        destination.go_away()
        ledger.ship(client, 1000, **FIELDS)
        sidecar.kill()
        sidecar.start()
        wait_until(lambda: not kept_by(sidecar), "all is delivered", 60)
        judge(ledger, destination)


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_nothing_is_lost_at_length(
    destination: Destination, connect: Connect, tmp_path: Path, record_property: RecordProperty
) -> None:
    """100,000 records, 3,000 a second: three deaths, throttling throughout, a SIGTERM between."""
    with sidecar_for(destination, tmp_path / "sidecar") as sidecar:
        client = connect(sidecar.endpoint)
        lose_nothing_at_length(client, Ledger(), sidecar, destination, record_property)


@pytest.fixture
def loki(tmp_path: Path, certificates: Certificates) -> Iterator[Destination]:
    """Give the destination that can refuse for good."""
    if not has_fluent_bit_output("loki"):
        pytest.skip("this fluent-bit was built without its output loki")
    with Destination("loki", tmp_path / "destination", certificates) as made:
        yield made


def test_what_is_refused_for_good_is_kept_counted_and_named(
    ledger: Ledger, loki: Destination, connect: Connect, tmp_path: Path
) -> None:
    """It is what audit calls lost, and with the program of the docs audit finds it."""
    with sidecar_for(loki, tmp_path / "sidecar") as sidecar:
        client = connect(sidecar.endpoint)
        ledger.emit(client, 100, level="INFO")
        wait_until(lambda: len(loki.arrived(ledger.tag)) == 100, "they are stored", 30)
        ledger.emit(client, 10, level="too long for Loki" * 200)
        wait_until(lambda: rejected_count(sidecar) == 10, "they are counted", 30)
        ledger.ship(client, 100, level="INFO")
        sidecar.terminate()
        sidecar.start()  # it neither sends nor removes them
        wait_until(lambda: len(loki.arrived(ledger.tag)) == 201, "the others are stored", 30)
        assert numbers_lost(loki) == [[101, 110]]
        assert audit(loki.output_files(ledger.tag)[0], read_by_the_docs_program(sidecar))[0] == 0


def rejected_count(sidecar: DeployedFluentBit) -> int:
    """Return what the metric says that the alert asks for."""
    address = f"http://127.0.0.1:{sidecar.metrics_port.number}/api/v2/metrics/prometheus"
    with urllib.request.urlopen(address, timeout=10) as answer:
        text = answer.read().decode()
    (name,) = FLUENT_BIT
    return sum(map(int, re.findall(rf"^{name}{{.*}} (\d+)$", text, re.MULTILINE)))


def numbers_lost(destination: Destination) -> list[list[int]]:
    code, verdict = audit(*destination.output_files(""))
    assert code == 1
    (stream,) = verdict["streams"]
    lost: list[list[int]] = stream["lost"]
    return lost


def read_by_the_docs_program(sidecar: DeployedFluentBit) -> Path:
    """Return the lines that the program in docs/destinations.md prints for the rejected chunks."""
    page = (REPOSITORY / "docs" / "destinations.md").read_text()
    (program,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    chunks = (sidecar.directory / "buffer" / "rejected").glob("*.flb")
    code, said = run(sys.executable, "-c", program, *chunks)
    assert code == 0, said
    lines = sidecar.directory / "rejected.jsonl"
    lines.write_text(said)
    return lines
