"""Today's senders as they are by default, and that `logship receive` takes all that they send."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.interop.conftest import needs
from tests.support.commands import ran
from tests.support.servers import (
    EmbeddedReceiver,
    json_objects,
    node_package,
    why_no_fluent_bit,
    why_no_node_package,
)
from tests.support.waiting import wait_until

RECORDS = 20_000
SECONDS_MAX = 60.0

PHP_PACKAGE = os.environ.get("LOGSHIP_TEST_FLUENT_LOGGER_PHP", "")
"""The directory of fluent-logger-php, where it is there."""

PHP_ALONE = """
$socket = stream_socket_client($argv[1]);
for ($n = 0; $n < $argv[2]; $n++)
    fwrite($socket, json_encode(array("app", time(), array("n" => $n, "text" => "é/\\"]"))));
"""
PHP_WITH_PACKAGE = """
spl_autoload_register(function ($name) {
    require getenv("PACKAGE") . "/src/" . substr($name, strlen("Fluent\\\\Logger\\\\")) . ".php";
});
$logger = new Fluent\\Logger\\FluentLogger(...explode(":", substr($argv[1], 6)));
for ($n = 0; $n < $argv[2]; $n++)
    if (!$logger->post("app", array("n" => $n, "text" => "é/\\"]"))) exit(1);
"""

NODE_PACKAGE = "fluent-logger"
NODE_SENDER = """
const [, directory, port, eventMode, count] = process.argv;
const { createFluentSender } = require(directory);
const sender = createFluentSender("app", {port: Number(port), eventMode, requireAckResponse: true});
let acked = 0;
for (let n = 0; n < count; n++) sender.emit({n}, () => { if (++acked == count) sender.end(); });
"""


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[EmbeddedReceiver]:
    with EmbeddedReceiver(tmp_path / "receiver") as server:
        yield server


def wait_for_all(receiver: EmbeddedReceiver, field: str = "n") -> list[dict[str, Any]]:
    """Return the lines when each number has arrived."""
    [out] = receiver.output_files("app")

    def lines() -> list[dict[str, Any]]:
        return list(json_objects(out))

    wait_until(
        lambda: out.exists() and out.read_bytes().count(b"\n") >= RECORDS, "all", SECONDS_MAX
    )
    assert sorted(each["record"][field] for each in lines()) == list(range(RECORDS))
    return lines()


def run_fluent_bit(directory: Path, port: int, **options: Any) -> None:
    """Send numbered records with Fluent Bit, which ends at the end of its input."""
    output = {"name": "forward", "match": "*", "host": "127.0.0.1", "port": port, **options}
    document = {
        "service": {"flush": 0.2, "log_level": "warn"},
        "pipeline": {"inputs": [{"name": "stdin", "tag": "app"}], "outputs": [output]},
    }
    configuration = directory / "sender.yaml"
    configuration.write_text(json.dumps(document))
    numbers = "".join(f'{{"n":{n}}}\n' for n in range(RECORDS))
    ran("fluent-bit", "-q", "-c", configuration, input=numbers)


@needs(why_no_fluent_bit)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"require_ack_response": True},
        {"require_ack_response": True, "compress": "gzip"},
        {"require_ack_response": True, "retain_metadata_in_forward_mode": False},
    ],
    ids=["default", "acks", "gzip", "without metadata"],
)
def test_all_records_of_a_fluent_bit_arrive(
    receiver: EmbeddedReceiver, tmp_path: Path, options: Mapping[str, Any]
) -> None:
    run_fluent_bit(tmp_path, receiver.port.number, **options)
    assert len(wait_for_all(receiver)) == RECORDS


@needs(lambda: why_no_node_package(NODE_PACKAGE))
@pytest.mark.parametrize("mode", ["Message", "PackedForward", "CompressedPackedForward"])
def test_all_records_of_node_arrive(receiver: EmbeddedReceiver, mode: str) -> None:
    package, port = str(node_package(NODE_PACKAGE)), receiver.port.number
    ran("node", "-e", NODE_SENDER, package, str(port), mode, str(RECORDS))
    assert len(wait_for_all(receiver)) == RECORDS


@pytest.mark.skipif(shutil.which("php") is None, reason="there is no php on PATH")
@pytest.mark.parametrize(
    "program",
    [
        PHP_ALONE,
        pytest.param(
            PHP_WITH_PACKAGE,
            marks=pytest.mark.skipif(
                not PHP_PACKAGE, reason="LOGSHIP_TEST_FLUENT_LOGGER_PHP names no directory"
            ),
        ),
    ],
    ids=["json_encode", "fluent-logger"],
)
def test_all_records_of_php_arrive(receiver: EmbeddedReceiver, program: str) -> None:
    environ = {**os.environ, "PACKAGE": PHP_PACKAGE}
    ran("php", "-r", program, "--", receiver.endpoint, str(RECORDS), env=environ)
    assert {each["record"]["text"] for each in wait_for_all(receiver)} == {'é/"]'}


def test_all_records_of_gos_json_mode_are_acknowledged(receiver: EmbeddedReceiver) -> None:
    """By the bytes that fluent-logger-golang sends with `MarshalAsJSON` and `RequestAck`."""
    ids = [f"APFTZQAAAAA{n:06}==" for n in range(RECORDS)]
    sent = "".join(f'["app",1700000000,{{"n":{n}}},{{"chunk":"{ids[n]}"}}]' for n in range(RECORDS))
    acks = b"".join(b'{"ack":"%s"}' % each.encode() for each in ids)
    with socket.create_connection(("127.0.0.1", receiver.port.number), SECONDS_MAX) as client:
        got = b""
        for at in range(0, len(sent), 50_000):
            client.sendall(sent[at : at + 50_000].encode())
        while len(got) < len(acks):
            got += client.recv(65536)
    assert got == acks
    assert len(wait_for_all(receiver)) == RECORDS
