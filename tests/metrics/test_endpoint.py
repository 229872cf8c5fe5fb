"""Shows what an endpoint serves: of programs, a receiver and a recoverer, and to rude visitors."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from logship._metrics.client_measures import CLIENT_MEASURES
from logship._metrics.measures import BUILD, PAGES_REFUSED, RECEIVER_MEASURES
from logship._metrics.prometheus import CountsCollector, Endpoint
from logship._receiver.server import Counts
from tests.metrics.scraping import (
    LOG_UNTIL_TOLD,
    OPENMETRICS,
    SERVED_ON,
    fetch,
    parsed,
    port_said_by,
    scrape,
    wait_for_samples,
)
from tests.process.conftest import Sidecar
from tests.support.commands import LOGSHIP, ran
from tests.support.programs import Programs
from tests.support.prometheus import Prometheus, why_no_prometheus, why_no_promtool
from tests.support.raising import raising
from tests.support.receiver_process import ReceiverProcess
from tests.support.threads import Later
from tests.support.waiting import wait_until


def families_of(measures: tuple[object, ...]) -> set[str]:
    return {f"logship_{each.name}".removesuffix("_total") for each in measures}  # type: ignore[attr-defined]


def test_any_free_port_is_served_on_and_said(programs: Programs, sidecar: Sidecar) -> None:
    program = programs.start(LOG_UNTIL_TOLD, environ={"LOGSHIP_METRICS_PORT": "0"})
    program.until_ready()
    samples = wait_for_samples(port_said_by(program), "logship_records_acked_total", 100)
    assert samples["logship_records_accepted_total"] == 100
    assert samples["logship_connected"] == samples["logship_clients"] == 1
    ended = program.finish("end")
    assert len(ended.warnings) == 1, "the one line that says the port"
    sidecar.output.verdict(ended).assert_all_delivered()


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_both_formats_hold_every_measure_and_its_help(programs: Programs, accept: str) -> None:
    program = programs.start(LOG_UNTIL_TOLD, environ={"LOGSHIP_METRICS_PORT": "0"})
    kind, text = fetch(port_said_by(program), accept)
    assert kind.startswith("application/openmetrics-text" if accept else "text/plain")
    assert text.endswith("# EOF\n") == bool(accept)
    assert parsed(text, openmetrics=bool(accept))
    for measure in (*CLIENT_MEASURES, PAGES_REFUSED):
        assert measure.remedy.split(";")[0] in text.replace("\\n", " ")
    helped = set(re.findall(r"^# HELP (\S+) ", text, re.MULTILINE))
    names = {name.removesuffix("_total").removesuffix("_info") for name in helped}
    all_measures = (*CLIENT_MEASURES, PAGES_REFUSED, BUILD)
    assert names == {name.removesuffix("_info") for name in families_of(all_measures)}


def test_the_applications_own_registry(programs: Programs) -> None:
    """Registered beside its own metrics, which has no part in logship's settings."""
    ended = programs.start("""
        from prometheus_client import REGISTRY, Counter, generate_latest
        from logship.metrics import LogshipCollector
        Counter("shop_orders", "Orders.").inc()
        REGISTRY.register(LogshipCollector())
        client = logship.install(level="INFO")
        log(times=10)
        client.flush(20)
        print(generate_latest(REGISTRY).decode())
        try:
            REGISTRY.register(LogshipCollector())
        except ValueError as error:
            assert "logship_records_accepted" in str(error)
    """).end(returncode=0)
    samples = parsed(ended.stdout)
    assert samples["shop_orders_total"] == 1
    assert samples["logship_records_acked_total"] == 10


def test_a_process_without_metrics_pays_for_none(programs: Programs) -> None:
    """Neither the library nor a thread, nor a file."""
    programs.start("""
        logship.install(level="INFO")
        log()
        assert not [name for name in sys.modules if name.startswith("prometheus_client")]
        assert not [each for each in threading.enumerate() if "metrics" in each.name]
    """).end(returncode=0)


def test_the_metrics_of_a_disabled_logship_are_not_served(programs: Programs, port: int) -> None:
    programs.start(
        """
        logship.install(level="INFO")
        assert threading.enumerate() == [threading.main_thread()]
        """,
        environ={"LOGSHIP_METRICS_PORT": str(port), "LOGSHIP_DISABLED": "1"},
    ).end(returncode=0)


def test_rude_requests_harm_no_other(programs: Programs, sidecar: Sidecar) -> None:
    """Half a request, rubbish, a format that does not exist, thirty silent connections."""
    program = programs.start(LOG_UNTIL_TOLD, environ={"LOGSHIP_METRICS_PORT": "0"})
    program.until_ready()
    port = port_said_by(program)
    no_format = b"GET / HTTP/1.1\r\nAccept: text/plain;version=x\r\n\r\n"
    for rude in (b"GET /", b"\0" * 5000, b"POST / HTTP/1.1\r\n\r\n", b"\r\n\r\n", no_format):
        with socket.create_connection(("127.0.0.1", port)) as visitor:
            visitor.sendall(rude)
            visitor.shutdown(socket.SHUT_WR)
            visitor.recv(1)
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(30)]
    for each in silent:
        each.close()
    wait_for_samples(port, "logship_records_acked_total", 100)
    ended = program.finish("end")
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    sidecar.output.verdict(ended).assert_all_delivered()


def test_slow_requests_have_others_wait_and_do_not_keep_them_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As many as are served at a time send a byte now and then, and never come to an end."""
    monkeypatch.setattr("logship._metrics.prometheus._REQUEST_SECONDS_MAX", 2.0)
    endpoint = Endpoint("127.0.0.1", 0, CountsCollector(Counts()))
    slow = [socket.create_connection(("127.0.0.1", endpoint.port)) for _ in range(8)]
    over = threading.Event()

    def trickle() -> None:
        while not over.wait(0.1):
            for each in slow:
                with contextlib.suppress(OSError):
                    each.sendall(b"G")

    trickler = Later(trickle)
    try:
        assert scrape(endpoint.port)
    finally:
        over.set()
        trickler.join()
        for each in slow:
            each.close()


def test_without_a_thread_nothing_listens(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        no_thread = RuntimeError("can't start new thread")
        patched.setattr(threading.Thread, "start", raising(no_thread))
        with pytest.raises(OSError, match="can't start new thread"):
            Endpoint("127.0.0.1", port, CountsCollector(Counts()))
    assert Endpoint("127.0.0.1", port, CountsCollector(Counts())).port == port


def test_what_a_receiver_counts_meanwhile_is_not_in_this_scrape() -> None:
    counts = Counts()
    families = CountsCollector(counts).collect()
    first = next(families)
    for name in Counts.__slots__:
        setattr(counts, name, 7)
    samples = [sample for family in (first, *families) for sample in family.samples]
    values = [each.value for each in samples if each.name.startswith("logship_receiver_")]
    assert values == [0] * len(Counts.__slots__)


# -- the other programs ----------------------------------------------------------------------------


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[ReceiverProcess]:
    """A receiver that serves its metrics."""
    options = ["--metrics-port", "0"]
    with ReceiverProcess.start(tmp_path / "out", options=options) as receiver:
        yield receiver


def test_the_receiver_exports_what_it_did(programs: Programs, receiver: ReceiverProcess) -> None:
    found = SERVED_ON.search(receiver.stderr())
    assert found
    port = int(found[1])
    program = programs.start(LOG_UNTIL_TOLD, endpoint=receiver.endpoint)
    program.until_ready()
    with socket.create_connection(("127.0.0.1", receiver.port)) as visitor:
        visitor.sendall(b"GET / HTTP/1.1\r\n\r\n")
        samples = wait_for_samples(port, "logship_receiver_refused_total", 1)
    assert samples["logship_receiver_records_total"] == len(receiver.records()) == 100
    assert samples["logship_receiver_output_bytes_total"] == receiver.out.stat().st_size
    assert samples["logship_receiver_received_bytes_total"] > 100
    assert samples["logship_receiver_acks_total"] >= 1
    assert samples["logship_receiver_connections_total"] == 2
    program.finish("end")
    wait_for_samples(port, "logship_receiver_connections_open", 0)
    names = families_of((*RECEIVER_MEASURES, BUILD))
    text = fetch(port)[1]
    said = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
    assert {name.removesuffix("_total") for name in said} == names


def test_the_receivers_port_that_is_taken_is_a_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        options = ["--metrics-port", port]
        with ReceiverProcess.start(tmp_path / "out", options=options) as receiver:
            assert f"cannot be served on 127.0.0.1:{port}" in receiver.stderr()


def test_the_recoverer_exports_what_it_recovered(
    programs: Programs, sidecar: Sidecar, tmp_path: Path, port: int
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    program = programs.start(
        """
        logship.install(level="INFO")
        log(times=100)
        ready()
        forever()
        """,
        endpoint="tcp://127.0.0.1:1",
        environ={"LOGSHIP_SPOOL_DIR": str(spool)},
    )
    ended = program.stopped(signal.SIGKILL)
    environ = programs._environ(tmp_path, "", sidecar.endpoint, {"TMPDIR": str(tmp_path)})
    words = ["recover", "--spool", str(spool), "--watch", "--metrics-port", str(port)]
    recoverer = subprocess.Popen(
        [*LOGSHIP, *words], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        samples = wait_for_samples(port, "logship_recovery_lives_finished_total", 1)
        assert samples["logship_recovery_lives_total"] == 1
        assert samples["logship_recovery_records_total"] == 100
        assert samples["logship_recovery_records_acked_total"] == 100
        assert samples["logship_recovery_damaged_total"] == 0
    finally:
        recoverer.terminate()
        recoverer.wait(20)
    sidecar.output.verdict(ended).assert_all_delivered()


# -- what others make of it ------------------------------------------------------------------------


def test_promtool_has_nothing_to_complain_of(programs: Programs) -> None:
    if why := why_no_promtool():
        pytest.skip(why)
    program = programs.start(LOG_UNTIL_TOLD, environ={"LOGSHIP_METRICS_PORT": "0"})
    _, text = fetch(port_said_by(program))
    checked = ran("promtool", "check", "metrics", input=text)
    assert checked.stdout + checked.stderr == ""


def test_a_real_prometheus_scrapes_it(programs: Programs, tmp_path: Path) -> None:
    if why := why_no_prometheus():
        pytest.skip(why)
    program = programs.start(LOG_UNTIL_TOLD, environ={"LOGSHIP_METRICS_PORT": "0"})
    target = f"127.0.0.1:{port_said_by(program)}"
    expected = {
        "logship_records_acked_total": [100],
        "sum(logship_records_dropped_total)": [0],
        "logship_buffer_bytes / logship_buffer_bytes_max": [0],
        "logship_build_info": [1],
    }
    with Prometheus(tmp_path, {target: {"job": "application"}}) as prometheus:
        wait_until(
            lambda: {each: prometheus.values(each) for each in expected} == expected,
            f"all of {expected}",
            60,
        )


def test_an_address_of_the_sixth_version(programs: Programs) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    environ = {"LOGSHIP_METRICS_PORT": "0", "LOGSHIP_METRICS_HOST": "::1"}
    program = programs.start(LOG_UNTIL_TOLD, environ=environ)
    program.until_true(lambda: "metrics" in program.stderr, "a line about metrics")
    if os.strerror(errno.EADDRNOTAVAIL) in program.stderr or "not supported" in program.stderr:
        pytest.skip("no IPv6 here")
    found = re.search(r"served on (http://\[::1\]:\d+/metrics)", program.stderr)
    assert found, program.stderr
    with urllib.request.urlopen(found[1], timeout=20) as answer:
        assert b"logship_records_accepted_total" in answer.read()
