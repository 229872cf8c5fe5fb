"""What a user may expect of logship, whatever the transport and whichever the server.

Left out, because it cannot be run with these servers: Fluentd's unix socket, which never acks
(tests/interop shows what that does); zstd with Fluentd before 1.19 and with Node, which do not
speak it. Node acks before it hands records over, so it is ended with SIGTERM where others are
killed. Each other server that is found runs every test.
"""

from __future__ import annotations

import math
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.contract.certificates import Certificates
from tests.contract.conftest import Connected
from tests.contract.shipping import (
    CLOSE_SECONDS_MAX,
    Ledger,
    RecordProperty,
    assert_complete,
    assert_nothing_lost,
    assert_once_in_order,
    assert_records_arrive,
    audit,
    new_tag,
    wait_for_all,
    wait_for_end,
)
from tests.contract.targets import TARGETS, TARGETS_WITH_VERSIONS, Target
from tests.support.programs import Programs
from tests.support.servers import Arrived, ServerProcess
from tests.support.waiting import wait_until

each_target = pytest.mark.parametrize("target", TARGETS, ids=str)
each_version = pytest.mark.parametrize("target", TARGETS_WITH_VERSIONS, ids=str)

CONTENT: dict[str, Any] = {
    "text": "plain",
    "unicode": 'é 漢字 🚀 \u0000 \u2028 \\ " \x1b[0m',
    "empty": "",
    "none": None,
    "true": True,
    "float": 0.1,
    "small": -1e-300,
    "integer": -(2**53),
    "list": [1, [2, [3, []]]],
    "mapping": {"a": {"b": {"c": {}}}},
    "": "a field without a name",
    "tag": "a field that servers use too",
    "time": "another",
}
"""Goes in and comes out the same, JSON's own types."""

BIG_INTEGERS = {"largest": 2**64 - 1, "smallest": -(2**63), "signed": 2**63 - 1}


@each_version
def test_content_arrives_intact(target: Target, server: ServerProcess, connect: Connected) -> None:
    tag, time_ns = new_tag(), 1_700_000_000_123_456_789
    integers = BIG_INTEGERS if target.exact_integers else {}
    client = connect(server)
    assert client.emit({**CONTENT, **integers}, tag, time_ns=time_ns)
    client.close(timeout=CLOSE_SECONDS_MAX)
    arrived = wait_for_end(server, tag)[0]
    stamp = arrived.record.pop("logship_id")
    assert arrived == Arrived(tag, time_ns, {**CONTENT, **integers})
    assert stamp.endswith(":0000000001")


@each_version
@pytest.mark.parametrize("time_ns", [-1, 2**32 * 10**9 - 1, 2**32 * 10**9 - 10**9 - 1, 2**64])
def test_a_record_of_an_odd_time_costs_no_other_record(
    ledger: Ledger, target: Target, server: ServerProcess, connect: Connected, time_ns: int
) -> None:
    """Fluent Bit takes the last two seconds that the protocol can say for marks of a group."""
    client = connect(server)
    ledger.emit(client, 10)
    assert client.emit({"message": "odd"}, ledger.tag, time_ns=time_ns)
    ledger.emit(client, 10)
    client.close(timeout=CLOSE_SECONDS_MAX)
    arrived = wait_for_end(server, ledger.tag)
    assert [each.record.get("message") for each in arrived].count("odd") == 1
    assert len(arrived) == 22


@each_target
def test_what_json_cannot_say_arrives_readable(
    target: Target, server: ServerProcess, connect: Connected
) -> None:
    tag, record = new_tag(), {"bytes": b"caf\xc3\xa9 \xff", "nan": math.nan, "beyond": 2**70}
    client = connect(server)
    assert client.emit({**record, "surrogate": "\udc80", 7: "seven"}, tag)
    client.close(timeout=CLOSE_SECONDS_MAX)
    fields = wait_for_end(server, tag)[0].record
    assert fields["bytes"] == "café \\xff"
    assert fields["nan"] == "NaN"
    assert fields["beyond"] == str(2**70)
    assert fields["surrogate"] == "\\udc80"
    assert fields["7"] == "seven"


@each_version
def test_every_record_arrives_once_in_order_over_a_window_of_chunks(
    target: Target, server: ServerProcess, connect: Connected
) -> None:
    client = connect(server, chunk_bytes_max=4096, inflight_chunks_max=8)
    assert_records_arrive(client, server, 2000, text="x" * 100)


@each_version
def test_audit_proves_from_the_servers_files_what_is_there_and_what_is_missing(
    ledger: Ledger, target: Target, server: ServerProcess, connect: Connected, tmp_path: Path
) -> None:
    client = connect(server)
    ledger.emit(client, 300)
    client.close(timeout=CLOSE_SECONDS_MAX)
    wait_for_end(server, ledger.tag)
    files = server.output_files(ledger.tag)
    assert_complete(*files)
    lines = files[0].read_bytes().splitlines(keepends=True)
    shorter = tmp_path / "shorter"
    shorter.write_bytes(b"".join(line for line in lines if f'{ledger.tag}#4"' not in line.decode()))
    code, verdict = audit(shorter)
    assert code == 1, verdict


@each_target
def test_many_tags_are_kept_apart(
    target: Target, server: ServerProcess, connect: Connected
) -> None:
    ledgers = [Ledger() for _ in range(10)]
    client = connect(server)
    for _ in range(5):
        for ledger in ledgers:
            ledger.emit(client, 2)
    client.close(timeout=CLOSE_SECONDS_MAX)
    for ledger in ledgers:
        assert_once_in_order(ledger, wait_for_end(server, ledger.tag))


@each_target
@pytest.mark.parametrize("size", [1_000_000, 4_900_000])
def test_a_large_record_arrives_alone_and_among_others(
    ledger: Ledger, target: Target, server: ServerProcess, connect: Connected, size: int
) -> None:
    client = connect(server)
    ledger.emit(client, 3)
    ledger.emit(client, 1, text="é" * (size // 2))
    ledger.emit(client, 3)
    client.close(timeout=CLOSE_SECONDS_MAX)
    arrived = wait_for_end(server, ledger.tag)
    assert_once_in_order(ledger, arrived)
    assert arrived[3].record["text"] == "é" * (size // 2)


@each_target
@pytest.mark.parametrize("method", ["gzip", "zstd"])
def test_compressed_chunks_arrive(
    target: Target, server: ServerProcess, connect: Connected, method: str
) -> None:
    if method not in target.compressions:
        pytest.skip(f"{target} cannot unpack {method}")
    client = connect(server, compress=method, chunk_bytes_max=16 * 1024)
    assert_records_arrive(client, server, 1000, text="x" * 100)


@each_target
def test_a_server_that_is_not_there_yet_gets_everything_when_it_comes(
    ledger: Ledger, target: Target, certificates: Certificates, connect: Connected, tmp_path: Path
) -> None:
    with target.server(tmp_path / "server", certificates, is_started=False) as server:
        client = connect(server)
        ledger.emit(client, 200)
        server.start()
        client.close(timeout=CLOSE_SECONDS_MAX)
        assert_once_in_order(ledger, wait_for_end(server, ledger.tag))


@each_version
def test_a_server_killed_in_mid_stream_and_started_again_loses_nothing(
    target: Target,
    certificates: Certificates,
    connect: Connected,
    tmp_path: Path,
    record_property: RecordProperty,
) -> None:
    ledger = Ledger()
    with target.server(tmp_path / "server", certificates, **target.slow_files) as server:
        client = connect(server, chunk_bytes_max=4096)
        ledger.emit(client, 1000)
        if target.keeps_acked:
            server.kill()
        else:
            server.terminate()
        ledger.emit(client, 1000)
        server.start()
        ledger.emit(client, 1000)
        client.close(timeout=CLOSE_SECONDS_MAX)
        if target.rewrites_in_order:
            server.terminate()
        arrived = wait_for_all(ledger, server)
        times = assert_nothing_lost(ledger, arrived, in_order=target.rewrites_in_order)
        record_property("duplicates", times.total() - len(times))
        assert_complete(*server.output_files(ledger.tag))


@each_target
def test_a_program_ended_by_sigterm_with_data_in_flight_delivers_all(
    target: Target, server: ServerProcess, certificates: Certificates, tmp_path: Path
) -> None:
    if target.transport == "memory":
        pytest.skip("the in-memory transport is within one process")
    tag = new_tag()
    fields = {**target.fields(server, certificates), "tag": tag, "chunk_bytes_max": 4096}
    environ = {f"LOGSHIP_{name.upper()}": str(value) for name, value in fields.items()}
    programs = Programs(tmp_path, server.endpoint)
    program = programs.start(
        """
        import logship
        logship.install()
        ready()
        while True:
            log("x" * 300)
        """,
        environ=environ,
    )
    try:
        program.until_logged(500)
        program.signal(signal.SIGTERM)
        ended = program.end()
    finally:
        programs.kill_all()
    assert ended.returncode == -signal.SIGTERM, ended.stderr
    wait_until(
        lambda: f"{ended.ledger[-1]} " in _text_of(server, tag),
        "the last record in the server's files",
    )
    messages = [str(each.record["message"]) for each in server.arrived(tag)]
    found = [each.partition(" ")[0] for each in messages if not each.startswith("logship: ")]
    assert found[: len(ended.ledger)] == list(ended.ledger)
    assert len(found) <= len(ended.ledger) + 1  # logged, and the signal came before it was noted


def _text_of(server: ServerProcess, tag: str) -> str:
    return "".join(path.read_text() for path in server.output_files(tag))
