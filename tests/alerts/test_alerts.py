"""Every alert fires when its cause happens to a real process, and no other alert does.

The test uses real processes, real faults, and a real Prometheus with the committed rules and their
real times. It takes ten minutes, and belongs to `make proof`. `rules_test.yml` is quicker.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.alerts.expressions import ALERTING, RECORDING, rules_of
from tests.contract.certificates import make_certificates
from tests.metrics.conftest import gate, programs, sidecar
from tests.metrics.scraping import port_said_by, scrape
from tests.process.conftest import Sidecar
from tests.sidecar.deployed import DeployedFluentBit
from tests.sidecar.destinations import Destination
from tests.support.programs import Program, Programs
from tests.support.programs_gate import Gate
from tests.support.prometheus import Labels, Prometheus, why_no_prometheus
from tests.support.servers import ReservedPort, why_no_fluent_bit
from tests.support.waiting import wait_until

__all__ = ["gate", "programs", "sidecar"]

FIRED = 'max by (instance, alertname) (max_over_time(ALERTS{alertstate="firing"}[1h]))'

VERSION_AT, CHUNK_ID_AT = 8, 64 + 40
"""Bytes of a segment; see docs/spool-format.md."""

LOG_UNTIL_TOLD = """
    import logging
    import logship
    client = logship.install(level="INFO")
    for number in range(100):
        logging.info("number %d", number)
    ready()
    wait_for("end")
"""

LOG_FASTER_THAN_THE_BUFFER_LASTS = """
    import logging
    import logship
    client = logship.install(level="INFO")
    for number in range(200):
        logging.info("x" * 1000)
    ready()
    wait_for("end")
"""

END_A_CLIENT_THAT_GETS_NO_ACK = """
    import logship
    client = logship.BackgroundClient()
    client.emit({"message": "hi"})
    assert client.close(timeout=1).spilled == 1
    ready()
    wait_for("end")
"""

LOG_STEADILY = """
    import logging, time
    import logship
    logship.install(level="INFO")
    ready()
    while True:
        logging.info("x" * 10_000)
        time.sleep(0.3)  # the load that the alert is about: three records a second
"""

RECOVER = """
    import sys
    from logship._cli import main
    sys.argv[1:] = ["recover", "--watch", "--metrics-port", "0", "--spool", {spool!r}]
    main()
"""

AUDIT = """
    import sys
    from logship._cli import main
    sys.argv[1:] = ["audit", "--watch", {out!r}, "--metrics-port", "0"]
    sys.argv[6:] = ["--interval", "0.2", "--overdue", "0.5"]
    main()
"""


@dataclass
class Estate:
    """Programs in trouble, each a target of one Prometheus, and the alerts that it must cause."""

    programs: Programs
    sidecar: Sidecar
    directory: Path
    stack: ExitStack
    targets: dict[str, Labels] = field(default_factory=dict)
    expected: set[tuple[str, str]] = field(default_factory=set)

    def add(self, instance: str, port: int, *alerts: str, job: str = "application") -> None:
        """Have a port scraped."""
        self.targets[f"127.0.0.1:{port}"] = {"job": job, "instance": instance}
        self.expected |= {(instance, alert) for alert in alerts}

    def start(self, source: str, gate: Gate | None = None, **environ: str) -> Program:
        """Start a program that serves its metrics, if nothing else is said."""
        return self.programs.start(
            source,
            endpoint=None if gate is None else gate.endpoint,
            environ={"LOGSHIP_METRICS_PORT": "0", **environ},
        )

    def gate(self) -> Gate:
        """Return a port of its own before the sidecar, shut."""
        return self.stack.enter_context(Gate(self.sidecar.port))

    def silent_gate(self) -> Gate:
        """Return a sidecar that takes everything and acknowledges nothing."""
        gate = self.gate()
        gate.silence()
        return gate


@pytest.fixture
def estate(programs: Programs, sidecar: Sidecar, tmp_path: Path) -> Iterator[Estate]:
    if why := why_no_prometheus() or why_no_fluent_bit():
        pytest.skip(why)
    with ExitStack() as stack:
        yield Estate(programs, sidecar, tmp_path, stack)


def all_is_well(estate: Estate) -> None:
    program = estate.start(LOG_UNTIL_TOLD)
    program.until_ready()
    estate.add("healthy", port_said_by(program))


def no_server_listens_and_the_buffer_is_full(estate: Estate) -> None:
    program = estate.start(
        LOG_FASTER_THAN_THE_BUFFER_LASTS,
        estate.gate(),
        LOGSHIP_BUFFER_BYTES_MAX="65536",
        LOGSHIP_CHUNK_BYTES_MAX="8192",
        LOGSHIP_OVERFLOW="drop_newest",
        LOGSHIP_LAST_RESORT="none",
    )
    alerts = ("LogshipRecordsDropped", "LogshipBufferFilling", "LogshipDisconnected")
    estate.add("cut-off", port_said_by(program), *alerts)


def a_worker_is_killed(estate: Estate) -> None:
    """Another one, which is well, answers for both."""
    pages = {"LOGSHIP_METRICS_DIR": str(estate.directory / "pages")}
    survivor = estate.start(LOG_UNTIL_TOLD, None, **pages)
    port = port_said_by(survivor)
    victim = estate.programs.start(
        LOG_UNTIL_TOLD, endpoint=estate.silent_gate().endpoint, environ=pages
    )
    wait_until(lambda: is_all_shown(port), "the page of the one is written, the other has acks")
    victim.signal(signal.SIGKILL)
    victim.end()
    estate.add("killed", port, "LogshipStreamEndMissing", "LogshipRecordsUnacked")


def is_all_shown(port: int) -> bool:
    """Tell whether the records of both are shown, and only those of the victim wait."""
    shown = scrape(port)
    return (shown["logship_records_accepted_total"], shown["logship_records_waiting"]) == (200, 100)


def the_end_is_not_acknowledged_in_time(estate: Estate) -> None:
    program = estate.start(
        END_A_CLIENT_THAT_GETS_NO_ACK, estate.silent_gate(), LOGSHIP_STOP_TIMEOUT_SECONDS="1.5"
    )
    program.until_ready()
    estate.add("slow", port_said_by(program), "LogshipStreamEndUnproven", "LogshipDrainSlow")


def the_spool_grows(estate: Estate) -> None:
    spool = estate.directory / "growing"
    spool.mkdir()
    program = estate.start(
        LOG_STEADILY,
        estate.silent_gate(),
        LOGSHIP_SPOOL_DIR=str(spool),
    )
    estate.add("behind", port_said_by(program), "LogshipSpoolGrowing")


def a_spool_is_of_another_version_and_one_is_damaged(estate: Estate) -> None:
    spool = estate.directory / "left"
    spool.mkdir()
    for byte in (VERSION_AT, CHUNK_ID_AT):
        directory = estate.directory / f"killed-{byte}"
        directory.mkdir()
        program = estate.programs.start(
            LOG_UNTIL_TOLD,
            endpoint=estate.silent_gate().endpoint,
            environ={"LOGSHIP_SPOOL_DIR": str(directory)},
        )
        program.stop(signal.SIGKILL)
        program.end()
        segment = min(directory.glob("*/segment-*"))
        data = bytearray(segment.read_bytes())
        data[byte] ^= 0x63
        segment.write_bytes(data)
        segment.parent.rename(spool / segment.parent.name)
    recoverer = estate.programs.start(RECOVER.format(spool=str(spool)))
    alerts = ("LogshipSpoolUnknownVersion", "LogshipQuarantined")
    estate.add("recoverer", port_said_by(recoverer), *alerts, job="recoverer")


def a_destination_refuses(estate: Estate) -> None:
    """The stand-in wants another name of the service."""
    certificates = make_certificates(estate.directory)
    loki = Destination("loki", estate.directory / "loki", certificates)
    environ = estate.stack.enter_context(loki).environ() | {"OTEL_SERVICE_NAME": "unknown"}
    fluent_bit = DeployedFluentBit(estate.directory / "fluent-bit", "loki", environ=environ)
    port = estate.stack.enter_context(fluent_bit).metrics_port.number
    estate.add("refused", port, "LogshipSidecarRejected", job="sidecar")
    path = {"__metrics_path__": "/api/v2/metrics/prometheus"}
    address = f"127.0.0.1:{port}"
    estate.targets[address] = {**estate.targets[address], **path}
    program = estate.programs.start(LOG_UNTIL_TOLD, endpoint=fluent_bit.endpoint)
    program.until_ready()


def an_output_has_a_hole(estate: Estate) -> None:
    out = estate.directory / "holed.jsonl"
    lines = [{"n": number, "logship_id": f"abcdefghij01:{number:010d}"} for number in (1, 2, 4)]
    out.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    program = estate.programs.start(AUDIT.format(out=str(out)))
    estate.add("audited", port_said_by(program), "LogshipFleetLosing", job="audit")


def nothing_can_be_scraped(estate: Estate) -> None:
    reserved = ReservedPort()
    estate.stack.callback(reserved.close)
    estate.add("gone", reserved.number, "LogshipMetricsMissing")


@pytest.mark.proof
@pytest.mark.timeout(1500)
def test_each_alert_fires_for_its_cause_and_for_nothing_else(
    estate: Estate, tmp_path: Path
) -> None:
    all_is_well(estate)
    no_server_listens_and_the_buffer_is_full(estate)
    a_worker_is_killed(estate)
    the_end_is_not_acknowledged_in_time(estate)
    a_spool_is_of_another_version_and_one_is_damaged(estate)
    a_destination_refuses(estate)
    an_output_has_a_hole(estate)
    nothing_can_be_scraped(estate)
    the_spool_grows(estate)  # last: it does not do so for ever
    assert {alert for _, alert in estate.expected} == {
        rule["alert"] for rule in rules_of(ALERTING)
    }, "every alert is caused"
    rules = [RECORDING, ALERTING]
    # As in the committed configuration: a scrape that is late by a moment begins a `for` anew.
    with Prometheus(tmp_path, estate.targets, rules=rules, scrape_seconds=5) as prometheus:
        with suppress(AssertionError):  # the next line says which
            wait_until(
                lambda: fired(prometheus) >= estate.expected,
                "each alert has fired that should",
                1260,
            )
        assert fired(prometheus) == estate.expected
        for rule in prometheus.rules():
            assert rule["health"] == "ok", rule.get("lastError")


def fired(prometheus: Prometheus) -> set[tuple[str, str]]:
    """Return instance and name of each alert that fires or did."""
    return {(each["instance"], each["alertname"]) for each, _ in prometheus.series(FIRED)}
