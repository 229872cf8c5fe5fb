"""Each destination of the sidecar: its stand-in as a process, and what is stored there."""

from __future__ import annotations

import gzip
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from logship._client.background import BackgroundClient
from tests.chaos.pacing import PacedLogging
from tests.contract.certificates import Certificates
from tests.contract.shipping import (
    CLOSE_SECONDS_MAX,
    Ledger,
    RecordProperty,
    assert_complete,
    markers_of,
)
from tests.sidecar.standins.kinds import API_KEY, HEC_TOKEN
from tests.support.servers import Arrived, ServerProcess
from tests.support.waiting import wait_until

SPAN = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"}
FIELDS = {"message": "paid", "level": "INFO", "severity_number": 9, **SPAN}
SERVICE = {"OTEL_SERVICE_NAME": "web"}
REGION = "eu-central-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "a"}


@dataclass(frozen=True)
class Kind:
    """A destination.

    Attributes:
        plugin: Fluent Bit's output.
        fluentd: Fluentd's, where it needs a plugin that neither Fluentd nor the image has.
        environ: What its configuration asks for besides the address.
        package: What its stand-in needs.
        keeps_one: Whether it stores a record once that comes twice.
        first_requests: How many a test waits for; the output s3 makes one in six seconds.
    """

    plugin: str
    environ: dict[str, str] = field(default_factory=dict)
    package: str = "logship"
    keeps_one: bool = False
    first_requests: int = 2
    fluentd: str = ""


KINDS = {
    "cloudwatch": Kind(
        "cloudwatch_logs",
        CREDENTIALS
        | {"LOGSHIP_CLOUDWATCH_GROUP": "web", "LOGSHIP_CLOUDWATCH_REGION": REGION, "HOSTNAME": "h"},
        "moto",
        fluentd="cloudwatch_logs",
    ),
    "datadog": Kind("datadog", SERVICE | {"LOGSHIP_DATADOG_API_KEY": API_KEY}),
    "firehose": Kind(
        "kinesis_firehose",
        CREDENTIALS | {"LOGSHIP_FIREHOSE_STREAM": "web", "LOGSHIP_FIREHOSE_REGION": REGION},
        "moto",
        fluentd="kinesis_firehose",
    ),
    "loki": Kind("loki", SERVICE, keeps_one=True),
    "opensearch": Kind("opensearch", {"LOGSHIP_OPENSEARCH_INDEX": "web"}, keeps_one=True),
    "otlp": Kind("opentelemetry", SERVICE, "opentelemetry.proto"),
    "s3": Kind(
        "s3",
        CREDENTIALS
        | {"LOGSHIP_S3_BUCKET": "web", "LOGSHIP_S3_REGION": REGION, "LOGSHIP_S3_INTERVAL": "2s"},
        "moto",
        first_requests=1,
        fluentd="s3",
    ),
    "splunk": Kind("splunk", SERVICE | {"LOGSHIP_SPLUNK_TOKEN": HEC_TOKEN}),
}
"""Those that have a stand-in; Kafka, the aggregator and files have tests of their own."""


def why_no_stand_in(package: str) -> str:
    try:
        found = find_spec(package)
    except ModuleNotFoundError:
        found = None
    return "" if found else f"{package} is not installed"


def text_of(path: Path) -> str:
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode()


class Destination(ServerProcess):
    """A stand-in.

    Args:
        kind: A name of `KINDS`.
        directory: As of `ServerProcess`.
        certificates: Its own is the good one.
    """

    def __init__(self, kind: str, directory: Path, certificates: Certificates) -> None:
        self.kind = kind
        self._certificates = certificates
        super().__init__(directory, tls=certificates.good)
        if KINDS[kind].package == "moto":
            self._prepare()

    def command(self) -> Sequence[str]:
        assert self.tls is not None
        words = [self.kind, self.port.number, self._out, self.tls.certificate, self.tls.key]
        root = str(Path(__file__).parents[2])
        return [
            *("env", f"PYTHONPATH={root}", "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=a"),
            *(sys.executable, "-m", "tests.sidecar.standins", *map(str, words)),
        ]

    def environ(self) -> dict[str, str]:
        # The output s3 wants the port here, the others have it apart.
        endpoint = self.endpoint.replace("tls", "https") if self.kind == "s3" else "127.0.0.1"
        return {
            **KINDS[self.kind].environ,
            "LOGSHIP_OUTPUT_HOST": "127.0.0.1",
            "LOGSHIP_AWS_ENDPOINT": endpoint,
            "LOGSHIP_OUTPUT_PORT": str(self.port.number),
            "LOGSHIP_OUTPUT_CA": str(self._certificates.ca),
        }

    def environ_for_fluentd(self) -> dict[str, str]:
        """Return Fluentd's variables for it; the SDK of AWS looks for its own."""
        return self.environ() | {
            "LOGSHIP_OUTPUT": self.kind,
            "LOGSHIP_AWS_ENDPOINT": f"https://127.0.0.1:{self.port.number}",
            "AWS_CA_BUNDLE": str(self._certificates.ca),
        }

    def go_away(self) -> None:
        """Refuse connections for two seconds."""
        self.signal(signal.SIGUSR1)

    def answers(self) -> list[str]:
        return (self._out / "answers.txt").read_text().splitlines()

    def output_files(self, tag: str) -> list[Path]:
        """Return files of what is stored, fetched from it where it keeps none."""
        if KINDS[self.kind].package == "moto":
            return list(self._fetched())
        return [self._out / "stored.jsonl"]

    def arrived(self, tag: str) -> list[Arrived]:
        texts = [text_of(path) for path in self.output_files(tag)]
        return [Arrived(tag, 0, json.loads(line)) for text in texts for line in text.splitlines()]

    @property
    def _out(self) -> Path:
        return self.directory / "out"

    def _aws(self, service: str) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.client(
            service,
            endpoint_url=f"https://127.0.0.1:{self.port.number}",
            verify=str(self._certificates.ca),
            region_name=REGION,
            aws_access_key_id="a",
            aws_secret_access_key="a",
            config=Config(s3={"addressing_style": "path"}),
        )

    def _prepare(self) -> None:
        """Make what a user of AWS would have made before."""
        if self.kind == "cloudwatch":
            self._aws("logs").create_log_group(logGroupName="web")
            return
        place = {"LocationConstraint": REGION}
        self._aws("s3").create_bucket(Bucket="web", CreateBucketConfiguration=place)
        if self.kind == "firehose":
            bucket = {
                "BucketARN": "arn:aws:s3:::web",
                "RoleARN": "arn:aws:iam::123456789012:role/f",
            }
            self._aws("firehose").create_delivery_stream(
                DeliveryStreamName="web", ExtendedS3DestinationConfiguration=bucket
            )

    def _fetched(self) -> Iterator[Path]:
        if self.kind == "cloudwatch":
            yield self._fetched_events()
            return
        s3 = self._aws("s3")
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket="web"):
            for each in page.get("Contents", []):
                path = self._out / each["Key"].replace("/", "_")
                path.write_bytes(s3.get_object(Bucket="web", Key=each["Key"])["Body"].read())
                yield path

    def _fetched_events(self) -> Path:
        logs, path = self._aws("logs"), self._out / "events.jsonl"
        with path.open("w") as file:
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName="web")
            for page in pages:
                file.writelines(event["message"] + "\n" for event in page["events"])
        return path


def restart(sidecar: ServerProcess) -> None:
    """Stop it as an orchestrator does, and start it again."""
    sidecar.terminate()
    sidecar.start()


def kept_by(sidecar: ServerProcess) -> list[Path]:
    """Return the files of records that the sidecar has not delivered; rejected ones too."""
    buffer = sidecar.directory / "buffer"
    return [each for each in buffer.rglob("*") if each.is_file()]


def log_at_length(client: BackgroundClient, ledger: Ledger, *strikes: Callable[[], None]) -> None:
    """Log 20,000 records, 3,000 a second, before each strike and after the last."""

    def log_more() -> None:
        end = len(ledger.markers) + 20_000
        wait_until(lambda: len(ledger.markers) >= end, "they are logged", 120)

    with PacedLogging(client, ledger, 3000, "paid"):
        for strike in strikes:
            log_more()
            strike()
        log_more()


def lose_nothing_at_length(
    client: BackgroundClient,
    ledger: Ledger,
    sidecar: ServerProcess,
    destination: Destination,
    record_property: RecordProperty,
) -> None:
    """Log through three deaths of the destination and a SIGTERM of the sidecar, and judge."""
    started, away = time.monotonic(), destination.go_away
    log_at_length(client, ledger, away, lambda: restart(sidecar), away, away)
    assert client.close(timeout=CLOSE_SECONDS_MAX).all_acked
    wait_until(lambda: not kept_by(sidecar), "all is delivered", 400)
    record_property("duplicates", judge(ledger, destination))
    record_property("records", len(ledger.markers))
    record_property("seconds", round(time.monotonic() - started))


def judge(ledger: Ledger, destination: Destination) -> int:
    """Fail if a record is missing, or audit does not say that all is there; count duplicates."""
    answers = destination.answers()
    assert [each for each in answers if each.startswith(("403", "413", "refused"))] == []
    assert "throttled" in answers
    markers = markers_of(destination.arrived(ledger.tag))
    missing = set(ledger.markers) - set(markers)
    assert not missing, (len(missing), sorted(missing)[:3])
    assert_complete(*destination.output_files(ledger.tag))
    duplicates = len(markers) - len(ledger.markers)
    assert duplicates == 0 or not KINDS[destination.kind].keeps_one
    return duplicates
