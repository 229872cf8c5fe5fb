"""`logship receive` as a process."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support.commands import LOGSHIP
from tests.support.servers.process import ServerProcess


class EmbeddedReceiver(ServerProcess):
    """`logship receive`, of the Python that runs the tests."""

    def command(self) -> Sequence[str]:
        bind = self.endpoint.removeprefix("tcp://").removeprefix("tls://")
        words = [*LOGSHIP, "receive", "--bind", bind, "--out", str(self.lines_file)]
        if self.tls is not None:
            words += ["--tls-cert", str(self.tls.certificate), "--tls-key", str(self.tls.key)]
            if self.tls.client_ca is not None:
                words += ["--tls-client-ca", str(self.tls.client_ca)]
        if self.security is not None:
            words += ["--shared-key", self.security.shared_key]
            for name, password in self.security.users.items():
                words += ["--user", f"{name}:{password}"]
        return words
