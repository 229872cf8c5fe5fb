"""Fluent Bit as it is deployed: its configurations, and what it has acknowledged is kept."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.chaos.pacing import PacedLogging
from tests.contract.shipping import (
    CLOSE_SECONDS_MAX,
    Ledger,
    assert_complete,
    assert_nothing_lost,
    audit,
    wait_for_all,
)
from tests.interop.conftest import Connect, needs
from tests.sidecar.deployed import (
    FLUENT_BIT,
    REPOSITORY,
    DeployedFluentBit,
    certificate_for,
    fluent_bit_environ,
    has_fluent_bit_output,
    image_environ,
    run,
)
from tests.sidecar.destinations import KINDS, kept_by
from tests.support.servers import Fluentd, Security, why_no_fluent_bit, why_no_fluentd
from tests.support.waiting import wait_until

pytestmark = needs(why_no_fluent_bit)

OUTPUTS = {
    "aggregator": "forward",
    "aggregators": "forward",
    "file": "file",
    "kafka": "kafka",
    **{name: kind.plugin for name, kind in KINDS.items()},
}
"""The plugin of each."""

GIVEN = {
    "HOSTNAME": "sidecar",
    "OTEL_SERVICE_NAME": "web",
    "LOGSHIP_AGGREGATOR_HOST": "127.0.0.1",
    "LOGSHIP_AGGREGATOR_PORT": "24225",
    "LOGSHIP_AGGREGATOR_SHARED_KEY": "the key",
    "LOGSHIP_AGGREGATOR_STANDBY_HOST": "127.0.0.1",
    "LOGSHIP_AGGREGATOR_STANDBY_PORT": "24226",
    "LOGSHIP_KAFKA_BROKERS": "localhost:9092",
    "LOGSHIP_KAFKA_TOPIC": "logs",
    "LOGSHIP_OUTPUT_HOST": "127.0.0.1",
    **{name: value for kind in KINDS.values() for name, value in kind.environ.items()},
}
"""What users have to give, for all outputs together."""


def outputs_there() -> dict[str, str]:
    """Return the text of each output's configuration, with its list of servers if it has one."""
    found: dict[str, str] = {}
    for path in sorted((FLUENT_BIT / "outputs").iterdir()):
        found[path.stem] = found.get(path.stem, "") + path.read_text()
    return found


def variables_of(text: str) -> set[str]:
    """Return the variables of a configuration, comments left out."""
    return set(re.findall(r"\$\{(\w+)\}", re.sub(r"#.*", "", text)))


def test_every_output_is_known_here() -> None:
    assert outputs_there().keys() == OUTPUTS.keys()


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_configuration_is_accepted(output: str, tmp_path: Path) -> None:
    if not has_fluent_bit_output(OUTPUTS[output]):
        pytest.skip(f"this fluent-bit was built without its output {OUTPUTS[output]}")
    environ = fluent_bit_environ(tmp_path) | GIVEN
    path = FLUENT_BIT / "outputs" / f"{output}.yaml"
    code, said = run("fluent-bit", "--dry-run", "-c", path, environ=environ)
    assert code == 0, said


@pytest.mark.parametrize("output", OUTPUTS)
def test_what_an_output_needs_is_named_where_it_is_missing(output: str) -> None:
    """One variable after the other is missing; those of the image never are."""
    image = image_environ() | {"LOGSHIP_OUTPUT": output}
    needed = variables_of(outputs_there()[output]) - image.keys()
    for missing in needed:
        given = {name: GIVEN[name] for name in needed - {missing}}
        words = ("env", "-i", *(f"{name}={value}" for name, value in (image | given).items()))
        code, said = run(*words, "/bin/sh", FLUENT_BIT / "start")
        assert (code, said) == (2, f"LOGSHIP_OUTPUT={output} needs the variable {missing}\n")


def test_an_output_that_is_not_there_is_refused() -> None:
    code, said = run("sh", FLUENT_BIT / "start", environ={"LOGSHIP_OUTPUT": "s4"})
    assert (code, said) == (2, f"LOGSHIP_OUTPUT=s4: there is no {FLUENT_BIT}/outputs/s4.yaml\n")


def test_ones_own_output_is_a_file_that_is_mounted(connect: Connect, tmp_path: Path) -> None:
    image = shutil.copytree(FLUENT_BIT, tmp_path / "image")
    shutil.copy(image / "outputs" / "file.yaml", image / "outputs" / "own.yaml")
    ledger = Ledger()
    with DeployedFluentBit(tmp_path / "server", "own", configurations=image) as server:
        client = connect(server.endpoint)
        ledger.ship(client, 100)
        assert_nothing_lost(ledger, wait_for_all(ledger, server))


def test_what_was_acknowledged_survives_sigkill(connect: Connect, tmp_path: Path) -> None:
    """It lies in files before the ack: whatever was not flushed yet is written after a restart."""
    ledger = Ledger()
    with DeployedFluentBit(tmp_path / "server") as server:
        client = connect(server.endpoint, chunk_bytes_max=8 * 1024)
        ledger.ship(client, 2000, text="x" * 100)
        server.kill()
        server.start()
        assert_nothing_lost(ledger, wait_for_all(ledger, server), in_order=False)
        assert_complete(*server.output_files(ledger.tag))


def test_a_destination_that_is_away_pauses_nothing(connect: Connect, tmp_path: Path) -> None:
    """More than fits into its memory is taken, acknowledged, and kept in files."""
    environ = {name: value for name, value in GIVEN.items() if "AGGREGATOR" in name}
    environ |= {"LOGSHIP_AGGREGATOR_PORT": "1", "HOSTNAME": "sidecar"}
    ledger = Ledger()
    with DeployedFluentBit(tmp_path / "server", "aggregator", environ=environ) as server:
        client = connect(server.endpoint, buffer_bytes_max=16 * 1024 * 1024)
        ledger.emit(client, 90_000, text="x" * 1000)
        report = client.close(timeout=CLOSE_SECONDS_MAX)
        kept = sum(path.stat().st_size for path in (tmp_path / "server").rglob("*.flb"))
        log = server.log()
    assert report.all_acked
    assert len(ledger.markers) == 90_000
    assert kept > 80_000_000
    assert "paused" not in log


def test_what_waits_for_a_retry_is_sent_at_its_end(connect: Connect, tmp_path: Path) -> None:
    """Fluent Bit itself ends the wait, here of an hour."""
    if why := why_no_fluentd():
        pytest.skip(why)
    image = shutil.copytree(FLUENT_BIT, tmp_path / "image")
    common = (image / "logship.yaml").read_text()
    patient = common.replace("base: 1\n", "base: 3600\n").replace("cap: 30\n", "cap: 3600\n")
    assert patient != common
    (image / "logship.yaml").write_text(patient)
    ca, tls = certificate_for("localhost", tmp_path)
    security = Security(GIVEN["LOGSHIP_AGGREGATOR_SHARED_KEY"])
    ledger = Ledger()
    with Fluentd(tmp_path / "far", is_started=False, tls=tls, security=security) as aggregator:
        environ = {name: value for name, value in GIVEN.items() if "AGGREGATOR" in name} | {
            "HOSTNAME": "sidecar",
            "LOGSHIP_AGGREGATOR_PORT": str(aggregator.port.number),
            "LOGSHIP_AGGREGATOR_CA": str(ca),
        }
        with DeployedFluentBit(
            tmp_path / "server", "aggregator", environ=environ, configurations=image
        ) as server:
            client = connect(server.endpoint)
            ledger.ship(client, 1000)
            wait_until(lambda: "failed to flush chunk" in server.log(), "it has failed", 30)
            aggregator.start()
            assert aggregator.arrived(ledger.tag) == []
            server.terminate()
        assert_nothing_lost(ledger, wait_for_all(ledger, aggregator), in_order=False)


def test_a_record_longer_than_the_limit_is_refused_before_the_ack(
    ledger: Ledger, connect: Connect, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """So logship declares it and writes it to stderr, and no destination cuts it or drops it."""
    environ = {"LOGSHIP_FRAME_SIZE_MAX": "1M"}
    with DeployedFluentBit(tmp_path / "server", environ=environ) as server:
        client = connect(server.endpoint)
        ledger.emit(client, 1, text="x" * 1_100_000)
        with PacedLogging(client, ledger, 50, "others must pass, or nothing proves it guilty"):
            counters = client.shipper.buffer.counters
            wait_until(lambda: counters.spilled == 1, "logship gives it up", 30)
        report = client.close(timeout=CLOSE_SECONDS_MAX)
        assert report.acked == len(ledger.markers) - 1
        lines = tmp_path / "stderr"
        lines.write_text(capfd.readouterr().err)
        wait_until(
            lambda: audit(*server.output_files(ledger.tag), lines)[1]["outcome"] == "declared",
            "the others are in the file, and this one is on stderr",
            30,
        )


@pytest.mark.parametrize(("log", "left"), [("full", set()), ("directory", {"rejected"})])
def test_the_output_file_does_not_try_again(
    log: str, left: set[str], connect: Connect, tmp_path: Path
) -> None:
    """The docs say so. If this fails, Fluent Bit has learned it, and they have to change."""
    ledger, out = Ledger(), tmp_path / "server" / "out"
    out.mkdir(parents=True)
    if log == "full":
        (out / "logship.log").symlink_to("/dev/full")
    else:
        (out / "logship.log").mkdir()
    with DeployedFluentBit(tmp_path / "server") as server:
        client = connect(server.endpoint)
        ledger.ship(client, 100)
        wait_until(lambda: {each.parent.name for each in kept_by(server)} == left, "it ends", 30)


def test_the_image_is_one_that_checks_before_it_acks() -> None:
    """Before 5.1 Fluent Bit acknowledges what it throws away."""
    dockerfile = (REPOSITORY / "sidecar/fluent-bit/Dockerfile").read_text()
    (image,) = [line for line in dockerfile.splitlines() if line.startswith("ARG FLUENT_BIT=")]
    version = image.partition(":")[2]
    assert tuple(int(part) for part in version.split(".")) >= (5, 1)
