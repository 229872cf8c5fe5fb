"""Fluent Bit as it is deployed: its configurations, and what it has acknowledged is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.shipping import (
    CLOSE_SECONDS_MAX,
    Ledger,
    assert_nothing_lost,
    audit,
    wait_for_all,
)
from tests.interop.conftest import Connect, needs
from tests.sidecar.deployed import (
    FLUENT_BIT_CONFIGURATIONS,
    REPOSITORY,
    DeployedFluentBit,
    fluent_bit_environ,
    run,
)
from tests.support.servers import why_no_fluent_bit

pytestmark = needs(why_no_fluent_bit)

OUTPUTS = sorted(
    path.stem for path in FLUENT_BIT_CONFIGURATIONS.glob("*.yaml") if path.stem != "logship"
)


def has_output(name: str) -> bool:
    """Tell whether this Fluent Bit was built with an output plugin."""
    code, _ = run("fluent-bit", "-o", name, "-h")
    return code == 0


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_configuration_is_accepted(output: str, tmp_path: Path) -> None:
    plugin = {"aggregator": "forward"}.get(output, output)
    if not has_output(plugin):
        pytest.skip(f"this fluent-bit was built without its output {plugin}")
    configuration = FLUENT_BIT_CONFIGURATIONS / f"{output}.yaml"
    code, said = run(
        "fluent-bit", "--dry-run", "-c", configuration, environ=fluent_bit_environ(tmp_path)
    )
    assert code == 0, said


def test_what_was_acknowledged_survives_sigkill(connect: Connect, tmp_path: Path) -> None:
    """It lies in files before the ack: whatever was not flushed yet is written after a restart."""
    ledger = Ledger()
    with DeployedFluentBit(tmp_path / "server") as server:
        client = connect(server.endpoint, chunk_bytes_max=8 * 1024)
        ledger.emit(client, 2000, text="x" * 100)
        assert client.close(timeout=CLOSE_SECONDS_MAX).all_acked
        server.kill()
        server.start()
        assert_nothing_lost(ledger, wait_for_all(ledger, server), in_order=False)
        code, verdict = audit(*server.output_files(ledger.tag))
    assert code == 0, verdict


def test_a_destination_that_is_away_pauses_nothing(connect: Connect, tmp_path: Path) -> None:
    """More than fits into its memory is taken, acknowledged, and kept in files."""
    nobody = {"LOGSHIP_AGGREGATOR_PORT": "1"}
    ledger = Ledger()
    with DeployedFluentBit(tmp_path / "server", "aggregator", environ=nobody) as server:
        client = connect(server.endpoint, buffer_bytes_max=16 * 1024 * 1024)
        ledger.emit(client, 90_000, text="x" * 1000)
        report = client.close(timeout=CLOSE_SECONDS_MAX)
        kept = sum(path.stat().st_size for path in (tmp_path / "server").rglob("*.flb"))
        log = server.log()
    assert report.all_acked
    assert len(ledger.markers) == 90_000
    assert kept > 80_000_000
    assert "paused" not in log


def test_the_image_is_one_that_checks_before_it_acks() -> None:
    """Before 5.1 Fluent Bit acknowledges what it throws away."""
    dockerfile = (REPOSITORY / "sidecar/fluent-bit/Dockerfile").read_text()
    (image,) = [line for line in dockerfile.splitlines() if line.startswith("ARG FLUENT_BIT=")]
    version = image.partition(":")[2]
    assert tuple(int(part) for part in version.split(".")) >= (5, 1)
