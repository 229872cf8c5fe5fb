"""The benchmarks' application in a container, also for ways that read its stdout.

The same program as `benchmarks.application`, with one more shipper, which only prints: what
happens to the lines is then the business of Docker's log driver or of `logship run`. Whatever the
command line leaves out has a default that suits `docker-compose.yml`.
"""

from __future__ import annotations

import logging
import secrets
import sys

from benchmarks.application import SHIPPERS, main

STDOUT = "stdout"


def install_stdout(host: str, port: int) -> None:
    """Print each line, and wait for the reader, as container images usually do."""
    del host, port
    handler = logging.StreamHandler(sys.stdout)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)


def with_defaults(arguments: list[str]) -> list[str]:
    """Return the command line with what it leaves out; of two, argparse takes the last."""
    return [
        *("--run", secrets.token_hex(4), "--app", "script", "--shipper", "logship"),
        *("--host", "127.0.0.1", "--port", "24224", "--ledger", "/ledger/ledger.txt"),
        *("--rate", "300", "--line-chars", "400", "--seconds", "86400"),
        *("--on-sigterm", "default"),
        *arguments,
    ]


if __name__ == "__main__":
    SHIPPERS[STDOUT] = install_stdout
    main(with_defaults(sys.argv[1:]))
