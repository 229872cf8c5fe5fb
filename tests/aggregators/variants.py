"""The tiers that are tried: the shipped configurations of `sidecar/`, and clients without a sidecar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.sidecar.deployed import SIDECAR, DeployedFluentd
from tests.support.servers import (
    EmbeddedReceiver,
    ServerProcess,
    why_no_fluentd,
)

OVERLAY = SIDECAR / "kubernetes" / "overlays" / "aggregator" / "aggregator.yaml"


@dataclass(frozen=True)
class Variant:
    """One kind of tier.

    Attributes:
        aggregator: Starts an aggregator in a directory.
        sidecar: Starts a sidecar that forwards to two ports, in this order of preference. None
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
    return DeployedFluentd(directory, environ=overlay_environ())


def _fluentd_sidecar(directory: Path, ports: Sequence[int]) -> ServerProcess:
    environ = {"LOGSHIP_OUTPUT": "aggregator", **_forward_environ(ports)}
    return DeployedFluentd(directory, environ=environ)


def _forward_environ(ports: Sequence[int]) -> dict[str, str]:
    first, standby = map(str, ports)
    return {
        "LOGSHIP_AGGREGATOR_HOST": "127.0.0.1",
        "LOGSHIP_AGGREGATOR_PORT": first,
        "LOGSHIP_AGGREGATOR_STANDBY_HOST": "127.0.0.1",
        "LOGSHIP_AGGREGATOR_STANDBY_PORT": standby,
    }


VARIANTS = {
    "straight": Variant(EmbeddedReceiver, None, lambda: ""),
    "fluentd": Variant(_fluentd_aggregator, _fluentd_sidecar, why_no_fluentd),
}
