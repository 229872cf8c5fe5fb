"""Certificates for the tests: good ones, and each kind of bad one, made anew for every run."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.support.servers import Tls

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Certificates:
    """Files of one run.

    Attributes:
        ca: The authority's certificate, which clients trust.
        good: For 127.0.0.1.
        expired: The same, no longer valid.
        wrong_name: For another host.
        wrong_ca: For 127.0.0.1, signed by another authority.
        client: A certificate for clients, with its key in the same file.
        stranger: The same, signed by another authority.
    """

    ca: Path
    good: Tls
    expired: Tls
    wrong_name: Tls
    wrong_ca: Tls
    client: Path
    stranger: Path

    def asking_clients(self) -> Tls:
        """Return the good certificate for a server that wants one of its clients too."""
        return Tls(self.good.certificate, self.good.key, client_ca=self.ca)


def make_certificates(directory: Path) -> Certificates:
    """Make an authority and its certificates, and a second authority that is not trusted."""
    authority, other = trustme.CA(), trustme.CA()
    ca = directory / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    long_ago = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    return Certificates(
        ca=ca,
        good=_files(directory / "good", authority.issue_cert(HOST)),
        expired=_files(directory / "expired", authority.issue_cert(HOST, not_after=long_ago)),
        wrong_name=_files(directory / "wrong-name", authority.issue_cert("sidecar.example")),
        wrong_ca=_files(directory / "wrong-ca", other.issue_cert(HOST)),
        client=_one_file(directory / "client.pem", authority.issue_cert("client.example")),
        stranger=_one_file(directory / "stranger.pem", other.issue_cert("client.example")),
    )


def _files(directory: Path, issued: trustme.LeafCert) -> Tls:
    directory.mkdir()
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(directory / "certificate.pem"), append=True)
    issued.private_key_pem.write_to_path(str(directory / "key.pem"))
    return Tls(directory / "certificate.pem", directory / "key.pem")


def _one_file(path: Path, issued: trustme.LeafCert) -> Path:
    issued.private_key_and_cert_chain_pem.write_to_path(str(path))
    return path
