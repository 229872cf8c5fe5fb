"""Fluentd's quirks, and that logship copes with each.

These quirks are not shown here: Fluentd's supervisor restarts its worker for ever after a start
error, which concerns only the program that starts it. Its default buffers are in memory, without
fsync, which no client can see. Fluentd 1.16 dies of a zstd chunk, so compression is off by default.
"""

from __future__ import annotations

import json
import signal
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.pacing import PacedLogging
from tests.chaos.proxy import ChaosProxy, no_fault
from tests.contract.certificates import Certificates
from tests.contract.shipping import (
    CLOSE_SECONDS_MAX,
    Ledger,
    assert_nothing_lost,
    assert_once_in_order,
    assert_records_arrive,
    audit,
    markers_of,
    wait_for_end,
)
from tests.interop.conftest import Connect, needs
from tests.interop.raw import Ping, RawConnection, entries, packed_forward
from tests.support.servers import (
    NO_FLUSH,
    Fluentd,
    Security,
    ServerProcess,
    section,
    why_no_fluentd,
)
from tests.support.waiting import wait_until

pytestmark = needs(why_no_fluentd)

SMALL_BUFFER = "@type memory\nchunk_limit_size 16k\ntotal_limit_size 64k\n"
"""Full after a few chunks of the tests' clients; it is empty again after each flush."""


def test_fluentd_drops_a_chunk_over_chunk_size_limit_without_an_ack(
    ledger: Ledger, connect: Connect, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Resending would go on for ever; the chunk is split until one record stands alone.

    Fluentd counts what it read since the last message, so one behind another in a single read
    passes the limit: the record here is longer than a read.
    """
    with Fluentd(tmp_path / "server", source="chunk_size_limit 64k") as server:
        client = connect(server.endpoint, ack_timeout_seconds=0.5, linger_seconds=0.2)
        ledger.emit(client, 1)
        assert client.flush(timeout=20).all_acked  # its first ack is a slow one
        ledger.emit(client, 4, text="x" * 100)
        assert client.emit({"marker": "large", "text": "y" * 250_000}, ledger.tag)
        ledger.emit(client, 4, text="x" * 100)
        with PacedLogging(client, ledger, 50, "others must pass, or nothing proves it guilty"):
            wait_until(lambda: gaps_of(server, ledger.tag) != [], "the gap is declared", 40)
        client.close(timeout=CLOSE_SECONDS_MAX)
        arrived = wait_for_end(server, ledger.tag)
        code, verdict = audit(*server.output_files(ledger.tag))
        log = server.log()
    assert "larger than 'chunk_size_limit', dropped" in log
    assert set(markers_of(arrived)) == set(ledger.markers)
    assert gaps_of(server, ledger.tag) == [[6, 6, "spilled"]]
    assert code == 3, verdict
    assert spilled_markers(capfd) == ["large"]


def gaps_of(server: ServerProcess, tag: str) -> list[Any]:
    """Return the gaps that were declared to the server."""
    records = [each.record for each in server.arrived(tag)]
    return [record["logship_gap"] for record in records if "logship_gap" in record]


def spilled_markers(capfd: pytest.CaptureFixture[str]) -> list[str]:
    """Return the markers of the records that were written to stderr."""
    lines = [line for line in capfd.readouterr().err.splitlines() if '"logship":"spilled"' in line]
    records = [json.loads(line)["record"] for line in lines]
    return [record["marker"] for record in records if "marker" in record]


def test_fluentd_with_a_full_buffer_and_throw_exception_resets_and_loses_nothing(
    ledger: Ledger, connect: Connect, tmp_path: Path
) -> None:
    buffer = f"{SMALL_BUFFER}overflow_action throw_exception\nflush_mode interval\n"
    buffer += "flush_interval 1s\nflush_thread_interval 0.1"
    with (
        Fluentd(tmp_path / "server", buffer=buffer) as server,
        ChaosProxy(server.port.number, planner=no_fault, keeps_bytes=True) as proxy,
    ):
        client = connect(proxy.endpoint, chunk_bytes_max=8 * 1024, inflight_chunks_max=16)
        ledger.emit(client, 900, text="x" * 100)
        client.close(timeout=CLOSE_SECONDS_MAX)
        assert_nothing_lost(ledger, wait_for_end(server, ledger.tag))
        code, verdict = audit(*server.output_files(ledger.tag))
        assert "BufferOverflowError" in server.log()
        assert proxy.connections > 1
    assert code == 0, verdict


def test_fluentd_with_a_full_buffer_and_block_causes_no_storm_of_resends(
    ledger: Ledger, connect: Connect, tmp_path: Path
) -> None:
    """It answers nothing until it has flushed; nothing is sent again meanwhile."""
    buffer = f"{SMALL_BUFFER}overflow_action block\nflush_mode interval\n"
    buffer += "flush_interval 1s\nflush_thread_interval 0.1"
    with (
        Fluentd(tmp_path / "server", buffer=buffer) as server,
        ChaosProxy(server.port.number, planner=no_fault, keeps_bytes=True) as proxy,
    ):
        client = connect(proxy.endpoint, chunk_bytes_max=8 * 1024, inflight_chunks_max=16)
        ledger.emit(client, 900, text="x" * 100)
        client.close(timeout=CLOSE_SECONDS_MAX)
        assert_once_in_order(ledger, wait_for_end(server, ledger.tag))
        assert "buffer is full" in server.log().lower() or "block" in server.log()
        assert proxy.connections == 1
        for marker in (ledger.markers[0], ledger.markers[400], ledger.markers[-1]):
            assert proxy.client_bytes.count(marker.encode() + b"\xa4text") == 1


def test_fluentd_that_is_stopped_for_a_while_gets_everything_once(
    ledger: Ledger, connect: Connect, fluentd: ServerProcess
) -> None:
    """A peer that lives and does nothing: nothing is acked, and nothing is sent again."""
    client = connect(fluentd.endpoint, chunk_bytes_max=8 * 1024)
    ledger.emit(client, 100)
    assert client.flush(timeout=20).all_acked
    fluentd.signal(signal.SIGSTOP)
    try:
        ledger.emit(client, 3000, text="x" * 100)
        assert not client.flush(timeout=1).all_acked
    finally:
        fluentd.signal(signal.SIGCONT)
    client.close(timeout=CLOSE_SECONDS_MAX)
    assert_once_in_order(ledger, wait_for_end(fluentd, ledger.tag))


@pytest.mark.parametrize("linger", ["", "linger_timeout 0"], ids=["end", "reset"])
def test_fluentd_with_deny_keepalive_closes_after_each_message_and_loses_nothing(
    ledger: Ledger, connect: Connect, tmp_path: Path, linger: str
) -> None:
    """With linger_timeout 0 it resets instead, and acks on their way are lost."""
    with (
        Fluentd(tmp_path / "server", source=f"deny_keepalive true\n{linger}") as server,
        ChaosProxy(server.port.number, planner=no_fault) as proxy,
    ):
        client = connect(proxy.endpoint, chunk_bytes_max=4096)
        for _ in range(6):
            ledger.emit(client, 100, text="x" * 100)
            client.flush(timeout=20)
        client.close(timeout=CLOSE_SECONDS_MAX)
        assert_nothing_lost(ledger, wait_for_end(server, ledger.tag))
        code, verdict = audit(*server.output_files(ledger.tag))
        assert proxy.connections > 5
    assert code == 0, verdict


def test_fluentd_in_unix_stores_records_but_never_acks(
    ledger: Ledger, connect: Connect, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without an ack nothing counts as delivered: in the end all is spilled as well."""
    with Fluentd(tmp_path / "server", unix=True) as server:
        client = connect(server.endpoint)
        ledger.emit(client, 20)
        wait_until(lambda: set(markers_of(server.arrived(ledger.tag))) >= set(ledger.markers), "20")
        assert not client.flush(timeout=0.1).all_acked
        client.close(timeout=1)
    assert spilled_markers(capfd) == ledger.markers


def test_fluentd_with_an_error_label_reroutes_an_overflowing_stream_and_acks_it(
    ledger: Ledger, connect: Connect, tmp_path: Path
) -> None:
    """What arrived is in two outputs then: the audit needs both of them."""
    buffer = f"{SMALL_BUFFER}overflow_action throw_exception\n{NO_FLUSH}"
    path = tmp_path / "server" / "out" / "error"
    error = section(
        "label @ERROR",
        section(
            "match **",
            f"@type file\npath {path}\nappend true",
            section("format", "@type json"),
            section("buffer []", f"@type memory\n{NO_FLUSH}"),
        ),
    )
    with Fluentd(tmp_path / "server", buffer=buffer, match=error) as server:
        client = connect(server.endpoint, chunk_bytes_max=8 * 1024)
        ledger.emit(client, 900, text="x" * 100)
        assert client.close(timeout=CLOSE_SECONDS_MAX).all_acked
        server.terminate()
        files = [*server.output_files(ledger.tag), path.with_name("error.log")]
        alone, _ = audit(files[0])
        both, verdict = audit(*files)
    assert alone == 1
    assert both == 0, verdict


def test_fluentd_acks_and_loses_what_no_match_wants(connect: Connect, tmp_path: Path) -> None:
    """No client can see that; the audit does, against the drain report of what was accepted."""
    ledger, report = Ledger(), tmp_path / "report.jsonl"
    nothing = section("match contract.**", "@type null")
    with Fluentd(tmp_path / "server", match=nothing) as server:
        client = connect(server.endpoint)
        ledger.emit(client, 20)
        drained = client.close(timeout=CLOSE_SECONDS_MAX)
        assert drained.all_acked
        server.terminate()
        assert server.arrived(ledger.tag) == []
    report.write_text(drained.to_json() + "\n")
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    code, verdict = audit("--expect", report, empty)
    assert code == 1, verdict


def test_fluentds_file_buffer_survives_sigkill_after_the_ack(
    ledger: Ledger, connect: Connect, tmp_path: Path
) -> None:
    buffer = f"@type file\npath buffer\n{NO_FLUSH}"
    with Fluentd(tmp_path / "server", buffer=buffer) as server:
        client = connect(server.endpoint)
        ledger.emit(client, 500)
        assert client.close(timeout=CLOSE_SECONDS_MAX).all_acked
        server.kill()
        assert server.arrived(ledger.tag) == []
        server.start()
        server.terminate()
        assert_once_in_order(ledger, server.arrived(ledger.tag))


def test_fluentds_memory_buffer_is_written_at_sigterm(connect: Connect, tmp_path: Path) -> None:
    """At a SIGKILL it is lost, acked or not: a sidecar needs a file buffer."""
    ledger = Ledger()
    with Fluentd(tmp_path / "server", buffer=f"@type memory\n{NO_FLUSH}") as server:
        client = connect(server.endpoint)
        ledger.emit(client, 50)
        assert client.close(timeout=CLOSE_SECONDS_MAX).all_acked
        server.terminate()
        assert_once_in_order(ledger, server.arrived(ledger.tag))


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A Fluentd with a shared key and without users."""
    with Fluentd(tmp_path_factory.mktemp("keyed"), security=Security("the key")) as server:
        yield server


def test_fluentds_auth_is_not_empty_even_without_user_authentication(
    keyed: ServerProcess, connect: Connect
) -> None:
    """It does not mean that credentials are required: a client without any is let in."""
    with RawConnection(keyed) as connection:
        options = connection.answer()[1]
        assert len(options[b"nonce"]) == 16
        assert len(options[b"auth"]) == 16
        assert options[b"keepalive"] is True
    assert_records_arrive(connect(keyed.endpoint, shared_key="the key"), keyed, 20)


@pytest.mark.parametrize("as_binary", [False, True])
def test_fluentd_takes_ping_fields_as_bin_and_as_str(keyed: ServerProcess, as_binary: bool) -> None:
    with RawConnection(keyed) as connection:
        connection.send(Ping("the key", as_binary).answer_to(connection.answer()))
        pong = connection.answer()
    assert pong[:2] == [b"PONG", True]


def test_fluentd_answers_a_wrong_key_with_a_reason(keyed: ServerProcess) -> None:
    with RawConnection(keyed) as connection:
        connection.send(Ping("another").answer_to(connection.answer()))
        pong = connection.answer()
        assert pong[:3] == [b"PONG", False, b"shared_key mismatch"]
        assert connection.answer() is None


def test_fluentd_answers_data_without_a_ping_with_a_refusal(keyed: ServerProcess) -> None:
    """And logship, without a key, says from the HELO what is wanted; see tests/contract."""
    with RawConnection(keyed) as connection:
        connection.answer()
        connection.send(packed_forward("any", entries({"a": 1}), chunk="one", size=1))
        assert connection.answer()[:2] == [b"PONG", False]


def test_fluentd_tls_negotiates_1_2_by_default_and_our_client_speaks_it(
    certificates: Certificates, connect: Connect, tmp_path: Path
) -> None:
    with Fluentd(tmp_path / "server", tls=certificates.good) as server:
        assert negotiated(server, certificates) == "TLSv1.2"
        assert_records_arrive(connect(server.endpoint, tls_ca=str(certificates.ca)), server, 20)


def negotiated(server: ServerProcess, certificates: Certificates) -> str | None:
    """Return the TLS version that the server and a client of this Python agree on."""
    context = ssl.create_default_context(cafile=str(certificates.ca))
    with RawConnection(server) as connection:
        wrapped = context.wrap_socket(connection.socket, server_hostname="127.0.0.1")
        with wrapped:
            return wrapped.version()
