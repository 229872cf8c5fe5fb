"""The duplicate filter, in the Fluentd that is deployed: exactly once under forced resends."""

from __future__ import annotations

import random
import secrets
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.pacing import PacedLogging
from tests.chaos.proxy import ChaosProxy, Fault, Plan
from tests.contract.shipping import (
    CLOSE_SECONDS_MAX,
    Ledger,
    assert_once_in_order,
    audit,
    markers_of,
    wait_for_end,
)
from tests.interop.conftest import Connect, needs
from tests.interop.raw import RawConnection, entries, packed_forward
from tests.sidecar.deployed import FLUENTD, DeployedFluentd, run, why_no
from tests.support.servers import ServerProcess, section, why_no_fluentd
from tests.support.waiting import wait_until

STREAM = "KjRTJ0mD-YV2"


def acks_get_lost(chance: random.Random) -> Plan:
    """Cut a connection behind the first acks: what was taken is sent again."""
    return Plan(Fault.RESET, is_up=False, after_bytes=chance.randrange(300))


def ship_through_resends(server: ServerProcess, connect: Connect) -> tuple[Ledger, int]:
    """Log for a while through a proxy that swallows acks; return what was, and the resets."""
    ledger = Ledger()
    with ChaosProxy(server.port.number, seed=5, planner=acks_get_lost) as proxy:
        client = connect(proxy.endpoint, chunk_bytes_max=4096, backoff_seconds_base=0.01)
        with PacedLogging(client, ledger, 2000, "x" * 100):
            wait_until(lambda: proxy.fired[Fault.RESET] >= 10, "ten resets", 60)
        proxy.heal()
        client.close(timeout=CLOSE_SECONDS_MAX)
        return ledger, proxy.fired[Fault.RESET]


@needs(why_no_fluentd)
def test_forced_resends_are_written_once(connect: Connect, tmp_path: Path) -> None:
    """By ledger and by audit; the same campaign on a plain Fluentd shows that it does resend."""
    with DeployedFluentd(tmp_path / "deployed") as server:
        ledger, resets = ship_through_resends(server, connect)
        assert resets >= 10
        assert_once_in_order(ledger, wait_for_end(server, ledger.tag))
        code, verdict = audit(*server.output_files(ledger.tag))
        server.terminate()
        log = server.log()
    assert code == 0, verdict
    assert verdict["streams"][0]["duplicates"] == 0
    assert "dropped duplicates" in log
    assert "records are missing" not in log


@needs(why_no_fluentd)
def test_a_chunk_that_the_buffer_refused_is_no_duplicate_when_it_comes_again(
    connect: Connect, tmp_path: Path
) -> None:
    """A filter in front of the buffer would have seen its numbers already, and lose it.

    What is full is written every other second, not at once, and the server finds four times as much
    as its buffer holds in its socket: one write in the middle of that does not make room enough.
    """
    buffer = "@type memory\nchunk_limit_size 16k\ntotal_limit_size 64k\nflush_mode interval\n"
    buffer += "flush_interval 2s\nflush_thread_interval 2\noverflow_action throw_exception"
    configuration = small_buffered(tmp_path, buffer)
    ledger = Ledger()
    with DeployedFluentd(tmp_path / "server", configuration=configuration) as server:
        client = connect(server.endpoint, chunk_bytes_max=8 * 1024, inflight_chunks_max=32)
        server.signal(signal.SIGSTOP)
        ledger.emit(client, 1800, text="x" * 100)
        wait_until(lambda: client.shipper.delivery.inflight_chunks == 32, "a full window")
        server.signal(signal.SIGCONT)
        client.close(timeout=CLOSE_SECONDS_MAX)
        assert_once_in_order(ledger, wait_for_end(server, ledger.tag))
        code, verdict = audit(*server.output_files(ledger.tag))
        assert "BufferOverflowError" in server.log()
    assert code == 0, verdict


def small_buffered(directory: Path, buffer: str) -> Path:
    """Write a configuration whose output overflows, behind the plugin as it is deployed."""
    path = directory / "small.conf"
    output = section(
        "match **",
        '@type file\nappend true\npath "#{ENV.fetch(%(LOGSHIP_LOG_DIR))}/logship.all"',
        section("format", "@type json"),
        section("inject", "tag_key fluentd_tag"),
        section("buffer []", buffer),
    )
    source = '@type forward\nbind 127.0.0.1\nport "#{ENV.fetch(%(LOGSHIP_PORT))}"'
    dedup = section("match **", "@type logship_dedup\n@label @OUTPUT")
    parts = (section("source", source), dedup, section("label @OUTPUT", output))
    path.write_text("\n".join(parts))
    return path


@pytest.fixture
def deployed(tmp_path: Path) -> Any:
    if why := why_no_fluentd():
        pytest.skip(why)
    with DeployedFluentd(tmp_path / "server") as server:
        yield server


def stamped(number: int, **more: Any) -> dict[str, Any]:
    return {"marker": str(number), "logship_id": f"{STREAM}:{number:010}", **more}


def send(server: ServerProcess, tag: str, *records: dict[str, Any]) -> None:
    """Send a chunk by hand, on a connection of its own, and wait for its ack."""
    chunk = secrets.token_urlsafe(16)
    with RawConnection(server) as connection:
        connection.send(packed_forward(tag, entries(*records), chunk=chunk))
        assert connection.acks_until(chunk) == ([], True)


def test_a_chunk_sent_twice_is_acked_twice_and_written_once(deployed: ServerProcess) -> None:
    """Also where a part of it is new, and where the copy comes over another connection."""
    send(deployed, "web", stamped(1), stamped(2))
    send(deployed, "web", stamped(1), stamped(2))
    send(deployed, "web", stamped(2), stamped(3), {"marker": "no stamp"})
    send(deployed, "web", {"marker": "no stamp"})
    deployed.terminate()
    expected = ["1", "2", "3", "no stamp", "no stamp"]
    assert markers_of(deployed.arrived("web")) == expected


def test_missing_numbers_are_told_unless_a_gap_declares_them(deployed: ServerProcess) -> None:
    """At the end at the latest; `gap_wait` is long enough for a client to send again."""
    send(deployed, "web", stamped(1), stamped(4, logship_gap=[2, 3, "overflow"]), stamped(8))
    send(deployed, "web", stamped(11), stamped(6))
    deployed.terminate()
    warned = [line for line in deployed.log().splitlines() if "records are missing" in line]
    assert len(warned) == 1
    assert f'stream="{STREAM}" tag="web" count=4 numbers="5, 7, 9-10"' in warned[0]


@needs(why_no_fluentd)
def test_missing_numbers_are_told_while_it_runs(tmp_path: Path) -> None:
    text = (FLUENTD / "fluent.conf").read_text()
    impatient = text.replace("@id logship_dedup\n", "gap_wait 0.2\ncheck_interval 0.1\n")
    assert impatient != text
    outputs = str(FLUENTD / "outputs")
    path = tmp_path / "impatient.conf"
    path.write_text(impatient.replace('@include "outputs', f'@include "{outputs}'))
    with DeployedFluentd(tmp_path / "server", configuration=path) as server:
        send(server, "web", stamped(1), stamped(3))
        wait_until(lambda: 'numbers="2"' in server.log(), "the warning")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("streams_max 0", "streams_max 0: must be at least 1"),
        ("ranges_max 0", "ranges_max 0: must be at least 1"),
        ("", "name the label of the real output"),
    ],
)
@needs(why_no_fluentd)
def test_a_wrong_parameter_is_refused(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "wrong.conf"
    label = "@label @OUTPUT" if line else ""
    path.write_text(
        section("match **", f"@type logship_dedup\n{label}\n{line}")
        + "\n"
        + section("label @OUTPUT", section("match **", "@type null"))
    )
    code, said = run("fluentd", "--dry-run", "-c", path, "-p", FLUENTD / "plugins")
    assert code != 0
    assert complaint in said


@pytest.mark.parametrize("part", ["streams", "last_flush"])
@pytest.mark.skipif(bool(why_no("ruby")), reason=why_no("ruby"))
def test_the_rules_of_the_plugin(part: str) -> None:
    """The plugin's own tests, in Ruby, of the parts that know no Fluentd."""
    if run("ruby", "-e", "require 'test/unit/version'")[0] != 0:
        pytest.skip("ruby has no test-unit")
    code, said = run("ruby", FLUENTD / "test" / f"test_logship_{part}.rb")
    assert code == 0, said
    assert "0 failures, 0 errors" in said
