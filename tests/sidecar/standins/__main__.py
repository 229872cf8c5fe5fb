"""`python -m tests.sidecar.standins KIND PORT DIRECTORY CERTIFICATE KEY`."""

from __future__ import annotations

import ssl
import sys
from importlib import import_module
from pathlib import Path

from tests.sidecar.standins.server import serve

KINDS = {
    "loki": ("kinds", "Loki"),
    "splunk": ("kinds", "Splunk"),
    "datadog": ("kinds", "Datadog"),
    "opensearch": ("kinds", "OpenSearch"),
    "otlp": ("otlp", "Otlp"),
    "cloudwatch": ("aws", "CloudWatch"),
    "firehose": ("aws", "Firehose"),
    "s3": ("aws", "S3"),
}


def main(kind: str, port: str, directory: str, certificate: str, key: str) -> None:
    module, name = KINDS[kind]
    stand_in = getattr(import_module(f"tests.sidecar.standins.{module}"), name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    serve(stand_in(Path(directory)), int(port), context)


main(*sys.argv[1:])
