"""Fluentd as it is deployed: each output's configuration, its aggregator tier."""

from __future__ import annotations

import re
import shutil
import signal
import textwrap
from pathlib import Path

import pytest

from tests.chaos.pacing import PacedLogging
from tests.contract.shipping import (
    CLOSE_SECONDS_MAX,
    Ledger,
    assert_complete,
    assert_once_in_order,
    markers_of,
)
from tests.interop.conftest import Connect, needs
from tests.sidecar.deployed import FLUENTD, DeployedFluentd, has_fluentd_output, run
from tests.sidecar.destinations import CREDENTIALS, KINDS, Kind
from tests.support.programs import json_lines
from tests.support.servers import Fluentd, why_no_fluentd
from tests.support.waiting import wait_until

pytestmark = needs(why_no_fluentd)

OUTPUTS = sorted(path.stem for path in (FLUENTD / "outputs").glob("*.conf"))
OUTPUTS = [name for name in OUTPUTS if name not in {"buffer", "http", "inject"}]


def needed_by(kind: Kind) -> dict[str, str]:
    """Return what Fluentd's file for a destination asks for."""
    optional = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "LOGSHIP_S3_INTERVAL"}
    host = {} if kind.fluentd else {"LOGSHIP_OUTPUT_HOST": "127.0.0.1"}
    return host | {name: kind.environ[name] for name in kind.environ.keys() - optional}


NEEDED = {
    "aggregator": {"LOGSHIP_AGGREGATOR_HOST": "127.0.0.1"},
    "aggregator-tls": {
        "LOGSHIP_AGGREGATOR_HOST": "127.0.0.1",
        "LOGSHIP_AGGREGATOR_SHARED_KEY": "the key",
    },
    "kafka": {"LOGSHIP_KAFKA_BROKERS": "localhost:9092"},
    **{name: needed_by(kind) for name, kind in KINDS.items()},
}
"""What an output's file asks for."""

PLUGINS = {"kafka": "kafka2", **{name: kind.fluentd for name, kind in KINDS.items()}}
"""Outputs that Fluentd does not bring with it, and the plugin's type."""


def dry_run(output: str, environ: dict[str, str], *words: str | Path) -> tuple[int, str]:
    """Let Fluentd read the configuration for an output."""
    return run(
        *("fluentd", "--dry-run", "-c", FLUENTD / "fluent.conf", "-p", FLUENTD / "plugins"),
        *words,
        environ={"LOGSHIP_OUTPUT": output, **environ},
    )


def stand_in(kind: str, directory: Path, write: str = "nil") -> Path:
    """Write an output plugin of that type which takes every parameter; return its directory.

    It shows that the file is read, with its buffer section and its variables, where the plugin
    itself is not installed; not that the plugin knows the parameters. `write` is what it does with
    a chunk.
    """
    directory.mkdir()
    text = f"""\
        require "fluent/plugin/output"
        class Fluent::Plugin::StandIn < Fluent::Plugin::Output
          Fluent::Plugin.register_output("{kind}", self)
          helpers :inject, :formatter
          config_section(:format) {{ config_set_default :@type, "json" }}
          def write(chunk) = {write}
        end
        """
    (directory / f"out_{kind}.rb").write_text(textwrap.dedent(text))
    return directory


@pytest.mark.parametrize("output", [name for name in OUTPUTS if name != "own"])
def test_a_configuration_is_accepted(output: str, tmp_path: Path) -> None:
    environ = NEEDED.get(output, {}) | {
        "LOGSHIP_BUFFER_DIR": str(tmp_path / "buffer"),
        "LOGSHIP_LOG_DIR": str(tmp_path / "log"),
    }
    code, said = dry_run(output, environ)
    if "Unknown output plugin" in said and output in PLUGINS:
        plugins = stand_in(PLUGINS[output], tmp_path / "plugins")
        code, said = dry_run(output, environ, "-p", plugins)
    assert code == 0, said
    assert "finished dry run mode" in said
    assert "[error]" not in said
    # The plugin of S3 warns of keys of one's own, always.
    known = ("[warn]: parameter", "[warn]: [logship_output] Set 'check_object false'")
    assert "[warn]" not in re.sub("|".join(map(re.escape, known)), "", said)


def test_an_output_that_is_not_there_is_refused() -> None:
    """Fluentd would include nothing, acknowledge every record, and lose it."""
    code, said = dry_run("s3/../nothing", {})
    assert code != 0
    assert "LOGSHIP_OUTPUT=s3/../nothing: must be file, stdout, aggregator," in said


def test_what_is_refused_for_good_is_kept_on_the_buffers_volume(
    ledger: Ledger, connect: Connect, tmp_path: Path
) -> None:
    plugins = stand_in("kafka2", tmp_path / "plugins", 'raise Fluent::UnrecoverableError, "no"')
    environ = {"LOGSHIP_OUTPUT": "kafka", **NEEDED["kafka"]}
    with DeployedFluentd(tmp_path / "server", environ=environ, plugins=plugins) as server:
        client = connect(server.endpoint)
        ledger.ship(client, 100)
        wait_until(lambda: "got unrecoverable error" in server.log(), "it is refused", 30)
        wait_until(lambda: ledger.markers[-1].encode() in kept(server), "it is kept", 30)
        assert all(marker.encode() in kept(server) for marker in ledger.markers)


def kept(server: DeployedFluentd) -> bytes:
    """Return the content of the chunks that Fluentd put aside."""
    backup = server.directory / "buffer" / "backup"
    return b"".join(path.read_bytes() for path in backup.rglob("*.log"))


def test_ones_own_output_has_to_be_mounted(connect: Connect, tmp_path: Path) -> None:
    code, said = dry_run("own", {})
    assert code != 0
    assert "mount your own file over outputs/own.conf" in said
    image = shutil.copytree(FLUENTD, tmp_path / "image")
    shutil.copy(FLUENTD / "outputs" / "file.conf", image / "outputs" / "own.conf")
    ledger = Ledger()
    with DeployedFluentd(
        tmp_path / "server", environ={"LOGSHIP_OUTPUT": "own"}, configuration=image / "fluent.conf"
    ) as server:
        client = connect(server.endpoint)
        ledger.ship(client, 100)
        server.terminate()
        assert_once_in_order(ledger, server.arrived(ledger.tag))


def test_the_outputs_that_are_named_are_those_that_are_there() -> None:
    _, said = dry_run("nothing", {})
    listed = said.partition("must be ")[2].splitlines()[0].partition(" (")[0].replace(" or ", ", ")
    assert sorted(listed.split(", ")) == OUTPUTS


@pytest.mark.parametrize("output", NEEDED)
def test_what_an_output_needs_is_named_where_it_is_missing(output: str) -> None:
    code, said = dry_run(output, {})
    assert code != 0
    named = set(re.findall(r'key not found: "(\w+)"', said))
    assert named
    assert named <= NEEDED[output].keys()


@pytest.mark.parametrize("output", NEEDED)
def test_an_empty_variable_counts_as_missing(output: str) -> None:
    code, said = dry_run(output, dict.fromkeys(NEEDED[output], ""))
    assert code != 0
    assert "key not found" in said


def test_a_standby_without_a_name_is_the_aggregator() -> None:
    """Fluentd would take an empty name for itself, acknowledge its own records, and drop them."""
    environ = {"LOGSHIP_AGGREGATOR_HOST": "127.0.0.2", "LOGSHIP_AGGREGATOR_STANDBY_HOST": ""}
    _, said = dry_run("aggregator", environ)
    assert said.count('host "127.0.0.2"') == 2


def test_what_was_acknowledged_survives_sigkill(connect: Connect, tmp_path: Path) -> None:
    ledger = Ledger()
    with DeployedFluentd(tmp_path / "server") as server:
        client = connect(server.endpoint, chunk_bytes_max=8 * 1024)
        ledger.ship(client, 500)
        server.kill()
        server.start()
        server.terminate()
        assert_once_in_order(ledger, server.arrived(ledger.tag))


def test_a_line_that_was_torn_spoils_no_other(connect: Connect, tmp_path: Path) -> None:
    """A full disk and a SIGKILL leave half a line."""
    ledger = Ledger()
    with DeployedFluentd(tmp_path / "server") as server:
        client = connect(server.endpoint)
        for _ in range(2):
            ledger.emit(client, 10)
            assert client.flush(timeout=CLOSE_SECONDS_MAX).all_acked
            wait_until(lambda: has_markers(ledger, server), "they are written", 30)
            (path,) = server.output_files(ledger.tag)
            with path.open("a") as file:
                file.write('{"marker": "half a li')
        assert client.close(timeout=CLOSE_SECONDS_MAX).all_acked
        server.terminate()
        assert_once_in_order(ledger, server.arrived(ledger.tag))
        assert "\n\n" not in path.read_text()


def has_markers(ledger: Ledger, server: DeployedFluentd) -> bool:
    """Tell whether all records are in the server's file."""
    return len(markers_of(server.arrived(ledger.tag))) == len(ledger.markers)


NOT_A_NAME = "x" * 64
"""No label of a name is so long, so nothing resolves it, at once and without a network."""


@pytest.mark.parametrize("output", ["aggregator", "aggregator-tls"])
def test_it_starts_while_the_aggregators_have_no_address(output: str) -> None:
    code, said = dry_run(output, NEEDED[output] | {"LOGSHIP_AGGREGATOR_HOST": NOT_A_NAME})
    assert code == 0, said


def test_an_aggregator_that_gets_an_address_is_used(connect: Connect, tmp_path: Path) -> None:
    """It has none, then an old one, then the right one. RUBYOPT brings a resolver for it."""
    image = shutil.copytree(FLUENTD, tmp_path / "image")
    output = image / "outputs" / "aggregator.conf"
    output.write_text(output.read_text().replace(" 10s\n", " 1s\n"))  # not to wait so long
    resolver, address = tmp_path / "resolver.rb", tmp_path / "address"
    resolver.write_text(RESOLVER)
    address.write_text(NOT_A_NAME)
    ledger = Ledger()
    with Fluentd(tmp_path / "aggregator") as aggregator:
        environ = {
            "LOGSHIP_OUTPUT": "aggregator",
            "LOGSHIP_AGGREGATOR_HOST": "aggregator",
            "LOGSHIP_AGGREGATOR_PORT": str(aggregator.port.number),
            "RUBYOPT": f"-r{resolver}",
            "ADDRESS": str(address),
        }
        with DeployedFluentd(
            tmp_path / "sidecar", environ=environ, configuration=image / "fluent.conf"
        ) as sidecar:
            client = connect(sidecar.endpoint)
            ledger.ship(client, 100)
            address.write_text("127.0.0.2")
            wait_until(lambda: "resolved: 127.0.0.2" in sidecar.log(), "it is resolved", 30)
            address.write_text("127.0.0.1")
            wait_until(lambda: has_all(ledger, aggregator), "all", 60)


RESOLVER = """\
require "socket"
Socket.singleton_class.prepend(Module.new do
  def getaddrinfo(host, *rest)
    host = File.read(ENV["ADDRESS"]) if host == "aggregator"
    super.tap { warn "resolved: #{host}" }
  end
end)
"""


@pytest.mark.parametrize("owes_acks", [False, True], ids=["at once", "owing acks"])
def test_the_second_takes_everything_when_the_aggregator_dies(
    ledger: Ledger, connect: Connect, tmp_path: Path, owes_acks: bool
) -> None:
    """What the first had not acknowledged goes to the second; together they have everything."""
    with Fluentd(tmp_path / "first") as first, Fluentd(tmp_path / "second") as second:
        environ = {
            "LOGSHIP_OUTPUT": "aggregator",
            "LOGSHIP_AGGREGATOR_HOST": "127.0.0.1",
            "LOGSHIP_AGGREGATOR_PORT": str(first.port.number),
            "LOGSHIP_AGGREGATOR_STANDBY_PORT": str(second.port.number),
        }
        with DeployedFluentd(tmp_path / "sidecar", environ=environ) as sidecar:
            client = connect(sidecar.endpoint)

            with PacedLogging(client, ledger, 300, "x" * 100):
                wait_until(lambda: first.arrived(ledger.tag) != [], "the first has records", 30)
                if owes_acks:
                    first.signal(signal.SIGSTOP)
                    # Handed on each second, nine of ten times to the first.
                    until_logged(ledger, 300 * 4)
                first.kill()
                after = until_logged(ledger, 300 * 4)
                wait_until(lambda: markers_at(ledger, second) >= after, "all go to it", 60)
            assert client.close(timeout=CLOSE_SECONDS_MAX).all_acked
            first.start()  # what it had acknowledged lies in its buffer
            wait_until(lambda: has_all(ledger, first, second), "all of it", 60)
        files = [*first.output_files(ledger.tag), *second.output_files(ledger.tag)]
        assert_complete(*files)


def test_a_full_buffer_makes_the_application_wait_and_loses_nothing(
    ledger: Ledger, connect: Connect, tmp_path: Path
) -> None:
    """Nothing is acknowledged beyond its bound; SIGTERM ends it all the same."""
    with Fluentd(tmp_path / "aggregator", is_started=False) as aggregator:
        environ = {
            "LOGSHIP_OUTPUT": "aggregator",
            "LOGSHIP_AGGREGATOR_HOST": "127.0.0.1",
            "LOGSHIP_AGGREGATOR_PORT": str(aggregator.port.number),
            "LOGSHIP_BUFFER_SIZE": "512k",
        }
        with DeployedFluentd(tmp_path / "sidecar", environ=environ) as sidecar:
            client = connect(sidecar.endpoint, chunk_bytes_max=64 * 1024)
            ledger.emit(client, 3000, text="x" * 1000)
            wait_until(lambda: "overflow action=:block" in sidecar.log(), "it is full", 30)
            assert not client.flush(timeout=0.5).all_acked
            sidecar.terminate()
            aggregator.start()
            sidecar.start()
            assert client.close(timeout=CLOSE_SECONDS_MAX).all_acked
            wait_until(lambda: has_all(ledger, aggregator), "all", 60)
        assert_complete(*aggregator.output_files(ledger.tag))


TOO_LONG = {"kafka": "x" * 1_500_000, "firehose": "x" * 1_500_000, "cloudwatch": '"' * 600_000}
"""Texts that a destination does not take; those of `cloudwatch` are too long only as JSON."""


@pytest.mark.parametrize("output", TOO_LONG)
def test_a_record_too_long_for_its_destination_is_refused_before_the_ack(
    output: str, connect: Connect, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """So it is declared and written to stderr by logship, and the others go on."""
    plugins = stand_in("kafka2", tmp_path / "plugins")
    if output != "kafka" and not has_fluentd_output(PLUGINS[output]):
        pytest.skip(f"this fluentd has no plugin for {PLUGINS[output]}")
    environ = {"LOGSHIP_OUTPUT": output, **CREDENTIALS, **NEEDED[output]}
    environ["LOGSHIP_AWS_ENDPOINT"] = "https://127.0.0.1:1"
    ledger = Ledger()
    with DeployedFluentd(tmp_path / "server", environ=environ, plugins=plugins) as server:
        client = connect(server.endpoint)
        ledger.emit(client, 1, text=TOO_LONG[output])
        ledger.emit(client, 1, text=TOO_LONG[output][:300_000])
        with PacedLogging(client, ledger, 50, "others must pass, or nothing proves it guilty"):
            wait_until(lambda: "BufferChunkOverflowError" in server.log(), "it is refused", 30)
            # Not by looking at stderr: to read a capture drops what is written meanwhile.
            counters = client.shipper.buffer.counters
            wait_until(lambda: counters.spilled == 1, "logship gives it up", 30)
        report = client.close(timeout=CLOSE_SECONDS_MAX)
    assert report.spilled == 1
    assert report.acked == len(ledger.markers) - 1
    assert spilled_markers(capfd.readouterr().err) == ledger.markers[:1]


def spilled_markers(stderr: str) -> list[str]:
    records = [line["record"] for line in json_lines(stderr) if "record" in line]
    return [record["marker"] for record in records if "marker" in record]


def until_logged(ledger: Ledger, count: int) -> set[str]:
    """Wait until so many more records are logged, and return their markers."""
    begin = len(ledger.markers)
    wait_until(lambda: len(ledger.markers) >= begin + count, f"{count} more are logged", 60)
    return set(ledger.markers[begin : begin + count])


def markers_at(ledger: Ledger, *servers: Fluentd) -> set[str]:
    """Return the markers that are in the output of any of the servers."""
    return {marker for each in servers for marker in markers_of(each.arrived(ledger.tag))}


def has_all(ledger: Ledger, *servers: Fluentd) -> bool:
    """Tell whether the servers have all markers, and the end record, which may come later."""
    arrived = [each for server in servers for each in server.arrived(ledger.tag)]
    has_end = any("logship_end" in each.record for each in arrived)
    return has_end and set(markers_of(arrived)) >= set(ledger.markers)
