"""The tiers that are tried: shipped configurations, and clients without a sidecar."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from tests.sidecar.deployed import (
    FLUENT_BIT,
    SIDECAR,
    DeployedFluentBit,
    DeployedFluentd,
    certificate_for,
)
from tests.support.servers import EmbeddedReceiver, ServerProcess, why_no_fluent_bit, why_no_fluentd

OVERLAY = SIDECAR / "kubernetes" / "overlays" / "aggregator" / "aggregator.yaml"

KEY = "the key"

_certificate = cache(certificate_for)


@dataclass(frozen=True)
class Variant:
    """One kind of tier.

    Attributes:
        aggregator: Makes an aggregator in a directory; it is not started.
        sidecar: Makes a sidecar that forwards to two ports, in this order of preference. None
            where clients connect to the aggregators.
        why_not: Why it cannot run here, or nothing.
    """

    aggregator: Callable[[Path], ServerProcess]
    sidecar: Callable[[Path, Sequence[int]], ServerProcess] | None
    why_not: Callable[[], str]


def overlay_environ() -> dict[str, str]:
    """Return the aggregators' variables in Kubernetes, but for the address, which is loopback."""
    kinds = {each["kind"]: each for each in yaml.safe_load_all(OVERLAY.read_text())}
    container: dict[str, Any] = kinds["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]
    given = {each["name"]: each["value"] for each in container["env"]}
    return given | {"LOGSHIP_BIND": "127.0.0.1"}


def _fluentd_aggregator(directory: Path) -> ServerProcess:
    return DeployedFluentd(directory, environ=overlay_environ(), is_started=False)


def _fluentd_sidecar(directory: Path, ports: Sequence[int]) -> ServerProcess:
    environ = {"LOGSHIP_OUTPUT": "aggregator", **_forward_environ(ports)}
    return DeployedFluentd(directory, environ=environ, is_started=False)


def _fluent_bit_aggregator(directory: Path) -> ServerProcess:
    """Return Fluent Bit as it is deployed, with the lines for TLS that a user adds to its input."""
    configurations = shutil.copytree(FLUENT_BIT, directory / "conf")
    _, tls = _certificate("localhost", directory.parent)
    with (configurations / "logship.yaml").open("a") as file:
        file.write(f"      tls: on\n      tls.crt_file: {tls.certificate}\n")
        file.write(f"      tls.key_file: {tls.key}\n      shared_key: {KEY}\n")
        file.write("      self_hostname: aggregator\n")
    return DeployedFluentBit(directory, configurations=configurations, is_started=False)


def _fluent_bit_sidecar(directory: Path, ports: Sequence[int]) -> ServerProcess:
    ca, _ = _certificate("localhost", directory.parent)
    environ = {
        "HOSTNAME": directory.name,
        "LOGSHIP_AGGREGATOR_SHARED_KEY": KEY,
        "LOGSHIP_AGGREGATOR_CA": str(ca),
        **_forward_environ(ports),
    }
    return DeployedFluentBit(directory, "aggregators", environ=environ, is_started=False)


def _forward_environ(ports: Sequence[int]) -> dict[str, str]:
    first, standby = map(str, ports)
    return {
        "LOGSHIP_AGGREGATOR_HOST": "127.0.0.1",
        "LOGSHIP_AGGREGATOR_PORT": first,
        "LOGSHIP_AGGREGATOR_STANDBY_HOST": "127.0.0.1",
        "LOGSHIP_AGGREGATOR_STANDBY_PORT": standby,
    }


VARIANTS = {
    "straight": Variant(partial(EmbeddedReceiver, is_started=False), None, lambda: ""),
    "fluentd": Variant(_fluentd_aggregator, _fluentd_sidecar, why_no_fluentd),
    "fluent-bit": Variant(_fluent_bit_aggregator, _fluent_bit_sidecar, why_no_fluent_bit),
}
