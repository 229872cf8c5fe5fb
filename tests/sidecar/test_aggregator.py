"""The tier behind the sidecars: over TLS, with a shared key, acknowledged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.shipping import Ledger, assert_complete, markers_of
from tests.interop.conftest import Connect, needs
from tests.sidecar.deployed import DeployedFluentBit, DeployedFluentd, certificate_for
from tests.support.servers import (
    Fluentd,
    Security,
    ServerProcess,
    why_no_fluent_bit,
    why_no_fluentd,
)
from tests.support.waiting import wait_until

pytestmark = needs(why_no_fluentd)

KEY = "the key"


def start(kind: str, directory: Path, environ: dict[str, str]) -> ServerProcess:
    """Start a sidecar that hands on to the aggregator."""
    if kind == "fluentd":
        output = {"LOGSHIP_OUTPUT": "aggregator-tls"}
        return DeployedFluentd(directory, environ=environ | output)
    if why := why_no_fluent_bit():
        pytest.skip(why)
    return DeployedFluentBit(directory, "aggregator", environ=environ | {"HOSTNAME": "sidecar"})


@pytest.mark.parametrize("kind", ["fluentd", "fluent-bit"])
def test_a_sidecar_hands_on_to_an_aggregator(kind: str, connect: Connect, tmp_path: Path) -> None:
    ledger = Ledger()
    ca, tls = certificate_for("localhost", tmp_path)
    with Fluentd(tmp_path / "far", tls=tls, security=Security(KEY)) as aggregator:
        environ = {
            "LOGSHIP_AGGREGATOR_HOST": "127.0.0.1",
            "LOGSHIP_AGGREGATOR_NAME": "localhost",
            "LOGSHIP_AGGREGATOR_PORT": str(aggregator.port.number),
            "LOGSHIP_AGGREGATOR_SHARED_KEY": KEY,
            "LOGSHIP_AGGREGATOR_CA": str(ca),
        }
        with start(kind, tmp_path / "sidecar", environ) as sidecar:
            client = connect(sidecar.endpoint)
            ledger.ship(client, 500, text="x" * 100)

            def has_all() -> bool:
                return set(markers_of(aggregator.arrived(ledger.tag))) >= set(ledger.markers)

            wait_until(has_all, "all of it is at the aggregator", 60)
        assert_complete(*aggregator.output_files(ledger.tag))
