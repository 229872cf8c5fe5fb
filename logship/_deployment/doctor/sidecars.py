"""Checks each endpoint from its name to the ack of a record, and whether that ack can be trusted.

The checks of an endpoint stop at the first step that fails, because later steps would fail too. The
doctor sends nothing that a server might store wrongly: no malformed entry, no wrong `size`, no
frame above a server's limit. docs/decisions/010-what-doctor-sends.md has the reasons.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
import ssl
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

from logship._delivery.credentials import tls_source
from logship._delivery.resolver import Resolver
from logship._delivery.transport import SocketTransport
from logship._deployment.doctor.exchange import HEARTBEAT, Answer, Chunk, Exchange, Recorder
from logship._deployment.doctor.result import Outcome, Result, failure, skipped, warning
from logship._deployment.linting.rules.servers import sends_metadata, why_blind
from logship._ecs.httpjson import get_json
from logship._ecs.task import Task
from logship._settings import Endpoint, Settings
from logship._settings.addresses import is_loopback
from logship._spelling import many
from logship.errors import ConnectError, HandshakeError

MONITOR_VARIABLE = "LOGSHIP_SIDECAR_METRICS_PORT"
"""The port where Fluent Bit tells its version and its outputs, if its HTTP server is on."""
_MONITOR_PORT = 2020
_MONITOR_TIMEOUT_SECONDS = 2.0

_CA_WITHOUT_KEY_USAGE = 92
"""OpenSSL's X509_V_ERR_CA_CERT_MISSING_KEY_USAGE."""
_HONEST_SERVERS = "use Fluentd 1.19, or Fluent Bit 5.1 or newer"
_FORWARD_OUTPUT = re.compile(r"forward\.\d+")
"""The name of an output without an alias."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """What may be sent.

    Attributes:
        allowed: Whether anything is.
        burst: How many records measure the sidecar; 0: none.
        wait_seconds: How long to wait for acks.
        tag: Instead of the settings' tag.
    """

    allowed: bool = True
    burst: int = 100
    wait_seconds: float = 10.0
    tag: str | None = None


class SidecarExamination:
    """Examines one endpoint of the application's.

    Attributes:
        bytes_per_second: Of entries acked in the burst; None before it, or if it failed.
    """

    def __init__(
        self,
        settings: Settings,
        endpoint: Endpoint,
        sending: Sending,
        task: Task | None,
        monitor_port: int | None,
    ) -> None:
        self._monitor = f"http://127.0.0.1:{monitor_port or _MONITOR_PORT}/"
        self.bytes_per_second: float | None = None
        self._version: str | None = None
        self._settings = settings
        self._endpoint = endpoint
        self._sending = sending
        self._task = task
        self._recorder = Recorder(settings, sending.tag)
        self._transport = SocketTransport(settings, tls_source(settings))

    async def results(self) -> AsyncGenerator[Result, None]:
        """Yield each step's result, up to the first that fails."""
        steps = [self._name, self._connect, self._secure]
        if self._sending.allowed:
            steps += [self._record, self._honesty, self._forwarding, self._burst]
        try:
            for step in steps:
                result = await step()
                if result is not None:
                    yield self._named(result)
                    if result.outcome is Outcome.FAIL and step != self._honesty:
                        return
        finally:
            self._transport.close()
        if not self._sending.allowed:
            yield self._named(skipped("record", "nothing was sent: --no-send"))

    # -- steps -------------------------------------------------------------------------------------

    async def _name(self) -> Result | None:
        if self._endpoint.scheme == "unix":
            return None
        resolver = Resolver(self._settings.connect_timeout_seconds)
        host = self._endpoint.host
        try:
            async with asyncio.timeout(self._settings.connect_timeout_seconds):
                found = await resolver.resolve(host, self._endpoint.port)
        except OSError as error:  # TimeoutError is one
            reason = error.strerror or f"no answer in {self._settings.connect_timeout_seconds:g} s"
            advice = "is the name right, and does the container's DNS know it?"
            return failure("name", f"{host}: {reason}", advice)
        finally:
            resolver.close()
        addresses = ", ".join(dict.fromkeys(address[0] for _, address in found))
        if addresses == host:
            return None  # it was an address and no name
        return Result("name", f"{host} is {addresses}")

    async def _connect(self) -> Result:
        """Connect without sending, so that a later failure is not one of the network."""
        plain = self._endpoint
        if plain.scheme == "tls":
            plain = plain._replace(scheme="tcp")
        without_key = SocketTransport(
            dataclasses.replace(self._settings, shared_key=None, username=None, password=None)
        )
        try:
            (await without_key.connect(plain, Exchange())).abort()
        except ConnectError as error:
            return failure("connect", str(error), _why_unreachable(plain, error))
        finally:
            without_key.close()
        return Result("connect", f"{self._endpoint} takes connections")

    async def _secure(self) -> Result | None:
        """Do the TLS and the protocol handshake, if the settings need them."""
        words = []
        if self._endpoint.scheme == "tls":
            words.append("certificate verified")
        if self._settings.shared_key is not None:
            words.append("shared key proved by both sides")
        if not words:
            return None
        try:
            (await self._transport.connect(self._endpoint, Exchange())).abort()
        except ConnectError as error:
            return failure("security", str(error), _why_insecure(error))
        clear = self._endpoint.scheme == "tcp" and not is_loopback(self._endpoint.host)
        if clear:
            text = "shared key proved by both sides, but nothing is encrypted"
            return warning("security", text, "tls:// does both")
        return Result("security", ", ".join(words))

    async def _record(self) -> Result:
        recorder = self._recorder
        text = f"logship doctor: a test record, {recorder.run}"
        answer = await self._send([recorder.single(text)])
        if answer.acked:
            seen = f"one record, tag {recorder.tag!r}, acked in {answer.seconds * 1000:.1f} ms"
            return Result("record", seen)
        seen = f"one record, tag {recorder.tag!r}, was not acked: {answer.reason}"
        return failure("record", seen, _why_unacked(self._endpoint, answer))

    async def _honesty(self) -> Result:
        """Say whether acks can be trusted, although the protocol names no product or version."""
        text = f"logship doctor: a second test record, {self._recorder.run}"
        # Fluent Bit closes the connection, Fluentd ignores a nil. No application record is at risk:
        # the record behind the nil is the doctor's own, and only this connection is closed.
        answer = await self._send([self._recorder.single(text)], before=HEARTBEAT)
        if answer.acked:
            return Result("ack-honesty", "it is not Fluent Bit, and no fault of its acks is known")
        if not answer.in_time:  # Fluent Bit would have closed the connection
            seen = f"cannot be told: a second record was not acked: {answer.reason}"
            return warning("ack-honesty", seen, _why_unacked(self._endpoint, answer))
        version = self._version = await self._fluent_bit_version()
        blind = self._blind_image() if version is None else why_blind(f"fluent-bit:{version}")
        if blind is not None:
            seen = f"{blind} may ack records that it throws away"
            return failure("ack-honesty", seen, _HONEST_SERVERS)
        if version is not None:
            return Result("ack-honesty", f"Fluent Bit {version} acks what it has stored")
        asked = f" at {self._monitor} ({MONITOR_VARIABLE})" if self._is_near else ""
        seen = (
            f"it behaves like Fluent Bit, but its version cannot be seen{asked}: before 5.1 it "
            "may ack records that it throws away"
        )
        return warning("ack-honesty", seen, _HONEST_SERVERS)

    async def _forwarding(self) -> Result | None:
        """Warn of a Fluent Bit that may forward metadata; its options cannot be seen."""
        if self._version is None or not sends_metadata(self._version):
            return None
        metrics = await self._ask_monitor("api/v1/metrics")
        outputs = metrics.get("output") if isinstance(metrics, dict) else None
        if not isinstance(outputs, dict) or not any(map(_FORWARD_OUTPUT.fullmatch, outputs)):
            return None
        seen = (
            f"Fluent Bit {self._version} forwards, by default with metadata; a Fluentd up to "
            "1.19.3 acks such records and throws them away"
        )
        advice = "if it forwards to a Fluentd, set retain_metadata_in_forward_mode false"
        return warning("forward-metadata", seen, advice)

    async def _burst(self) -> Result | None:
        count = self._sending.burst
        if not count:
            return None
        # No time is taken until the first ack: Fluent Bit looks twice a second for connections
        # with TLS.
        first, *others = self._recorder.burst(count)
        answer = await self._send([first], then=others)
        if answer.bytes_acked and answer.seconds > 0:
            self.bytes_per_second = answer.bytes_acked / answer.seconds
        if answer.acked and self.bytes_per_second:
            rate = f"{max(1, count - 1) / answer.seconds:,.0f} records/s"
            return Result("rate", f"{many(count, 'record')} of 400 characters acked, {rate}")
        seen = f"{answer.bytes_acked} bytes of {count} records acked: {answer.reason}"
        return failure("rate", seen, _why_unacked(self._endpoint, answer))

    # -- helpers -----------------------------------------------------------------------------------

    async def _send(
        self, chunks: list[Chunk], *, before: bytes = b"", then: Sequence[Chunk] = ()
    ) -> Answer:
        """Connect, send, wait for the acks, and close; the answer is that to what was sent last."""
        exchange, window = Exchange(), self._settings.inflight_chunks_max
        try:
            connection = await self._transport.connect(self._endpoint, exchange)
        except ConnectError as error:
            return Answer(False, str(error), 0.0, 0, in_time=True)
        try:
            if before:
                connection.send((before,))
            answer = await exchange.send(connection, chunks, window, self._sending.wait_seconds)
            if answer.acked and then:
                answer = await exchange.send(connection, then, window, self._sending.wait_seconds)
            return answer
        finally:
            connection.abort()

    def _blind_image(self) -> str | None:
        """Return an image of the task that acks blindly; they share one network namespace."""
        if self._task is None or not self._is_near:
            return None
        return next(filter(None, (why_blind(each.image) for each in self._task.others)), None)

    @property
    def _is_near(self) -> bool:
        return is_loopback(self._endpoint.host)

    async def _fluent_bit_version(self) -> str | None:
        """Ask Fluent Bit's HTTP server, only on this machine: elsewhere it may be another one."""
        if not self._is_near:
            return None
        answer = await self._ask_monitor("")
        about = answer.get("fluent-bit") if isinstance(answer, dict) else None
        version = about.get("version") if isinstance(about, dict) else None
        match = re.match(r"\d+\.\d+(\.\d+)?", version) if isinstance(version, str) else None
        return match[0] if match else None

    async def _ask_monitor(self, path: str) -> Any:
        url = self._monitor + path
        return await asyncio.get_running_loop().run_in_executor(
            None, get_json, url, _MONITOR_TIMEOUT_SECONDS
        )

    def _named(self, result: Result) -> Result:
        """Return a result whose text names the endpoint."""
        if str(self._endpoint) in result.text:
            return result
        return dataclasses.replace(result, text=f"{self._endpoint}: {result.text}")


def _why_unreachable(endpoint: Endpoint, error: ConnectError) -> str:
    if isinstance(error.__cause__, ConnectionRefusedError):
        return "nothing listens there: is the sidecar up, on that port, in this network namespace?"
    if isinstance(error.__cause__, OSError) and endpoint.scheme == "unix":
        return "is the socket's directory mounted here, and may this user write to the socket?"
    return "usual causes: a firewall or security group drops packets, or the address is wrong"


def _why_insecure(error: ConnectError) -> str:
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        if cause.verify_code == _CA_WITHOUT_KEY_USAGE:
            return (
                "Python 3.13 and newer refuse such an authority; make it anew with `openssl req "
                "-x509 … -addext keyUsage=critical,keyCertSign,cRLSign`, and sign with it again"
            )
        return (
            "LOGSHIP_TLS_CA must contain the authority that signed it, and LOGSHIP_TLS_SERVER_NAME "
            "the name in it"
        )
    if isinstance(cause, ssl.SSLError):
        return (
            "does the sidecar speak TLS on this port, 1.2 or newer, and does it want a certificate "
            "of the client (LOGSHIP_TLS_CERT)?"
        )
    if isinstance(cause, HandshakeError):
        return "LOGSHIP_SHARED_KEY (and the user) must equal the sidecar's shared_key (and user)"
    return (
        "does it speak the forward protocol on this port, and do TLS and the shared key match "
        "these settings?"
    )


def _why_unacked(endpoint: Endpoint, answer: Answer) -> str:
    if "HELO" in answer.reason:
        return "the sidecar requires a shared key: set LOGSHIP_SHARED_KEY"
    if not answer.in_time:
        return (
            "it takes bytes and acks nothing: its buffer is full, it is Fluentd's unix socket "
            "input, or what listens there is no input of type forward"
        )
    if endpoint.scheme == "tls":  # under TLS 1.3 a server refuses a client after the handshake
        return (
            "its log says why; is it an input of type forward, and does it want a certificate of "
            "the client that it trusts (LOGSHIP_TLS_CERT)?"
        )
    return "its log says why; is it an input of type forward, and without TLS if this is tcp://?"
