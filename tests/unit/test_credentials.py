"""From where the TLS context of the next connection comes."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme

from logship._delivery.credentials import tls_source
from logship._settings import Settings

ENDPOINT = "tls://127.0.0.1:1"


def authorities_in(context: ssl.SSLContext) -> list[bytes]:
    return context.get_ca_certs(binary_form=True)


def test_the_systems_authorities_are_read_once() -> None:
    source = tls_source(Settings(endpoints=ENDPOINT))
    assert source is not None
    assert source() is source()


def test_a_file_is_read_for_each_connection_and_one_that_is_gone_changes_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ca.pem"
    first, second = trustme.CA(), trustme.CA()
    first.cert_pem.write_to_path(path)
    source = tls_source(Settings(endpoints=ENDPOINT, tls_ca=str(path)))
    assert source is not None
    before = authorities_in(source())
    second.cert_pem.write_to_path(path)
    after = authorities_in(source())
    assert before != after
    path.write_text("no certificate")
    assert authorities_in(source()) == after
    path.unlink()
    assert authorities_in(source()) == after
