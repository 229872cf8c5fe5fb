"""The sidecar's part: what is said of servers that are well, ill, closed, and something else."""

from __future__ import annotations

import asyncio
import datetime
import shutil
import sys
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from logship._cli.doctor import command
from logship._protocol.messages import Message
from logship.testing import SocketSidecar
from logship.testing._sidecar import SidecarConnection
from tests.contract.certificates import Certificates
from tests.doctor.closing_server import ClosingServer
from tests.doctor.conftest import ask
from tests.support.commands import ran
from tests.support.programs_gate import Gate
from tests.support.servers import EmbeddedReceiver, FluentBit, Fluentd, ReservedPort, Security, Tls
from tests.support.task_metadata import TaskMetadata
from tests.support.waiting import wait_until

KEY = "a shared key of this test"


def test_a_healthy_sidecar_gets_records_that_say_what_they_are(sidecar: EmbeddedReceiver) -> None:
    """Exit 0, and as many records in the sidecar's own file as the doctor says it sent."""
    told = ask("--burst", "700", endpoints=sidecar.endpoint, tag="web")
    assert told.exit_code == 0
    for check in ("settings", "connect", "record", "ack-honesty", "rate", "tag"):
        assert told.outcome(check) == "ok", told[check]
    assert told.outcome("security") is None
    arrived = sidecar.arrived("web")
    assert len(arrived) == 702
    assert len({each.record["logship_doctor"] for each in arrived}) == 1
    assert all(each.record["message"].startswith("logship doctor: ") for each in arrived)


def test_compressed_records_of_another_tag_and_message_key(sidecar: EmbeddedReceiver) -> None:
    told = ask(
        *("--tag", "probe", "--burst", "10"),
        endpoints=sidecar.endpoint,
        tag="web",
        compress="gzip",
        message_key="log",
    )
    assert told.outcome("rate") == "ok"
    assert len(sidecar.arrived("probe")) == 12
    assert all("log" in each.record for each in sidecar.arrived("probe"))
    assert not sidecar.arrived("web")


def test_no_send_sends_nothing(sidecar: EmbeddedReceiver) -> None:
    told = ask("--no-send", endpoints=sidecar.endpoint, tag="web")
    assert told.exit_code == 0
    assert told.outcome("record") == "skip"
    assert told.outcome("stop-timeout") == "skip"
    assert not sidecar.arrived("web")


def test_a_closed_port_is_a_failure_that_says_so() -> None:
    port = ReservedPort()
    environment = {"LOGSHIP_ENDPOINTS": f"tcp://127.0.0.1:{port.number}"}
    told = ask(**environment)
    verdict = CliRunner().invoke(command, env={**environment, "LOGSHIP_BUFFER_BYTES_MAX": "4MiB"})
    port.close()
    assert told.exit_code == verdict.exit_code == 1
    assert "Connection refused" in told["connect"]["text"]
    assert "nothing listens" in told["connect"]["advice"]
    assert told.outcome("record") is None
    assert told.outcome("nofile") is not None
    assert verdict.output.splitlines()[-1] == "1 check failed: connect"


def test_by_default_it_sends_some_hundred_records(sidecar: EmbeddedReceiver) -> None:
    """A production destination stores them."""
    assert ask(endpoints=sidecar.endpoint, tag="web").outcome("rate") == "ok"
    assert len(sidecar.arrived("web")) == 102


def test_every_endpoint_is_examined(sidecar: EmbeddedReceiver) -> None:
    """A standby that is closed is a failure even while the first one is well."""
    port = ReservedPort()
    told = ask(
        "--burst", "0", endpoints=f"{sidecar.endpoint},tcp://127.0.0.1:{port.number}", tag="web"
    )
    port.close()
    assert told.exit_code == 1
    outcomes = [each["outcome"] for each in told.checks if each["check"] == "connect"]
    assert outcomes == ["ok", "fail"]


def test_an_unknown_name() -> None:
    told = ask(endpoints="tcp://sidecar.invalid:24224")
    assert told.exit_code == 1
    assert told.outcome("name") == "fail"
    assert told.outcome("connect") is None


def test_a_black_hole_takes_bytes_and_acks_nothing(sidecar: EmbeddedReceiver) -> None:
    with Gate(sidecar.port.number) as gate:
        gate.silence()
        told = ask("--wait", "0.3", endpoints=gate.endpoint)
    assert told.exit_code == 1
    assert told.outcome("connect") == "ok"
    assert "no ack within 0.3 s" in told["record"]["text"]
    assert "takes bytes and acks nothing" in told["record"]["advice"]


class AcksOnce(SocketSidecar):
    """Acks one message."""

    def took(self, connection: SidecarConnection, message: Message) -> None:
        super().took(connection, message)
        self.acks = False


def test_a_server_that_stops_to_ack_is_not_called_a_fluent_bit() -> None:
    with AcksOnce() as server:
        told = ask("--wait", "0.3", endpoints=server.endpoint, tag="web")
    assert told.outcome("record") == "ok"
    assert told.outcome("ack-honesty") == "warn"
    assert "no ack within 0.3 s" in told["ack-honesty"]["text"]
    assert "Fluent Bit" not in told["ack-honesty"]["text"]
    assert told.outcome("rate") == "fail"


class LateInTheBurst(SocketSidecar):
    """Is late with the first ack behind the two of single records."""

    def took(self, connection: SidecarConnection, message: Message) -> None:
        self.acks = self.messages != 2
        super().took(connection, message)
        if not self.acks:
            asyncio.get_running_loop().call_later(3.0, self.release_acks)


def test_a_first_ack_that_is_late_is_none_of_the_rate() -> None:
    """As a Fluent Bit with TLS is. With it, 4 MiB would take more than four minutes to drain."""
    with LateInTheBurst() as server:
        told = ask(endpoints=server.endpoint, tag="web", stop_timeout_seconds="360")
    assert told.outcome("stop-timeout") == "ok", told["stop-timeout"]


@pytest.mark.parametrize("count", [1, 2])
def test_a_burst_of_a_record_or_two_is_acked(sidecar: EmbeddedReceiver, count: int) -> None:
    told = ask("--burst", f"{count}", endpoints=sidecar.endpoint, tag="web")
    assert told.outcome("rate") == "ok"
    assert len(sidecar.arrived("web")) == 2 + count


def test_a_black_hole_behind_a_key(sidecar: EmbeddedReceiver) -> None:
    with Gate(sidecar.port.number) as gate:
        gate.silence()
        told = ask(endpoints=gate.endpoint, shared_key=KEY, connect_timeout_seconds="2")
    assert told.exit_code == 1
    assert told.outcome("security") == "fail"
    assert KEY not in told.output


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\xc1",
        b"\x81\xa3ack\xa5wrong",
        b"\x80",
        b"\xff" * 70000,
    ],
    ids=["http", "never", "another-ack", "nack", "noise"],
)
def test_a_server_that_answers_something_else(sidecar: EmbeddedReceiver, answer: bytes) -> None:
    with Gate(sidecar.port.number) as gate:
        gate.answer(answer)
        told = ask("--wait", "5", endpoints=gate.endpoint)
    assert told.exit_code == 1
    assert told.outcome("record") == "fail"
    assert told.outcome("rate") is None
    if answer.startswith(b"HTTP"):
        assert '"HTTP/1.1 400 Bad Request' in told["record"]["text"]
        assert "acks nothing" not in told["record"]["advice"]


def test_keys_right_wrong_and_forgotten(tmp_path: Path) -> None:
    security = Security(KEY, users={"web": "secret word"})
    with EmbeddedReceiver(tmp_path / "server", security=security) as server:
        settings = {"endpoints": server.endpoint, "username": "web"}
        right = ask("--burst", "0", shared_key=KEY, password="secret word", **settings)
        wrong_key = ask(shared_key="another key", password="secret word", **settings)
        wrong_word = ask(shared_key=KEY, password="guessed", **settings)
        forgotten = ask("--burst", "0", endpoints=server.endpoint)
    assert (right.exit_code, right.outcome("security")) == (0, "ok")
    for told, secret in ((wrong_key, "another key"), (wrong_word, "guessed")):
        assert (told.exit_code, told.outcome("security")) == (1, "fail")
        assert "LOGSHIP_SHARED_KEY" in told["security"]["advice"]
        assert secret not in told.output
    assert forgotten.outcome("record") == "fail"
    assert "requires a shared key" in forgotten["record"]["advice"]


def test_certificates_right_and_wrong(tmp_path: Path, certificates: Certificates) -> None:
    """And for each wrong one, which setting would mend it."""
    ca = str(certificates.ca)
    with EmbeddedReceiver(tmp_path / "good", tls=certificates.good) as server:
        assert ask("--burst", "0", endpoints=server.endpoint, tls_ca=ca).exit_code == 0
        untrusted = ask(endpoints=server.endpoint)
        clear = ask(endpoints=server.endpoint.replace("tls://", "tcp://"))
    with EmbeddedReceiver(tmp_path / "wrong", tls=certificates.wrong_name) as server:
        wrong = ask(endpoints=server.endpoint, tls_ca=ca)
        named = ask(
            *("--burst", "0"),
            endpoints=server.endpoint,
            tls_ca=ca,
            tls_server_name="sidecar.example",
        )
    assert named.exit_code == 0
    for told in (untrusted, wrong):
        assert (told.exit_code, told.outcome("security")) == (1, "fail")
        assert "certificate is not valid" in told["security"]["text"]
        assert "LOGSHIP_TLS_SERVER_NAME" in told["security"]["advice"]
    assert (clear.exit_code, clear.outcome("record")) == (1, "fail")


def test_a_server_that_wants_a_certificate_of_the_client(
    tmp_path: Path, certificates: Certificates
) -> None:
    """Under TLS 1.3 it refuses the client after the handshake, and the client sees only the end."""
    ca = str(certificates.ca)
    with EmbeddedReceiver(tmp_path / "server", tls=certificates.asking_clients()) as server:
        without = ask(endpoints=server.endpoint, tls_ca=ca)
        stranger = ask(endpoints=server.endpoint, tls_ca=ca, tls_cert=str(certificates.stranger))
        right = ask(
            *("--burst", "0"),
            endpoints=server.endpoint,
            tls_ca=ca,
            tls_cert=str(certificates.client),
        )
    for told in (without, stranger):
        assert (told.exit_code, told.outcome("record")) == (1, "fail")
        assert "LOGSHIP_TLS_CERT" in told["record"]["advice"]
    assert (right.exit_code, right.outcome("record")) == (0, "ok")


@pytest.mark.skipif(sys.version_info < (3, 13), reason="an older Python takes such an authority")
def test_an_authority_without_key_usage(tmp_path: Path) -> None:
    """So plain `openssl req -x509` makes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    now, forever = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "an authority")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - forever, now + forever)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    kind = serialization.PrivateFormat.TraditionalOpenSSL
    private = key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())
    authority = trustme.CA.from_pem(made, private)
    ca, issued = tmp_path / "ca.pem", authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(ca))
    certificate, private_key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(str(certificate))
    issued.private_key_pem.write_to_path(str(private_key))
    with EmbeddedReceiver(tmp_path / "server", tls=Tls(certificate, private_key)) as server:
        told = ask(endpoints=server.endpoint, tls_ca=str(ca))
    assert (told.exit_code, told.outcome("security")) == (1, "fail")
    assert "-addext keyUsage=critical,keyCertSign,cRLSign" in told["security"]["advice"]


def test_tls_where_the_server_speaks_none(
    sidecar: EmbeddedReceiver, certificates: Certificates
) -> None:
    endpoint = sidecar.endpoint.replace("tcp://", "tls://")
    told = ask(endpoints=endpoint, tls_ca=str(certificates.ca), connect_timeout_seconds="2")
    assert (told.exit_code, told.outcome("connect")) == (1, "ok")
    assert told.outcome("security") == "fail"


def test_a_unix_socket(tmp_path: Path) -> None:
    with EmbeddedReceiver(tmp_path / "server", unix=True) as server:
        told = ask("--burst", "10", endpoints=server.endpoint)
    gone = ask(endpoints=server.endpoint)
    assert (told.exit_code, told.outcome("rate")) == (0, "ok")
    assert (gone.exit_code, gone.outcome("connect")) == (1, "fail")


def test_a_burst_larger_than_the_window(sidecar: EmbeddedReceiver) -> None:
    """Chunks beyond the window are sent as acks come in."""
    told = ask(
        *("--burst", "300"),
        endpoints=sidecar.endpoint,
        tag="web",
        chunk_bytes_max="1024",
        inflight_chunks_max="1",
    )
    assert told.outcome("rate") == "ok"
    assert len(sidecar.arrived("web")) == 302


# -- honesty of acks -------------------------------------------------------------------------------


def test_what_behaves_as_fluent_bit_and_hides_its_version_is_a_warning(
    monitor: TaskMetadata,
) -> None:
    with ClosingServer() as server:
        told = ask("--burst", "0", endpoints=server.endpoint)
    assert (told.exit_code, told.outcome("ack-honesty")) == (0, "warn")
    assert f" at http://127.0.0.1:{monitor.port}/ (LOGSHIP" in told["ack-honesty"]["text"]


def test_the_version_is_asked_for_at_the_port_of_the_sidecars_variable() -> None:
    with TaskMetadata({}) as elsewhere, ClosingServer() as server:
        elsewhere.answers["/"] = {"fluent-bit": {"version": "5.1.1"}}
        port = f"{elsewhere.port}"
        told = ask("--burst", "5", endpoints=server.endpoint, sidecar_metrics_port=port)
    assert "Fluent Bit 5.1.1 acks" in told["ack-honesty"]["text"]
    assert " records/s" in told["rate"]["text"]


@pytest.mark.parametrize(
    ("version", "exit_code", "outcome"),
    [("5.0.9", 1, "fail"), ("1.9.10", 1, "fail"), ("5.1.1", 0, "ok"), ("10.0.0", 0, "ok")],
)
def test_a_fluent_bit_that_tells_its_version_is_judged_by_it(
    monitor: TaskMetadata, version: str, exit_code: int, outcome: str
) -> None:
    monitor.answers["/"] = {"fluent-bit": {"version": version, "edition": "Community"}}
    with ClosingServer() as server:
        told = ask("--burst", "0", endpoints=server.endpoint)
    assert (told.exit_code, told.outcome("ack-honesty")) == (exit_code, outcome)


@pytest.mark.parametrize(
    ("version", "metrics", "outcome"),
    [
        ("5.1.1", {"output": {"s3.0": {}, "forward.1": {}}}, "warn"),
        ("5.0.5", {"output": {"forward.0": {}}}, "warn"),
        ("5.0.4", {"output": {"forward.0": {}}}, None),
        ("5.1.1", {"input": {"forward.0": {}}, "output": {"forwarded": {}}}, None),
        ("5.1.1", {"output": ["forward.0"]}, None),
        ("5.1.1", None, None),
    ],
)
def test_a_fluent_bit_that_forwards_may_forward_metadata(
    monitor: TaskMetadata, version: str, metrics: object, outcome: str | None
) -> None:
    monitor.answers["/"] = {"fluent-bit": {"version": version}}
    monitor.answers["/api/v1/metrics"] = metrics
    with ClosingServer() as server:
        told = ask("--burst", "0", endpoints=server.endpoint)
    assert told.outcome("forward-metadata") == outcome
    if outcome is not None:
        assert "retain_metadata_in_forward_mode false" in told["forward-metadata"]["advice"]


def test_a_blind_image_in_the_task_is_a_failure(monitor: TaskMetadata) -> None:
    """Its version is not shown, its image in the task's metadata is; the rate is measured yet."""
    image = "public.ecr.aws/aws-observability/aws-for-fluent-bit:stable"
    router = {"DockerId": "2", "Name": "log_router", "Image": image}
    app = {"DockerId": "1", "Name": "app", "Image": "app", "LogDriver": "awslogs"}
    monitor.answers |= {"/v4/1": app, "/v4/1/task": {"Containers": [app, router]}}
    uri = f"http://127.0.0.1:{monitor.port}/v4/1"
    with ClosingServer() as server:
        told = ask("--burst", "5", endpoints=server.endpoint, ECS_CONTAINER_METADATA_URI_V4=uri)
    assert (told.exit_code, told.outcome("ack-honesty")) == (1, "fail")
    assert image in told["ack-honesty"]["text"]
    assert told.outcome("rate") == "ok"


@pytest.mark.skipif(shutil.which("fluent-bit") is None, reason="Fluent Bit is not on PATH")
def test_a_real_fluent_bit(tmp_path: Path) -> None:
    """It closes at the heartbeat; the record behind that is not delivered, the others are."""
    with FluentBit(tmp_path / "server") as server:
        told = ask("--burst", "500", endpoints=server.endpoint, tag="web")
        assert (told.outcome("record"), told.outcome("rate")) == ("ok", "ok")
        assert told.outcome("ack-honesty") in ("warn", "ok")
        wait_until(lambda: len(server.arrived("web")) >= 501, "501 records written")
        server.terminate()
    assert len(server.arrived("web")) == 501


@pytest.mark.skipif(shutil.which("fluentd") is None, reason="Fluentd is not on PATH")
def test_a_real_fluentd(tmp_path: Path) -> None:
    with Fluentd(tmp_path / "server") as server:
        told = ask("--burst", "500", endpoints=server.endpoint, tag="web")
        assert told.exit_code == 0
        assert told.outcome("ack-honesty") == "ok"
        wait_until(lambda: len(server.arrived("web")) >= 502, "502 records written")
        server.terminate()
    assert len(server.arrived("web")) == 502


def test_the_command_in_words(sidecar: EmbeddedReceiver) -> None:
    """As a person calls it: a line a check, and what to do below those that are not well."""
    words = (sys.executable, "-m", "logship", "doctor", "--burst", "0")
    environment = {"LOGSHIP_ENDPOINTS": sidecar.endpoint, "LOGSHIP_LAST_RESORT": "none"}
    ended = ran(*words, env=environment)
    assert ended.stderr == ""
    assert f"ok    connect: {sidecar.endpoint} takes connections\n" in ended.stdout
    assert "warn  stderr: LOGSHIP_LAST_RESORT=none" in ended.stdout
    *_, verdict = ended.stdout.splitlines()
    assert verdict.startswith("no check failed; ")
    assert "stderr" in verdict
    assert "NOT a health check" in ran(*words, "--help").stdout
